package keyindex

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/zeebo/xxh3"
)

// manifest is what an index consists of: the runs, over them the journals,
// and the log of files. It is replaced as a whole, by a rename. The state of
// the index is its stamp, or that of the last commit in the journals.
//
//	magic 8 bytes, then varints and strings as in a record:
//	partitions, next number of a file, last id of a data file, stamp,
//	log of files, journals (count, each; the last one is being written),
//	runs (count; id, uid, size, checksum of each),
//	for each partition its segments (count, places in the list of runs), newest first,
//	then the checksum u64 of all that.
//
// A log is its id, uid, size and checksum at that size.
type manifest struct {
	parts    int
	next     uint64
	lastID   FileID
	stamp    Stamp
	files    logMeta
	journals []logMeta
	runs     []runMeta
	segments [][]int
}

const (
	manifestMagic = "LLKIMAN1"
	manifestName  = "MANIFEST"
	manifestTemp  = "MANIFEST.tmp"
	lockName      = "LOCK"
	runSuffix     = ".run"
	logSuffix     = ".log"
)

func runName(id uint64) string { return fmt.Sprintf("%012x%s", id, runSuffix) }
func logName(id uint64) string { return fmt.Sprintf("%012x%s", id, logSuffix) }

func appendLog(b []byte, l logMeta) []byte {
	b = binary.AppendUvarint(b, l.id)
	b = binary.AppendUvarint(b, l.uid)
	b = binary.AppendUvarint(b, uint64(l.size))
	return binary.AppendUvarint(b, l.sum)
}

func (c *cursor) log() logMeta {
	return logMeta{id: c.uvarint(), uid: c.uvarint(), size: int64(c.uvarint()), sum: c.uvarint()}
}

func (m *manifest) encode() []byte {
	b := append([]byte(nil), manifestMagic...)
	b = binary.AppendUvarint(b, uint64(m.parts))
	b = binary.AppendUvarint(b, m.next)
	b = binary.AppendUvarint(b, uint64(m.lastID))
	b = appendStamp(b, m.stamp)
	b = appendLog(b, m.files)
	b = binary.AppendUvarint(b, uint64(len(m.journals)))
	for _, j := range m.journals {
		b = appendLog(b, j)
	}
	b = binary.AppendUvarint(b, uint64(len(m.runs)))
	for _, r := range m.runs {
		b = binary.AppendUvarint(b, r.id)
		b = binary.AppendUvarint(b, r.uid)
		b = binary.AppendUvarint(b, uint64(r.size))
		b = binary.AppendUvarint(b, r.sum)
	}
	for _, p := range m.segments {
		b = binary.AppendUvarint(b, uint64(len(p)))
		for _, r := range p {
			b = binary.AppendUvarint(b, uint64(r))
		}
	}
	return binary.LittleEndian.AppendUint64(b, xxh3.Hash(b))
}

var errManifest = errors.New("the manifest does not decode")

func decodeManifest(b []byte) (*manifest, error) {
	n := len(b) - 8
	if n < len(manifestMagic) || binary.LittleEndian.Uint64(b[n:]) != xxh3.Hash(b[:n]) {
		return nil, errors.New("the manifest's checksum is wrong")
	}
	return decodeManifestBody(b[:n])
}

// decodeManifestBody decodes what the checksum was found right for.
func decodeManifestBody(b []byte) (*manifest, error) {
	if len(b) < len(manifestMagic) || string(b[:len(manifestMagic)]) != manifestMagic {
		return nil, fmt.Errorf("the manifest's format is %.8q, not %q", b, manifestMagic)
	}
	c := cursor{b: b[len(manifestMagic):]}
	parts := c.uvarint()
	if parts == 0 || parts > maxPartitions || parts&(parts-1) != 0 {
		return nil, errManifest
	}
	m := &manifest{parts: int(parts), next: c.uvarint(), lastID: c.id(), stamp: c.stamp(), files: c.log()}
	for range c.count(4) {
		m.journals = append(m.journals, c.log())
	}
	for range c.count(4) {
		m.runs = append(m.runs, runMeta{id: c.uvarint(), uid: c.uvarint(), size: int64(c.uvarint()), sum: c.uvarint()})
	}
	for range m.parts {
		var p []int
		for range c.count(1) {
			r := c.uvarint()
			if r >= uint64(len(m.runs)) {
				return nil, errManifest
			}
			p = append(p, int(r))
		}
		m.segments = append(m.segments, p)
	}
	if c.bad || len(c.b) > 0 || len(m.journals) == 0 {
		return nil, errManifest
	}
	return m, nil
}

// writeManifest replaces the manifest.
func writeManifest(dir string, m *manifest, sync bool) error {
	temp := filepath.Join(dir, manifestTemp)
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write the key index's manifest: %w", err)
	}
	_, err = f.Write(m.encode())
	if err == nil && sync {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(temp, filepath.Join(dir, manifestName))
	}
	if err == nil && sync {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("write the key index's manifest: %w", err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func readManifest(dir string) (*manifest, error) {
	path := filepath.Join(dir, manifestName)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, unfit(path, "there is none")
	} else if err != nil {
		return nil, fmt.Errorf("read the key index's manifest: %w", err)
	}
	m, err := decodeManifest(b)
	if err != nil {
		return nil, unfit(path, "%v", err)
	}
	return m, nil
}

// ours says whether a file's name is one that the index gives.
func ours(name string) bool {
	return name == manifestName || name == manifestTemp ||
		strings.HasSuffix(name, runSuffix) || strings.HasSuffix(name, logSuffix)
}

// removeAll removes the index's files but those to keep.
func removeAll(dir string, keep map[string]bool) error {
	es, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list the key index's folder: %w", err)
	}
	for _, e := range es {
		if ours(e.Name()) && !keep[e.Name()] {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("clear the key index's folder: %w", err)
			}
		}
	}
	return nil
}
