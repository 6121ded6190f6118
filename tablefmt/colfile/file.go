package colfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime/debug"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/parquet-go/parquet-go/format"
)

// File is an open Parquet file. It is immutable and safe for concurrent use,
// as its io.ReaderAt must be.
type File struct {
	r      io.ReaderAt
	size   int64
	tail   []byte // the last bytes of the file, for small files all of them
	meta   format.FileMetaData
	root   *readNode
	leaves []*readLeaf
	fields []arrow.Field
}

const (
	// tailBytes is read at first: the footer of most files, and the whole of
	// small ones, which then take one request.
	tailBytes = 64 << 10
	// maxFooter is the longest footer that is taken for real.
	maxFooter = 256 << 20
)

// OpenFile reads the footer of the Parquet file of size bytes in r, and for
// small files everything. r must stay usable as long as the File is, and is
// not closed. Bytes that are no Parquet file give an error that wraps
// [ErrCorrupt]; encrypted files and schemas that Arrow cannot express one that
// wraps [ErrUnsupported]; errors of r are passed on.
func OpenFile(r io.ReaderAt, size int64) (f *File, err error) {
	defer recoverCorrupt("opening a Parquet file", &err)
	f = &File{r: r, size: size}
	if err := f.readFooter(); err != nil {
		return nil, fmt.Errorf("opening a Parquet file of %d bytes: %w", size, err)
	}
	if err := f.bindSchema(); err != nil {
		return nil, fmt.Errorf("opening a Parquet file of %d bytes: %w", size, err)
	}
	if err := f.checkRowGroups(); err != nil {
		return nil, fmt.Errorf("opening a Parquet file of %d bytes: %w", size, err)
	}
	return f, nil
}

// recoverCorrupt turns a panic into ErrCorrupt. The decoders check what they
// are given; this is the belt to those braces, at the package's boundary.
func recoverCorrupt(doing string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%s: %w", doing, corruptf("panic: %v\n%s", p, debug.Stack()))
	}
}

// Schema is the file's schema in Arrow terms. See [OpenFile] and the
// package's documentation of types; field ids are under [FieldIDKey].
func (f *File) Schema() *arrow.Schema { return arrow.NewSchema(f.fields, nil) }

// NumRows is the number of rows.
func (f *File) NumRows() int64 { return f.meta.NumRows }

// NumRowGroups is the number of row groups.
func (f *File) NumRowGroups() int { return len(f.meta.RowGroups) }

// RowGroupRows is the number of rows of row group i.
func (f *File) RowGroupRows(i int) int64 { return f.meta.RowGroups[i].NumRows }

// Metadata is a value of the footer's key-value metadata.
func (f *File) Metadata(key string) (value string, ok bool) {
	for _, kv := range f.meta.KeyValueMetadata {
		if kv.Key == key {
			return kv.Value, true
		}
	}
	return "", false
}

// readAt gives n bytes from off, in buf's memory or the cached tail's.
func (f *File) readAt(buf []byte, off int64, n int) ([]byte, error) {
	if off < 0 || n < 0 || int64(n) > f.size-off {
		return nil, corruptf("%d bytes at %d are beyond the file's end at %d", n, off, f.size)
	}
	if start := f.size - int64(len(f.tail)); off >= start {
		return f.tail[off-start:][:n:n], nil
	}
	buf = reserve(buf, n)
	if m, err := f.r.ReadAt(buf, off); m < n {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // the file is shorter than its size says
		}
		return nil, fmt.Errorf("reading %d bytes at %d: %w", n, off, err)
	}
	return buf, nil
}

func (f *File) readFooter() error {
	if f.size < 12 {
		return corruptf("too short")
	}
	tail, err := f.readAt(nil, max(f.size-tailBytes, 0), int(min(f.size, tailBytes)))
	if err != nil {
		return err
	}
	f.tail = tail
	end := tail[len(tail)-8:]
	switch string(end[4:]) {
	case magic:
	case "PARE":
		return unsupportedf("encrypted Parquet file")
	default:
		return corruptf("it does not end in %q", magic)
	}
	n := int64(binary.LittleEndian.Uint32(end))
	if n > f.size-12 || n > maxFooter {
		return corruptf("footer of %d bytes", n)
	}
	footer, err := f.readAt(nil, f.size-8-n, int(n))
	if err != nil {
		return err
	}
	if err := inspectFooter(footer); err != nil {
		return err
	}
	if err := readFileMetaData(footer, &f.meta); err != nil {
		return err
	}
	if f.meta.EncryptionAlgorithm.Value != nil {
		return unsupportedf("encrypted Parquet file")
	}
	return nil
}

// inspectFooter walks the footer before it is decoded, and refuses
// one whose lists would take far more memory than their bytes justify.
func inspectFooter(b []byte) error {
	budget := 48*int64(len(b)) + 64<<10
	cost := func(depth int, id int16, typ byte, n int) {
		each := int64(16)
		switch {
		case typ == tStruct && depth == 1 && id == 2: // SchemaElement
			each = 160
		case typ == tStruct && depth == 1 && id == 4: // RowGroup
			each = 160
		case typ == tStruct && depth == 3 && id == 1: // ColumnChunk
			each = 900
		case typ == tStruct:
			each = 64
		}
		budget -= each * int64(n)
	}
	r := thriftReader{b: b}
	r.skip(tStruct, 0, 0, cost)
	if r.bad {
		return corruptf("footer cannot be decoded at byte %d of %d", r.pos, len(b))
	}
	if budget < 0 {
		return corruptf("footer of %d bytes with lists of too many elements", len(b))
	}
	return nil
}

// checkRowGroups proves what the reading of pages relies on.
func (f *File) checkRowGroups() error {
	rows := int64(0)
	for i := range f.meta.RowGroups {
		g := &f.meta.RowGroups[i]
		if len(g.Columns) != len(f.leaves) {
			return corruptf("row group %d has %d columns and the schema %d", i, len(g.Columns), len(f.leaves))
		}
		if g.NumRows < 0 || g.NumRows > math.MaxInt64-rows {
			return corruptf("row group %d of %d rows", i, g.NumRows)
		}
		rows += g.NumRows
		for j := range g.Columns {
			c := &g.Columns[j]
			if c.FilePath != "" {
				return unsupportedf("column chunk in another file, %q", c.FilePath)
			}
			if c.CryptoMetadata.Value != nil {
				return unsupportedf("encrypted column %q", f.leaves[j].path)
			}
			if c.MetaData.Type != physicalFormat[f.leaves[j].phys] {
				return corruptf("column %q of row group %d is %s and not %s", f.leaves[j].path, i, c.MetaData.Type, physicalFormat[f.leaves[j].phys])
			}
			start, end := chunkRange(&c.MetaData)
			if g.NumRows > 0 && (start < 4 || end < start || end > f.size) {
				return corruptf("column %q of row group %d lies from %d to %d", f.leaves[j].path, i, start, end)
			}
		}
	}
	if rows != f.meta.NumRows {
		return corruptf("row groups of %d rows in a file of %d", rows, f.meta.NumRows)
	}
	return nil
}

// chunkRange is where the pages of a column chunk are.
func chunkRange(m *format.ColumnMetaData) (start, end int64) {
	start = m.DataPageOffset
	if d := m.DictionaryPageOffset; d > 0 && d < start {
		start = d
	}
	if m.TotalCompressedSize < 0 || start > math.MaxInt64-m.TotalCompressedSize {
		return start, -1
	}
	return start, start + m.TotalCompressedSize
}
