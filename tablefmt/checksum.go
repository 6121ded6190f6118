package tablefmt

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// PropChecksums says whether our commits write version checksum files: "true" for
// each, "false" for none. Where it is not set those do that come at most once a
// minute, to a table on a file system: on an object store it would be a request a
// commit, and a table that is written to every second would have twice as many
// files in its log.
const PropChecksums = "lakeload.writeChecksums"

// checksumPause is how long a version must have been the newest for the commit
// after it to write a checksum.
const checksumPause = time.Minute

func checksumName(v int64) string { return fmt.Sprintf("%020d.crc", v) }

// checksum is a version checksum file: what the table comes to at a version.
// (Version Checksum File Schema) Everything in it is at hand after a commit; what
// would cost a pass over the files (histograms, allFiles) is left out.
type checksum struct {
	TxnID             string             `json:"txnId,omitempty"`
	TableSizeBytes    *int64             `json:"tableSizeBytes"`
	NumFiles          *int64             `json:"numFiles"`
	NumMetadata       int64              `json:"numMetadata"`
	NumProtocol       int64              `json:"numProtocol"`
	InCommitTimestamp *int64             `json:"inCommitTimestampOpt,omitempty"`
	SetTransactions   *[]*Txn            `json:"setTransactions,omitempty"`
	DomainMetadata    *[]*DomainMetadata `json:"domainMetadata,omitempty"`
	Metadata          *Metadata          `json:"metadata"`
	Protocol          *Protocol          `json:"protocol"`
}

// mostInChecksum bounds the lists of a checksum: one with more entries is left
// out, so that a commit does not cost more the more applications have written to
// the table.
const mostInChecksum = 100

// checksum gives the checksum of a version that was committed just now.
func (st *state) checksum() *checksum {
	files := int64(st.files.len())
	c := &checksum{
		TableSizeBytes: &st.size, NumFiles: &files, NumMetadata: 1, NumProtocol: 1,
		Metadata: st.metadata, Protocol: st.protocol,
	}
	if st.info != nil {
		c.TxnID, c.InCommitTimestamp = st.info.TxnID, st.info.InCommitTimestamp
	}
	// Other writers forget applications after a while, where they are told to, and
	// would find more here than they know.
	if st.txns.len() <= mostInChecksum && st.metadata.Property(PropTxnRetention) == "" {
		all := slices.AppendSeq([]*Txn{}, values(st.txns))
		slices.SortFunc(all, func(a, b *Txn) int { return strings.Compare(a.AppID, b.AppID) })
		c.SetTransactions = &all
	}
	if st.domains.len() <= mostInChecksum {
		all := slices.AppendSeq([]*DomainMetadata{}, values(st.domains))
		slices.SortFunc(all, func(a, b *DomainMetadata) int { return strings.Compare(a.Domain, b.Domain) })
		c.DomainMetadata = &all
	}
	return c
}

// writesChecksum decides whether a commit writes one, which followed a version
// made by before, nil where that is not known.
func (l Location) writesChecksum(st *state, before *CommitInfo) bool {
	switch strings.ToLower(st.metadata.Property(PropChecksums)) {
	case "true":
		return true
	case "false":
		return false
	}
	// The log of a copy in progress has no readers but its writer.
	if l.Log != nil || !filepath.IsAbs(l.log().URL()) {
		return false
	}
	return before == nil || st.info == nil || st.info.Timestamp-before.Timestamp >= checksumPause.Milliseconds()
}

// writeChecksum writes the checksum of a version that was committed just now. It
// is there to find damage, nothing rests on it, and the commit stands: an error
// counts for nothing. One that is there already stays.
func writeChecksum(ctx context.Context, loc Location, st *state, before *CommitInfo) {
	if !loc.writesChecksum(st, before) {
		return
	}
	if data, err := json.Marshal(st.checksum()); err == nil {
		_ = loc.log().PutIfAbsent(ctx, checksumName(st.version), data)
	}
}

// disagrees says in what a checksum is not that of a state; "" where it is.
// Others may leave out what they like, and forget applications.
func (c *checksum) disagrees(st *state) string {
	switch {
	case c.TableSizeBytes != nil && *c.TableSizeBytes != st.size:
		return fmt.Sprintf("it says that the table has %d bytes, and the commits lead to %d", *c.TableSizeBytes, st.size)
	case c.NumFiles != nil && *c.NumFiles != int64(st.files.len()):
		return fmt.Sprintf("it says that the table has %d files, and the commits lead to %d", *c.NumFiles, st.files.len())
	case c.Metadata != nil && c.Metadata.schemaText() != st.metadata.schemaText():
		return "its schema is another one"
	case c.Protocol != nil && (c.Protocol.MinReaderVersion != st.protocol.MinReaderVersion || c.Protocol.MinWriterVersion != st.protocol.MinWriterVersion):
		return "its protocol is another one"
	}
	if c.SetTransactions != nil {
		for _, x := range *c.SetTransactions {
			if x == nil {
				continue
			}
			if is, ok := st.txns.get(x.AppID); !ok || is.Version != x.Version {
				return fmt.Sprintf("it says of the application %q that it has got to %d", x.AppID, x.Version)
			}
		}
	}
	if c.DomainMetadata != nil {
		for _, d := range *c.DomainMetadata {
			if d == nil || d.Removed {
				continue
			}
			if is, ok := st.domains.get(d.Domain); !ok || is.Configuration != d.Configuration {
				return fmt.Sprintf("its metadata domain %q is another one", d.Domain)
			}
		}
	}
	return ""
}
