package tablefmt

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/tablefmt/colfile"
)

// TracksRows reports whether the table's rows have ids that stay (Row
// Tracking). Who copies rows of such a table from file to file reads them with
// ReadOptions.RowIDs and writes them with FileOptions.RowIDs, else the commit
// is refused.
func (s *Snapshot) TracksRows() bool { return tracksRows(s.Protocol(), s.Metadata()) }

// rowIDFields are the columns in which files keep row ids and commit versions.
func (s *Snapshot) rowIDFields() ([]arrow.Field, error) {
	if !s.TracksRows() {
		return nil, invalidf("its rows have no ids (%s)", PropRowTracking)
	}
	id, version := s.Property(propRowIDColumn), s.Property(propRowVersionColumn)
	if id == "" || version == "" || id == version {
		return nil, fmt.Errorf("the columns of its row ids have no names (%s, %s)", propRowIDColumn, propRowVersionColumn)
	}
	fields := make([]arrow.Field, 2)
	for i, name := range []string{id, version} {
		// They have no ids: their names tell in any table.
		fields[i] = arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Int64, Nullable: true, Metadata: arrow.NewMetadata([]string{colfile.FileNameKey}, []string{name})}
	}
	return fields, nil
}

// rowIDs gives the rows of one file their ids and commit versions. (Reader
// Requirements for Row Tracking)
type rowIDs struct {
	fields        []arrow.Field
	base, version int64
	rows          []int64 // what first rows are indices into; nil: they are the rows' own numbers
}

func (s *Snapshot) rowIDsOf(a *AddFile, rows []int64) (*rowIDs, error) {
	fields, err := s.rowIDFields()
	if err != nil {
		return nil, err
	}
	if a.BaseRowID == nil || a.DefaultRowCommitVersion == nil {
		return nil, corrupt(a.Path, s.Version(), errNoRowIDs)
	}
	return &rowIDs{fields: fields, base: *a.BaseRowID, version: *a.DefaultRowCommitVersion, rows: rows}, nil
}

// batch gives out with two more columns, never null. What files keep of rows
// from elsewhere stands in in, where the file has it.
func (r *rowIDs) batch(out, in arrow.RecordBatch, firstRow int64) arrow.RecordBatch {
	n := int(in.NumRows())
	ids := r.column(in, 0, n, func(i int) int64 {
		if r.rows != nil {
			return r.base + r.rows[firstRow+int64(i)]
		}
		return r.base + firstRow + int64(i)
	})
	defer ids.Release()
	versions := r.column(in, 1, n, func(int) int64 { return r.version })
	defer versions.Release()
	fields := append(out.Schema().Fields(), r.fields...)
	cols := append(append(make([]arrow.Array, 0, len(fields)), out.Columns()...), ids, versions)
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), cols, int64(n))
}

func (r *rowIDs) column(in arrow.RecordBatch, which, n int, fresh func(i int) int64) arrow.Array {
	var kept *array.Int64
	if at := in.Schema().FieldIndices(r.fields[which].Name); len(at) > 0 {
		kept, _ = in.Column(at[0]).(*array.Int64)
	}
	b := array.NewInt64Builder(memory.DefaultAllocator)
	defer b.Release()
	b.Reserve(n)
	for i := range n {
		if kept != nil && kept.IsValid(i) {
			b.UnsafeAppend(kept.Value(i))
		} else {
			b.UnsafeAppend(fresh(i))
		}
	}
	return b.NewArray()
}
