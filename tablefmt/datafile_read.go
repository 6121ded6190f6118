package tablefmt

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/tablefmt/dv"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// ReadOptions says what to read of a data file. The zero value is all columns
// of all rows that are not deleted.
type ReadOptions struct {
	// Columns are columns of the table, in the order wanted; nil is all.
	Columns []string
	// IncludeDeleted reads all rows of the data file, deleted ones too.
	IncludeDeleted bool
	// Deleted are the rows to leave out, if the caller has the file's
	// deletion vector already or wants another; nil is the file's own.
	Deleted *dv.Bitmap
	// Rows are the physical rows to read, ascending; nil is all. What emit gets
	// as the first row is then an index into Rows. It needs IncludeDeleted and
	// at least one column of the file itself.
	Rows []int64
	// BatchRows is the greatest number of rows of a batch; 0 is the default of
	// package colfile.
	BatchRows int
	// RowIDs gives two more columns, the last ones, of type long and never null:
	// the row's id and the version in which it was written last, under the names
	// that a writer with FileOptions.RowIDs wants. It needs [Snapshot.TracksRows].
	RowIDs bool
}

// ReadFile gives the rows of a logical file as record batches: the columns
// asked for, partition columns filled in, columns that the file is too old to
// have null. rows firstRow, firstRow+1, ... of the data file make a batch:
// where rows are deleted, a batch ends before them. A batch is released when
// emit returns; who keeps it retains it.
//
// An error of emit ends the reading and is returned as it is. A file that is
// missing or does not decode is ErrCorrupt.
func (s *Snapshot) ReadFile(ctx context.Context, a *AddFile, o ReadOptions, emit func(rec arrow.RecordBatch, firstRow int64) error) error {
	return s.readFile(ctx, a, o, func(rec arrow.RecordBatch, firstRow int64, live []span) error {
		for _, r := range live {
			if r.from == 0 && r.to == rec.NumRows() {
				return emit(rec, firstRow)
			}
			part := rec.NewSlice(r.from, r.to)
			err := emit(part, firstRow+r.from)
			part.Release()
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// span is rows from to to, to excluded, of a batch.
type span struct{ from, to int64 }

// readFile is ReadFile with whole batches and the spans of them that are not
// deleted, at least one.
func (s *Snapshot) readFile(ctx context.Context, a *AddFile, o ReadOptions, emit func(rec arrow.RecordBatch, firstRow int64, live []span) error) error {
	fail := func(err error) error { return s.readFailure(a, err) }
	store, path, err := s.loc.find(a.Path)
	if err != nil {
		return fail(unfound(a.Path, err))
	}
	if o.RowIDs && o.Columns == nil {
		o.Columns = fieldNames(s.arrow)
	}
	p, err := s.project(a, o.Columns)
	if err != nil {
		return fail(err)
	}
	var ids *rowIDs
	if o.RowIDs {
		if ids, err = s.rowIDsOf(a, o.Rows); err != nil {
			return fail(err)
		}
		p.data = arrow.NewSchema(append(p.data.Fields(), ids.fields...), nil)
	}
	deleted := o.Deleted
	switch {
	case o.IncludeDeleted:
		deleted = nil
	case deleted == nil:
		if deleted, err = readVector(ctx, s.loc, a); err != nil {
			return fail(err)
		}
	}
	r := parquetRead{want: p.data, byID: s.st.mapping == MappingID, batchRows: o.BatchRows, rows: o.Rows}
	if o.Rows != nil && (!o.IncludeDeleted || p.data.NumFields() == 0) {
		return fail(invalidf("rows are asked for by number without a column of the file, or without the deleted ones"))
	}
	err = readParquet(ctx, store, path, r, func(in arrow.RecordBatch, firstRow int64) error {
		live := liveSpans(deleted, firstRow, in.NumRows())
		if len(live) == 0 {
			return nil
		}
		out := p.batch(in)
		if ids != nil {
			plain := out
			out = ids.batch(plain, in, firstRow)
			plain.Release()
		}
		defer out.Release()
		if err := emit(out, firstRow, live); err != nil {
			return &emitError{err}
		}
		return nil
	})
	if err != nil {
		return fail(damagedFile(path, err))
	}
	return nil
}

// readFailure says which file could not be read. An error of emit stays what it
// is.
func (s *Snapshot) readFailure(a *AddFile, err error) error {
	var e *emitError
	if errors.As(err, &e) {
		return e.err
	}
	return fmt.Errorf("reading %s of table %s, version %d: %w", a.Path, s.loc, s.Version(), err)
}

// damagedFile makes ErrCorrupt of what shows that a data file is not what the
// log says.
func damagedFile(path string, err error) error {
	if errors.Is(err, errBadParquet) || errors.Is(err, objstore.ErrNotFound) {
		return corrupt(path, -1, err)
	}
	return err
}

// liveSpans gives what is left of rows first to first+n without the deleted.
func liveSpans(deleted *dv.Bitmap, first, n int64) []span {
	if deleted == nil {
		return []span{{0, n}}
	}
	var out []span
	from := int64(0)
	for row := range deleted.Rows(uint64(first), uint64(first+n)) {
		at := int64(row) - first
		if at > from {
			out = append(out, span{from, at})
		}
		from = at + 1
	}
	if from < n {
		out = append(out, span{from, n})
	}
	return out
}

// projection turns batches of a data file into batches of the table's rows.
type projection struct {
	data    *arrow.Schema             // what to read from the file
	schema  *arrow.Schema             // what to give
	fill    []func(n int) arrow.Array // nil: the file has all columns, or they are null
	columns []string
}

// project plans the reading of some columns of a file.
func (s *Snapshot) project(a *AddFile, columns []string) (*projection, error) {
	return s.projectParts(a, columns, nil)
}

// projectParts is project with some fields only of columns that are structs: by
// the column, the paths within it.
func (s *Snapshot) projectParts(a *AddFile, columns []string, parts map[string][][]string) (*projection, error) {
	if columns == nil && len(s.PartitionColumns()) == 0 && s.st.mapping == MappingNone {
		return &projection{data: s.arrow, schema: s.arrow}, nil
	}
	if columns == nil {
		columns = fieldNames(s.arrow)
	}
	p := &projection{columns: columns, fill: make([]func(int) arrow.Array, len(columns))}
	partition := make(map[string]bool)
	for _, name := range s.PartitionColumns() {
		partition[name] = true
	}
	var data, out []arrow.Field
	for i, name := range columns {
		at := s.st.schema.Index(name)
		if at < 0 {
			return nil, fmt.Errorf("the table has no column %q", name)
		}
		f, file := s.arrow.Field(at), s.files.Field(at)
		if paths := parts[name]; paths != nil {
			f, file = partOf(f, paths), partOf(file, paths)
		}
		out = append(out, f)
		p.fill[i] = func(n int) arrow.Array { return array.MakeArrayOfNull(memory.DefaultAllocator, f.Type, n) }
		if !partition[name] {
			data = append(data, file)
			continue
		}
		text, err := s.partitionText(a, at)
		var value func(array.Builder, int)
		if err == nil {
			value, err = partitionAppender(s.st.schema.Fields[at].Type, text)
		}
		if err != nil {
			return nil, corrupt(a.Path, -1, fmt.Errorf("partition column %q: %w", name, err))
		}
		p.fill[i] = func(n int) arrow.Array {
			b := array.NewBuilder(memory.DefaultAllocator, f.Type)
			defer b.Release()
			value(b, n)
			return b.NewArray()
		}
	}
	p.data, p.schema = arrow.NewSchema(data, nil), arrow.NewSchema(out, nil)
	return p, nil
}

// partOf is a field with those fields of its structs only that are at some paths
// within it, or on the way to them.
func partOf(f arrow.Field, paths [][]string) arrow.Field {
	t, ok := f.Type.(*arrow.StructType)
	if !ok || slices.ContainsFunc(paths, func(p []string) bool { return len(p) == 0 }) {
		return f
	}
	var fields []arrow.Field
	for _, inner := range t.Fields() {
		var below [][]string
		for _, p := range paths {
			if p[0] == inner.Name {
				below = append(below, p[1:])
			}
		}
		if below != nil {
			fields = append(fields, partOf(inner, below))
		}
	}
	f.Type = arrow.StructOf(fields...)
	return f
}

func fieldNames(s *arrow.Schema) []string {
	names := make([]string, s.NumFields())
	for i, f := range s.Fields() {
		names[i] = f.Name
	}
	return names
}

// batch gives the table's rows for a batch of the file, which may lack
// columns.
func (p *projection) batch(in arrow.RecordBatch) arrow.RecordBatch {
	if p.fill == nil {
		in.Retain()
		return in
	}
	cols := make([]arrow.Array, len(p.columns))
	for i, name := range p.columns {
		if at := in.Schema().FieldIndices(name); len(at) > 0 && p.data.HasField(name) {
			cols[i] = in.Column(at[0])
			cols[i].Retain()
		} else {
			cols[i] = p.fill[i](int(in.NumRows()))
		}
	}
	out := array.NewRecordBatch(p.schema, cols, in.NumRows())
	for _, c := range cols {
		c.Release() // the batch holds it
	}
	return out
}
