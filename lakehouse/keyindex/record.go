package keyindex

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/zeebo/xxh3"
)

// The journal and the log of files are sequences of records after a header:
//
//	header  magic 8 bytes, uid u64, checksum u64 of both
//	record  payload length u32, payload, checksum u64
//
// A record's checksum is seeded by the one before it (the first by the
// header's), so that a record counts only after the very records that it was
// written after. The payload:
//
//	flags       byte; 1: this ends a commit
//	stamp       if it ends a commit: table, version (signed), commit
//	last id     the greatest id given to a file
//	added       count, then id and path of each
//	gone        count, then ids
//	entries     count, then 24 bytes each, as in a run
//
// Numbers are varints, strings have their length in front.
type record struct {
	end     bool
	stamp   Stamp
	lastID  FileID
	files   fileEdits
	entries []byte // entryBytes each
}

const (
	logMagic       = "LLKILOG1"
	logHeaderBytes = 24
	recordMax      = 1 << 30
	flagEnd        = 1
)

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendStamp(b []byte, s Stamp) []byte {
	b = appendString(b, s.Table)
	b = binary.AppendVarint(b, s.Version)
	return appendString(b, s.Commit)
}

func (r *record) appendTo(b []byte) []byte {
	if r.end {
		b = appendStamp(append(b, flagEnd), r.stamp)
	} else {
		b = append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(r.lastID))
	b = binary.AppendUvarint(b, uint64(len(r.files.added)))
	for _, a := range r.files.added {
		b = appendString(binary.AppendUvarint(b, uint64(a.id)), a.path)
	}
	b = binary.AppendUvarint(b, uint64(len(r.files.gone)))
	for _, id := range r.files.gone {
		b = binary.AppendUvarint(b, uint64(id))
	}
	b = binary.AppendUvarint(b, uint64(len(r.entries)/entryBytes))
	return append(b, r.entries...)
}

// frame puts the payload that begins at b[4:] between its length and its
// checksum, and gives the checksum.
func frame(b []byte, seed uint64) ([]byte, uint64) {
	binary.LittleEndian.PutUint32(b, uint32(len(b)-4))
	sum := xxh3.HashSeed(b, seed)
	return binary.LittleEndian.AppendUint64(b, sum), sum
}

// cursor decodes what the append functions above encode. After a failure it
// gives zeros.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.b, c.bad = nil, true
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) varint() int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.b, c.bad = nil, true
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) bytes(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.b, c.bad = nil, true
		return nil
	}
	b := c.b[:n]
	c.b = c.b[n:]
	return b
}

func (c *cursor) string() string { return string(c.bytes(c.uvarint())) }

func (c *cursor) id() FileID {
	v := c.uvarint()
	if v != uint64(FileID(v)) {
		c.bad = true
	}
	return FileID(v)
}

func (c *cursor) stamp() Stamp {
	return Stamp{Table: c.string(), Version: c.varint(), Commit: c.string()}
}

// count is a number of things of at least so many bytes each that follow.
func (c *cursor) count(size int) int {
	n := c.uvarint()
	if n > uint64(len(c.b)/size) {
		c.b, c.bad = nil, true
		return 0
	}
	return int(n)
}

var errRecord = errors.New("a record does not decode")

// decodeRecord decodes a payload; the entries stay in b.
func decodeRecord(b []byte) (record, error) {
	c := cursor{b: b}
	var r record
	switch f := c.bytes(1); {
	case c.bad || f[0] > flagEnd:
		return record{}, errRecord
	case f[0] == flagEnd:
		r.end = true
		r.stamp = c.stamp()
	}
	r.lastID = c.id()
	for range c.count(2) {
		r.files.added = append(r.files.added, fileName{c.id(), c.string()})
	}
	for range c.count(1) {
		r.files.gone = append(r.files.gone, c.id())
	}
	r.entries = c.bytes(uint64(c.count(entryBytes)) * entryBytes)
	if c.bad || len(c.b) > 0 {
		return record{}, errRecord
	}
	return r, nil
}

func logHeader(uid uint64) ([]byte, uint64) {
	b := append(make([]byte, 0, logHeaderBytes), logMagic...)
	b = binary.LittleEndian.AppendUint64(b, uid)
	sum := xxh3.Hash(b)
	return binary.LittleEndian.AppendUint64(b, sum), sum
}

// logScanner reads a log's records one after the other.
type logScanner struct {
	r    io.Reader
	left int64 // bytes that the file has after at
	at   int64 // where the records that were good end
	sum  uint64
	buf  []byte
}

// errTorn says that a log's end is not a whole record.
var errTorn = errors.New("what follows is not a whole record")

// header reads and checks the header.
func (s *logScanner) header(uid uint64) error {
	want, sum := logHeader(uid)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(s.r, got); err != nil || string(got) != string(want) {
		return fmt.Errorf("its header is not the one that the manifest names: %w", errTorn)
	}
	s.at, s.left, s.sum = logHeaderBytes, s.left-logHeaderBytes, sum
	return nil
}

// next gives the next record, which is good until the call after, io.EOF at
// the end, errTorn where there is something else.
func (s *logScanner) next() (record, error) {
	if s.left == 0 {
		return record{}, io.EOF
	}
	var head [4]byte
	if s.left < 12 {
		return record{}, errTorn
	}
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		return record{}, readError(err)
	}
	n := int64(binary.LittleEndian.Uint32(head[:]))
	if n > s.left-12 || n > recordMax {
		return record{}, errTorn
	}
	if int64(cap(s.buf)) < n+12 {
		s.buf = make([]byte, n+12)
	}
	b := s.buf[:n+12]
	copy(b, head[:])
	if _, err := io.ReadFull(s.r, b[4:]); err != nil {
		return record{}, readError(err)
	}
	sum := xxh3.HashSeed(b[:n+4], s.sum)
	if binary.LittleEndian.Uint64(b[n+4:]) != sum {
		return record{}, errTorn
	}
	r, err := decodeRecord(b[4 : n+4])
	if err != nil {
		return record{}, errTorn
	}
	s.sum = sum
	s.at += n + 12
	s.left -= n + 12
	return r, nil
}

// readError is errTorn for a file that is shorter than it was a moment ago.
func readError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errTorn
	}
	return err
}
