package tablefmt

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/lakeload/lakeload/tablefmt/predicate"
)

// EngineInfo is what our commits name as their writer.
const EngineInfo = "lakeload/1"

// Transaction gathers the actions of one commit. It is used by one goroutine.
// Nothing is checked or written before [Transaction.Commit]. What is given to
// it is copied, except that maps and pointers within are kept and must not be
// changed any more.
type Transaction struct {
	loc      Location
	base     *Snapshot // nil: the table is new
	protocol *Protocol
	metadata *Metadata
	txns     []Txn
	domains  []DomainMetadata
	removes  []RemoveFile
	adds     []AddFile
	cdcs     []CDCFile
	info     CommitInfo
	reads    Reads
	where    *fileFilter // of reads; nil: all rows
	cluster  [][]string  // nil: as it is
	proven   []rowRule   // rules that are new, and that all rows keep
	restores bool        // it makes the table what it was: all its files were written under the metadata that it sets
	done     bool
	before   *CommitInfo // of the version that the commit followed, once it is done
}

// Begin starts a transaction that follows a snapshot; with a nil one, a
// transaction that creates the table as version 0, which needs SetProtocol
// and SetMetadata.
func Begin(loc Location, s *Snapshot) *Transaction {
	t := &Transaction{loc: loc, base: s}
	t.info = CommitInfo{Operation: "WRITE", EngineInfo: EngineInfo, TxnID: uuid.NewString()}
	if s != nil {
		v := s.Version()
		t.info.ReadVersion = &v
	}
	return t
}

// SetProtocol sets or replaces the table's protocol.
func (t *Transaction) SetProtocol(p *Protocol) {
	c := *p
	c.ReaderFeatures, c.WriterFeatures = slices.Clone(p.ReaderFeatures), slices.Clone(p.WriterFeatures)
	t.protocol = &c
}

// SetMetadata sets or replaces the table's metadata. An empty ID, format and
// time of creation are filled in.
func (t *Transaction) SetMetadata(m *Metadata) {
	c := m.Clone()
	if c.ID == "" {
		if t.base != nil {
			c.ID = t.base.Metadata().ID
		} else {
			c.ID = uuid.NewString()
		}
	}
	if c.Format.Provider == "" {
		c.Format.Provider = "parquet"
	}
	if c.Format.Options == nil {
		c.Format.Options = map[string]string{}
	}
	if c.Configuration == nil {
		c.Configuration = map[string]string{}
	}
	if c.CreatedTime == nil {
		now := time.Now().UnixMilli()
		c.CreatedTime = &now
	}
	t.metadata = c
}

// Add puts a logical file into the table. One with a deletion vector whose
// data file is in the table already comes with the Remove of what it
// replaces.
func (t *Transaction) Add(a AddFile) {
	if a.PartitionValues == nil {
		a.PartitionValues = map[string]*string{}
	}
	t.adds = append(t.adds, a)
}

// Remove takes a logical file out of the table; [AddFile.Remove] makes the
// action. Path and deletion vector must be those of a file of the snapshot.
func (t *Transaction) Remove(r RemoveFile) { t.removes = append(t.removes, r) }

// AddCDC names a file of row changes. Where there is one, change data readers
// look at nothing else in this version.
func (t *Transaction) AddCDC(c CDCFile) {
	if c.PartitionValues == nil {
		c.PartitionValues = map[string]*string{}
	}
	t.cdcs = append(t.cdcs, c)
}

// SetTxn records how far an application has come, with the commit. A second
// call for the same application replaces the first.
func (t *Transaction) SetTxn(appID string, version int64) {
	now := time.Now().UnixMilli()
	t.txns = slices.DeleteFunc(t.txns, func(x Txn) bool { return x.AppID == appID })
	t.txns = append(t.txns, Txn{AppID: appID, Version: version, LastUpdated: &now})
}

// SetDomain sets a metadata domain. The protocol must list domainMetadata. Names
// that begin with "delta." are the protocol's own, and refused.
func (t *Transaction) SetDomain(domain, configuration string) {
	t.domains = append(t.domains, DomainMetadata{Domain: domain, Configuration: configuration})
}

// RemoveDomain removes a metadata domain.
func (t *Transaction) RemoveDomain(domain string) {
	d := DomainMetadata{Domain: domain, Removed: true}
	if t.base != nil {
		d.Configuration, _ = t.base.DomainMetadata(domain)
	}
	t.domains = append(t.domains, d)
}

// SetClustering says by which columns the table is clustered, the weightiest
// first, by their paths in the schema; an empty list ends it. (Clustered Table)
// The protocol must list clustering and domainMetadata, and every file that is
// there must have statistics of the columns.
func (t *Transaction) SetClustering(columns [][]string) {
	t.cluster = append([][]string{}, columns...)
}

// SetInfo says what the commit is, for people: an operation in Delta's words
// ("WRITE", "MERGE", "OPTIMIZE"), default "WRITE", and its parameters.
// Readers want texts there, so that values of other types are written as
// JSON.
func (t *Transaction) SetInfo(operation string, params map[string]any) {
	t.info.Operation = operation
	t.info.OperationParameters = texts(params)
}

// SetMetrics says what the commit did in numbers, for people.
func (t *Transaction) SetMetrics(metrics map[string]any) { t.info.OperationMetrics = texts(metrics) }

// SetUserMetadata stores a text with the commit.
func (t *Transaction) SetUserMetadata(s string) { t.info.UserMetadata = s }

// SetCommitID sets the id by which the commit is recognised; it must be
// unique to this transaction. The default is a new UUID.
func (t *Transaction) SetCommitID(id string) { t.info.TxnID = id }

// CommitID is the id by which the commit will be recognised.
func (t *Transaction) CommitID() string { return t.info.TxnID }

// SetReads says what the commit rests on; the default is ReadsNothing.
func (t *Transaction) SetReads(r Reads) { t.reads = r }

// SetReadsWhere says which rows the commit rests on, where SetReads says that it
// rests on some: what others do to files in which no row can match, by partition
// values and statistics, does no harm. Nil is all rows, which is the default. A
// condition that does not fit the table's columns is an error.
func (t *Transaction) SetReadsWhere(where *predicate.Expr) error {
	if t.base == nil {
		return invalidf("a transaction that creates a table rests on no rows")
	}
	if t.where = nil; where == nil {
		return nil
	}
	filter, err := predicate.Bind(where, t.base.Arrow())
	if err != nil {
		return invalidf("the condition of what the commit rests on: %w", err)
	}
	t.where = newFileFilter(t.base, filter)
	return nil
}

// rests says whether the commit rests on rows of a file.
func (t *Transaction) rests(path string, added *AddFile) bool {
	if added == nil { // removed: what it was, if that is known
		var ok bool
		if added, ok = t.base.File(path); !ok {
			return true
		}
	}
	choice := t.where.choose(added)
	return choice == fileFiltered || choice == fileWhole
}

func texts(m map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		if _, ok := v.(string); !ok {
			b, err := json.Marshal(v)
			if err != nil {
				continue // for people only: a commit does not fail over it
			}
			v = string(b)
		}
		out[k] = v
	}
	return out
}

// blind reports whether the commit only adds files and rests on nothing.
func (t *Transaction) blind() bool {
	return len(t.removes) == 0 && t.reads == ReadsNothing && t.metadata == nil && t.protocol == nil
}

// actions gives the commit's actions but for the commitInfo.
func (t *Transaction) actions() []Action {
	var out []Action
	if t.protocol != nil {
		out = append(out, Action{Protocol: t.protocol})
	}
	if t.metadata != nil {
		out = append(out, Action{Metadata: t.metadata})
	}
	for i := range t.txns {
		out = append(out, Action{Txn: &t.txns[i]})
	}
	for i := range t.domains {
		out = append(out, Action{Domain: &t.domains[i]})
	}
	for i := range t.removes {
		out = append(out, Action{Remove: &t.removes[i]})
	}
	for i := range t.adds {
		out = append(out, Action{Add: &t.adds[i]})
	}
	for i := range t.cdcs {
		out = append(out, Action{CDC: &t.cdcs[i]})
	}
	return out
}
