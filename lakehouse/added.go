package lakehouse

import (
	"fmt"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/lakehouse/partition"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/tablefmt"
)

// additions are the columns of a table that the lake has added to the source's,
// and those that its files lack because they are partitioned by them.
type additions struct {
	derived   []derived
	partition []int         // places of the partition columns
	data      *arrow.Schema // what stands in the files
	dataAt    []int         // its columns' places
}

// derived is a column that is made of another one.
type derived struct {
	at, from int
	by       partition.Transform
}

func additionsOf(s *tablefmt.Schema, a *arrow.Schema, parts []string) (additions, error) {
	var x additions
	var data []arrow.Field
	for i := range s.Fields {
		f := &s.Fields[i]
		if !slices.Contains(parts, f.Name) {
			data, x.dataAt = append(data, a.Field(i)), append(x.dataAt, i)
		}
		what, ok := typemap.Added(f)
		if !ok || what == f.Name {
			continue
		}
		by, err := partition.Parse(what)
		if err != nil {
			return x, mustCopy("its column %q is damaged: %v", f.Name, err)
		}
		from := s.Index(by.Column)
		if from < 0 {
			return x, mustCopy("its column %q is derived of %q, which it does not have", f.Name, by.Column)
		}
		x.derived = append(x.derived, derived{at: i, from: from, by: by})
	}
	for _, name := range parts {
		i := s.Index(name)
		if i < 0 {
			return x, mustCopy("it is partitioned by %q, which it does not have", name)
		}
		x.partition = append(x.partition, i)
	}
	x.data = arrow.NewSchema(data, nil)
	return x, nil
}

// derive sets the derived columns of rows. What was there is released.
func (t *table) derive(cols []arrow.Array) error {
	for _, d := range t.added.derived {
		made, err := d.by.Apply(cols[d.from])
		if err != nil {
			return fmt.Errorf("the column %q of %s: %w", t.arrow.Field(d.at).Name, &t.spec, err)
		}
		if cols[d.at] != nil {
			cols[d.at].Release()
		}
		cols[d.at] = made
	}
	return nil
}

// flushTime is when what is staged began to be.
func (t *table) flushTime() time.Time {
	if t.begun.IsZero() {
		t.begun = time.Now().UTC()
	}
	return t.begun
}

// addedColumn gives a column that tells of the loading of rows, or of their
// deletion; nil for one that is derived.
func (t *table) addedColumn(name string, rows int) arrow.Array {
	switch name {
	case typemap.ColIngested:
		return repeatTime(t.flushTime(), rows)
	case typemap.ColSourceSystem:
		text := t.spec.state.SourceSystem
		if text == "" {
			text = t.spec.pipeline
		}
		return buildStrings(rows, func(int) string { return text })
	case typemap.ColDeleted:
		return repeatBool(false, rows)
	case typemap.ColDeletedAt:
		return array.MakeArrayOfNull(memory.DefaultAllocator, arrow.FixedWidthTypes.Timestamp_us, rows)
	}
	return nil
}

func repeatTime(at time.Time, rows int) arrow.Array {
	return buildInstants(rows, func(int) time.Time { return at })
}

// buildInstants makes a column of points in time; the zero one is null.
func buildInstants(rows int, at func(i int) time.Time) arrow.Array {
	b := array.NewTimestampBuilder(memory.DefaultAllocator, arrow.FixedWidthTypes.Timestamp_us.(*arrow.TimestampType))
	defer b.Release()
	b.Reserve(rows)
	for i := range rows {
		if t := at(i); t.IsZero() {
			b.AppendNull()
		} else {
			b.UnsafeAppend(arrow.Timestamp(t.UnixMicro()))
		}
	}
	return b.NewArray()
}

func repeatBool(v bool, rows int) arrow.Array {
	b := array.NewBooleanBuilder(memory.DefaultAllocator)
	defer b.Release()
	b.Reserve(rows)
	for range rows {
		b.UnsafeAppend(v)
	}
	return b.NewArray()
}

// replaceColumns gives rows with some columns in place of theirs, which it
// releases. rec stays the caller's.
func replaceColumns(rec arrow.RecordBatch, by map[int]arrow.Array) arrow.RecordBatch {
	cols := slices.Clone(rec.Columns())
	for i, c := range by {
		cols[i] = c
	}
	out := array.NewRecordBatch(rec.Schema(), cols, rec.NumRows())
	for _, c := range by {
		c.Release()
	}
	return out
}
