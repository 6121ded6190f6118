package colfile

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/parquet-go/parquet-go/format"
	"golang.org/x/sync/errgroup"
)

// Writer writes one Parquet file. It must be closed, also after an error, to
// give pooled memory back. It is not safe for concurrent use; any number of
// Writers may be used at the same time.
type Writer struct {
	out     offsetWriter
	schema  *arrow.Schema
	opt     WriterOptions
	nodes   []*writeNode
	leaves  []*leafWriter
	columns []*columnTracker
	meta    format.FileMetaData
	s       *scratch

	checked   *arrow.Schema // the last record's schema that was found to fit
	groupRows int64
	rows      int64 // of finished row groups
	err       error // sticky
	closed    bool
}

// offsetWriter counts what it writes.
type offsetWriter struct {
	w      io.Writer
	offset int64
}

func (w *offsetWriter) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.offset += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}

// release gives pooled memory back.
func (s *scratch) release() {
	if cap(s.page)+cap(s.packed) <= 2*maxPooledScratch {
		scratchPool.Put(s)
	}
}

var scratchPool = sync.Pool{New: func() any { return new(scratch) }}

const magic = "PAR1"

// NewWriter begins a file with the columns of schema on w. Nothing is written
// to w before the first row group is full or the file is closed; w is not
// closed.
//
// The types that schema may have are those of Delta: bool, int8 to int64,
// float32, float64, decimal128, utf8, binary, date32, timestamp[us] with and
// without a zone, list, map and struct; others give ErrUnsupported. A field
// that is not nullable becomes a required column. Field ids are taken from
// the fields' metadata under [FieldIDKey].
func NewWriter(w io.Writer, schema *arrow.Schema, opt WriterOptions) (*Writer, error) {
	if schema.NumFields() == 0 {
		return nil, unsupportedf("beginning a Parquet file without columns")
	}
	// The page size depends on the number of leaves, the leaves' statistics
	// on the options.
	checked, err := opt.withDefaults(1)
	if err != nil {
		return nil, fmt.Errorf("beginning a Parquet file: %w", err)
	}
	b := schemaBuilder{maxStats: checked.StatsColumns, statsOf: checked.StatsOf}
	nodes, err := b.build(schema)
	if err != nil {
		return nil, fmt.Errorf("beginning a Parquet file: %w", err)
	}
	if opt, err = opt.withDefaults(len(b.leaves)); err != nil {
		return nil, fmt.Errorf("beginning a Parquet file: %w", err)
	}
	writer := &Writer{
		out: offsetWriter{w: w}, schema: schema, opt: opt,
		nodes: nodes, leaves: b.leaves, columns: b.columns,
		s: scratchPool.Get().(*scratch),
	}
	writer.meta.Schema = b.elements
	dictBytes := 0
	if !opt.NoDictionary {
		share := opt.RowGroupBytes / int64(8*len(b.leaves))
		dictBytes = int(max(min(share, dictMaxBytes), dictMinBytes))
	}
	for _, l := range b.leaves {
		l.codec, l.zstdLevel, l.pageBytes, l.dictBytes = opt.Codec, opt.ZstdLevel, opt.PageBytes, dictBytes
		l.open()
	}
	return writer, nil
}

// Write adds all rows of rec, whose columns must have the writer's names and
// types in the same order. rec stays the caller's and is not used after
// Write returns. After an error the file is unusable and only Close may be
// called.
func (w *Writer) Write(rec arrow.RecordBatch) error {
	if err := w.check(rec); err != nil {
		return err
	}
	return w.write(rec, int(rec.NumRows()), nil)
}

// WriteRows adds the rows of rec that rows names, in that order; a row may be
// named any number of times. Otherwise it is like Write. rows is not kept.
func (w *Writer) WriteRows(rec arrow.RecordBatch, rows []int32) error {
	if err := w.check(rec); err != nil {
		return err
	}
	n := rec.NumRows()
	for _, r := range rows {
		if r < 0 || int64(r) >= n {
			return fmt.Errorf("writing rows: row %d of a batch of %d", r, n)
		}
	}
	if rows == nil {
		return nil
	}
	return w.write(rec, len(rows), rows)
}

// Rows is the number of rows written so far.
func (w *Writer) Rows() int64 { return w.rows + w.groupRows }

// Bytes estimates the size of the file if it were closed now: what is
// written, finished pages, and the open pages before compression. It is an
// upper bound but for the footer, a few hundred bytes a column and group.
func (w *Writer) Bytes() int64 {
	n := w.out.offset
	for _, l := range w.leaves {
		if l.pageBuffers != nil {
			n += l.held()
		}
	}
	return n
}

// Fits reports what forbids writing rec, as Write would. The file stays usable.
func (w *Writer) Fits(rec arrow.RecordBatch) error { return w.check(rec) }

// check reports what forbids writing rec, without making the file unusable.
func (w *Writer) check(rec arrow.RecordBatch) error {
	if w.closed || w.err != nil {
		return errors.Join(ErrClosed, w.err)
	}
	if s := rec.Schema(); s != w.checked {
		if err := sameColumns(w.schema, s); err != nil {
			return fmt.Errorf("writing rows: %w", err)
		}
		w.checked = s
	}
	return nil
}

// sliceRows is how many rows of all columns are written before the row
// group's size is looked at.
const sliceRows = 4096

// write adds n rows, which are all of rec's or those that rows names.
func (w *Writer) write(rec arrow.RecordBatch, n int, rows []int32) error {
	step := w.step(rec)
	for at := 0; at < n; {
		k := min(step, n-at, int(int64(w.opt.RowGroupRows)-w.groupRows))
		sel := selection{lo: at, hi: at + k}
		if rows != nil {
			sel = selection{pos: rows[at : at+k]}
		}
		w.err = w.eachColumn(len(w.nodes), k, func(i int, s *scratch) error {
			if w.nodes[i] == nil {
				return nil
			}
			if err := w.nodes[i].writeRows(rec.Column(i), sel, s); err != nil {
				return fmt.Errorf("writing column %q: %w", w.nodes[i].name, err)
			}
			return nil
		})
		if w.err != nil {
			return w.err
		}
		at += k
		w.groupRows += int64(k)
		if w.groupFull() {
			if err := w.endGroup(); err != nil {
				w.err = err
				return err
			}
		}
	}
	return nil
}

// parallelCells is how many values are worth a second goroutine.
const parallelCells = 8192

// eachColumn does f for each of n columns, which share nothing but the scratch
// that f gets, on as many goroutines as there are processors. Encoding and
// compressing are most of the work of a writer.
func (w *Writer) eachColumn(n, rows int, f func(i int, s *scratch) error) error {
	workers := min(n, runtime.GOMAXPROCS(0))
	if workers < 2 || n*rows < parallelCells {
		for i := range n {
			if err := f(i, w.s); err != nil {
				return err
			}
		}
		return nil
	}
	var next atomic.Int32
	work := func(s *scratch) error {
		for {
			i := int(next.Add(1)) - 1
			if i >= n {
				return nil
			}
			if err := f(i, s); err != nil {
				next.Store(int32(n)) // the file is of no use
				return err
			}
		}
	}
	var g errgroup.Group
	for range workers - 1 {
		g.Go(func() error {
			s := scratchPool.Get().(*scratch)
			defer s.release()
			return work(s)
		})
	}
	err := work(w.s)
	return cmp.Or(g.Wait(), err)
}

// step is the number of rows such that a slice of rec is a small part of a
// row group, by the average size of its rows.
func (w *Writer) step(rec arrow.RecordBatch) int {
	size := int64(0)
	for _, c := range rec.Columns() {
		size += dataBytes(c.Data())
	}
	perRow := size/max(rec.NumRows(), 1) + 1
	return int(max(min(w.opt.RowGroupBytes/16/perRow, sliceRows), 1))
}

// dataBytes is roughly the size of an array's values.
func dataBytes(d arrow.ArrayData) int64 {
	n := int64(0)
	switch d.DataType().ID() {
	case arrow.STRING, arrow.BINARY:
		if b := byteArrays(d); len(b.offsets) > 0 {
			n = int64(b.offsets[len(b.offsets)-1] - b.offsets[0])
		}
	case arrow.STRUCT, arrow.LIST, arrow.MAP, arrow.EXTENSION:
		for _, c := range d.Children() {
			n += dataBytes(c)
		}
	default:
		n = 8 * int64(d.Len())
	}
	return n
}

func (w *Writer) groupFull() bool {
	if w.groupRows >= int64(w.opt.RowGroupRows) {
		return true
	}
	raw := int64(0)
	for _, l := range w.leaves {
		raw += l.raw()
	}
	return raw >= w.opt.RowGroupBytes
}

// endGroup writes the open row group.
func (w *Writer) endGroup() error {
	if w.groupRows == 0 {
		return nil
	}
	if len(w.meta.RowGroups) >= math.MaxInt16 {
		return unsupportedf("more than %d row groups", math.MaxInt16)
	}
	if err := w.start(); err != nil {
		return err
	}
	g := format.RowGroup{
		NumRows: w.groupRows, FileOffset: w.out.offset, Ordinal: int16(len(w.meta.RowGroups)),
		Columns: make([]format.ColumnChunk, len(w.leaves)),
	}
	err := w.eachColumn(len(w.leaves), int(min(w.groupRows, math.MaxInt32)), func(i int, s *scratch) error {
		if err := w.leaves[i].flushPage(s); err != nil {
			return fmt.Errorf("writing column %q: %w", w.leaves[i].path, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, l := range w.leaves {
		cc, err := l.endGroup(&w.out, w.s)
		if err != nil {
			return fmt.Errorf("writing column %q of row group %d: %w", l.path, g.Ordinal, err)
		}
		g.Columns[i] = cc
		g.TotalByteSize += cc.MetaData.TotalUncompressedSize
		g.TotalCompressedSize += cc.MetaData.TotalCompressedSize
	}
	w.meta.RowGroups = append(w.meta.RowGroups, g)
	w.rows += w.groupRows
	w.groupRows = 0
	return nil
}

// start writes the magic in front of the first row group.
func (w *Writer) start() error {
	if w.out.offset > 0 {
		return nil
	}
	if _, err := io.WriteString(&w.out, magic); err != nil {
		return fmt.Errorf("beginning a Parquet file: %w", err)
	}
	return nil
}

// Close writes what is left and the footer, gives pooled memory back and
// returns the file's statistics. After an earlier error it only gives the
// memory back and returns that error. A second Close returns ErrClosed.
func (w *Writer) Close() (*Stats, error) {
	if w.closed {
		return nil, ErrClosed
	}
	defer w.release()
	if w.err != nil {
		return nil, w.err
	}
	if err := w.endGroup(); err != nil {
		return nil, err
	}
	if err := w.start(); err != nil {
		return nil, err
	}
	if err := w.writeFooter(); err != nil {
		return nil, fmt.Errorf("writing the Parquet footer: %w", err)
	}
	st := &Stats{Rows: w.rows, Bytes: w.out.offset, Columns: make([]ColumnStats, len(w.columns))}
	for i, c := range w.columns {
		st.Columns[i] = c.stats()
	}
	return st, nil
}

func (w *Writer) release() {
	w.closed = true
	for _, l := range w.leaves {
		l.release()
	}
	w.s.release()
	w.s = nil
}

// writeRows adds rows of a top-level column.
func (n *writeNode) writeRows(arr arrow.Array, sel selection, s *scratch) error {
	if n.shape == shapeLeaf {
		return n.leaf.writeFlat(arr, sel, n.optional, s)
	}
	for at, total := 0, sel.len(); at < total; {
		k := min(nestedRows, total-at)
		v := s.level(0)
		for i := at; i < at+k; i++ {
			v.add(int32(sel.at(i)), 0, 0)
		}
		if err := n.writeNested(arr, s, 0); err != nil {
			return err
		}
		at += k
	}
	return nil
}

const (
	nestedRows = 256  // rows of a nested column between looks at the page's size
	flatRows   = 1024 // and of a flat one
)

// writeFlat adds rows of a flat column, page by page.
func (l *leafWriter) writeFlat(arr arrow.Array, sel selection, optional bool, s *scratch) error {
	nulls := arr.NullN() > 0
	if nulls && !optional {
		return errNull
	}
	for at, total := 0, sel.len(); at < total; {
		k := l.fit(arr, sel, at, min(flatRows, total-at))
		part := selection{lo: sel.lo + at, hi: sel.lo + at + k}
		if sel.pos != nil {
			part = selection{pos: sel.pos[at : at+k]}
		}
		if nulls {
			part = l.dropNulls(arr, part, s)
		} else {
			l.addValid(k)
		}
		if err := l.appendValues(arr, part, s); err != nil {
			return err
		}
		if l.pageFull() {
			if err := l.flushPage(s); err != nil {
				return err
			}
		}
		at += k
	}
	return nil
}

// fit lowers n, at least to 1, such that the page does not grow beyond its
// size by more than a value.
func (l *leafWriter) fit(arr arrow.Array, sel selection, at, n int) int {
	room := max(l.pageBytes-l.bytes(), 1)
	switch {
	case l.dict != nil && l.phys != physBytes: // may be given up on the way
		return min(n, room/8+1)
	case l.phys == physBool:
		return n
	case l.phys == physFixed:
		return min(n, room/l.width+1)
	case l.phys != physBytes:
		return min(n, room/l.phys.size()+1)
	}
	b := byteArrays(arr.Data())
	if sel.pos == nil && int(b.offsets[sel.lo+at+n]-b.offsets[sel.lo+at])+4*n <= room {
		return n
	}
	for i := range n {
		r := sel.at(at + i)
		room -= int(b.offsets[r+1]-b.offsets[r]) + 4
		if room < 0 {
			return max(i, 1)
		}
	}
	return n
}

// dropNulls records the validity of the selected rows and selects those that
// are valid.
func (l *leafWriter) dropNulls(arr arrow.Array, sel selection, s *scratch) selection {
	n := sel.len()
	bitmap, off := arr.NullBitmapBytes(), arr.Data().Offset()
	pos := slices.Grow(s.pos[:0], n)[:n]
	k := 0
	for i := range n {
		r := sel.at(i)
		pos[k] = int32(r)
		k += int(bitmap[(off+r)>>3] >> ((off + r) & 7) & 1)
	}
	s.pos = pos
	if k == n {
		l.addValid(n)
		return selection{pos: pos}
	}
	l.startValid(n)
	for i := range n {
		r := sel.at(i) + off
		bit := bitmap[r>>3] >> (r & 7) & 1
		at := l.entries + i
		l.valid[at>>3] |= bit << (at & 7)
	}
	l.entries += n
	return selection{pos: pos[:k]}
}

// sameColumns checks that records of schema got can be written as want.
func sameColumns(want, got *arrow.Schema) error {
	if want.NumFields() != got.NumFields() {
		return fmt.Errorf("batch of %d columns for a file of %d", got.NumFields(), want.NumFields())
	}
	for i := range want.NumFields() {
		a, b := want.Field(i), got.Field(i)
		if a.Name != b.Name || !sameLayout(a.Type, b.Type) {
			return fmt.Errorf("column %d is %q %s in the batch and %q %s in the file", i, b.Name, b.Type, a.Name, a.Type)
		}
	}
	return nil
}

// sameLayout compares types but for nullability and the names of elements.
func sameLayout(a, b arrow.DataType) bool {
	switch a := a.(type) {
	case *arrow.StructType:
		b, ok := b.(*arrow.StructType)
		if !ok || a.NumFields() != b.NumFields() {
			return false
		}
		for i := range a.NumFields() {
			if a.Field(i).Name != b.Field(i).Name || !sameLayout(a.Field(i).Type, b.Field(i).Type) {
				return false
			}
		}
		return true
	case *arrow.MapType:
		b, ok := b.(*arrow.MapType)
		return ok && sameLayout(a.KeyType(), b.KeyType()) && sameLayout(a.ItemType(), b.ItemType())
	case *arrow.ListType:
		b, ok := b.(*arrow.ListType)
		return ok && sameLayout(a.Elem(), b.Elem())
	case *arrow.TimestampType:
		b, ok := b.(*arrow.TimestampType)
		return ok && a.Unit == b.Unit && (a.TimeZone == "") == (b.TimeZone == "")
	}
	return arrow.TypeEqual(a, b)
}
