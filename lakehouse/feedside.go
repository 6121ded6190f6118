package lakehouse

import (
	"context"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/dv"
)

// feedSide is the rows on one side of a commit, as they read in the columns that
// the table has after it.
type feedSide struct {
	snap  *tablefmt.Snapshot // reads the files
	cast  map[int]arrow.DataType
	to    *arrow.Schema // where cast is not empty
	files []feedFile
	rows  int64
}

// feedFile is a data file with the rows of it that are meant.
type feedFile struct {
	add     *tablefmt.AddFile
	only    *dv.Bitmap // nil: all but those without
	without *dv.Bitmap // nil: none; not looked at where fromLog
	fromLog bool       // all but those that the file's own deletion vector names
}

// sideOf is a side, without files yet, that reads a snapshot's files in the
// table's columns: by their names, what they lack as null, and what was of
// another type as a value of the new one, or null where it cannot be one.
func (m *mirrorWriter) sideOf(snap *tablefmt.Snapshot) (*feedSide, error) {
	s := &feedSide{cast: map[int]arrow.DataType{}, to: m.arrow}
	fields := make([]tablefmt.Field, len(m.schema.Fields))
	for i, f := range m.schema.Fields {
		if was, ok := snap.Schema().Field(f.Name); ok && was.Type.String() != f.Type.String() {
			f.Type, s.cast[i] = was.Type, m.arrow.Field(i).Type
		}
		fields[i] = f
	}
	var err error
	s.snap, err = snap.WithSchema(&tablefmt.Schema{Fields: fields})
	return s, err
}

// all takes all rows of a snapshot.
func (s *feedSide) all(snap *tablefmt.Snapshot) error {
	for add := range snap.Files() {
		n, ok := add.NumRecords()
		if !ok {
			return fmt.Errorf("the statistics of %s do not tell its rows: %w", add.Path, tablefmt.ErrCorrupt)
		}
		s.files, s.rows = append(s.files, feedFile{add: add, fromLog: true}), s.rows+n-add.Deleted()
	}
	return nil
}

// feedRows bounds the numbers of rows that are held to read some of a file.
const feedRows = 1 << 16

// each reads the rows, those of a file together. lost are the rows that have
// null where they had a value which is none of the column's type now: no row is
// equal to them.
func (s *feedSide) each(ctx context.Context, do func(rec arrow.RecordBatch, lost []int32) error) error {
	emit := func(rec arrow.RecordBatch, _ int64) error {
		out, lost := s.convert(rec)
		defer out.Release()
		return do(out, lost)
	}
	for _, f := range s.files {
		if err := s.read(ctx, f, emit); err != nil {
			return err
		}
	}
	return nil
}

func (s *feedSide) read(ctx context.Context, f feedFile, emit func(rec arrow.RecordBatch, first int64) error) error {
	if f.only == nil {
		o := tablefmt.ReadOptions{Deleted: f.without}
		if f.without == nil && !f.fromLog {
			o.Deleted = dv.New()
		}
		return s.snap.ReadFile(ctx, f.add, o, emit)
	}
	some := make([]int64, 0, min(f.only.Cardinality(), feedRows))
	read := func() error {
		err := s.snap.ReadFile(ctx, f.add, tablefmt.ReadOptions{IncludeDeleted: true, Rows: some}, emit)
		some = some[:0]
		return err
	}
	for row := range f.only.All() {
		if some = append(some, int64(row)); len(some) == feedRows {
			if err := read(); err != nil {
				return err
			}
		}
	}
	if len(some) == 0 {
		return nil
	}
	return read()
}

// convert gives rows in the table's columns. The caller releases it.
func (s *feedSide) convert(rec arrow.RecordBatch) (_ arrow.RecordBatch, lost []int32) {
	if len(s.cast) == 0 {
		rec.Retain()
		return rec, nil
	}
	cols := make([]arrow.Array, rec.NumCols())
	for i, c := range rec.Columns() {
		to, other := s.cast[i]
		if !other {
			c.Retain()
			cols[i] = c
			continue
		}
		var some []int32
		cols[i], some, _ = castSome(c, to)
		lost = append(lost, some...)
	}
	slices.Sort(lost)
	lost = slices.Compact(lost)
	out := array.NewRecordBatch(s.to, cols, rec.NumRows())
	for _, c := range cols {
		c.Release() // the batch holds it
	}
	return out, lost
}
