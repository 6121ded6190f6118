package colfile

import (
	"context"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/tablefmt/variant"
)

// Defaults of ReadOptions.
const (
	DefaultBatchRows  = 8192
	DefaultBatchBytes = 16 << 20
	// DefaultReadAhead is the memory for bytes read and not yet decoded.
	DefaultReadAhead = 8 << 20
)

// ReadOptions says what of a file is read and how. The zero value reads all.
type ReadOptions struct {
	// Columns are the top-level columns to read, in the order of the result;
	// nil is all. A name that the file does not have is an error. Not to be
	// set together with Schema.
	Columns []string
	// Schema is what the result is to look like, if not nil. Its columns, and
	// the fields of its structs, are found in the file by name, or by one that
	// differs by case alone; one that the file does not have is null in every row. A type that differs
	// from the file's is converted where no value is lost: integers and
	// floats to wider ones (to narrower integers too, if each value fits),
	// integers to double and decimal, decimals to more digits, date to
	// timestamp, binary to and from string, timestamps with and without a
	// zone as they are. Anything else gives an error that wraps
	// ErrUnsupported. Only UTC and the empty zone are known. A group of the file
	// is read as a variant.Type where that is wanted, shredded or not. What is
	// wanted as arrow.Null is null, whatever the file has.
	// A field whose metadata has FileNameKey is found by that name.
	Schema *arrow.Schema
	// ByFieldID finds the fields of Schema by their ids (FieldIDKey) and not
	// by names. One without an id is found by its FileNameKey, and without that is
	// in no file. A file none of whose columns
	// has an id gives an error that wraps ErrNoFieldIDs.
	ByFieldID bool
	// Rows are the rows to read, ascending, without duplicates; nil is all
	// and an empty slice none. Pages that hold none of them are not decoded,
	// as far as columns outside of lists go.
	Rows []int64
	// RowGroups are the row groups to read, ascending, without duplicates; nil
	// is all and an empty slice none. Not to be set together with Rows.
	RowGroups []int
	// BatchRows is the greatest number of rows of a batch, 0 is
	// DefaultBatchRows. A batch never spans row groups.
	BatchRows int
	// BatchBytes ends a batch when its values have about that size, whatever
	// its rows; 0 is DefaultBatchBytes. A batch has one row at least.
	BatchBytes int
	// ReadAhead bounds what is read and not yet decoded, over all columns,
	// but for pages that are larger; 0 is DefaultReadAhead. Each column asks
	// for its share of it, and at least 64 KiB, in one ReadAt.
	ReadAhead int
}

// Read calls emit with the rows that opt asks for, in the order of the file,
// in batches. firstRow is the number in the file of a batch's first row; if
// opt.Rows is set it is the index in opt.Rows instead. The batch is released
// when emit returns: retain it to keep it. An error of emit ends the reading
// and is returned as it is; a cancelled ctx ends it before the next batch.
func (f *File) Read(ctx context.Context, opt ReadOptions, emit func(rec arrow.RecordBatch, firstRow int64) error) error {
	r, err := f.newReader(opt)
	if err != nil {
		return fmt.Errorf("reading a Parquet file: %w", err)
	}
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("reading a Parquet file: %w", context.Cause(ctx))
		}
		rec, first, err := r.next()
		if err != nil {
			return fmt.Errorf("reading a Parquet file: %w", err)
		}
		if rec == nil {
			return nil
		}
		err = emit(rec, first)
		rec.Release()
		if err != nil {
			return err
		}
	}
}

// reader is the state of one Read.
type reader struct {
	f       *File
	opt     ReadOptions
	schema  *arrow.Schema
	columns []*planNode // nil: not in the file
	leaves  []*leafReader

	group   int   // the next row group
	base    int64 // the file's row at which the open group begins
	rows    int64 // rows of the open group
	at      int64 // row of the open group that the leaves stand at
	emitted int64 // rows emitted, which is the place in opt.Rows
	perRow  int   // bytes, from the batches before
}

func (f *File) newReader(opt ReadOptions) (_ *reader, err error) {
	if opt.BatchRows < 0 || opt.BatchBytes < 0 || opt.ReadAhead < 0 {
		return nil, unsupportedf("negative limits")
	}
	if opt.BatchRows == 0 {
		opt.BatchRows = DefaultBatchRows
	}
	if opt.BatchBytes == 0 {
		opt.BatchBytes = DefaultBatchBytes
	}
	if opt.ReadAhead == 0 {
		opt.ReadAhead = DefaultReadAhead
	}
	r := &reader{f: f, opt: opt}
	for i, row := range opt.Rows {
		if row < 0 || row >= f.meta.NumRows || i > 0 && row <= opt.Rows[i-1] {
			return nil, unsupportedf("row %d of %d, or out of order", row, f.meta.NumRows)
		}
	}
	if opt.RowGroups != nil && opt.Rows != nil {
		return nil, unsupportedf("both rows and row groups")
	}
	for i, g := range opt.RowGroups {
		if g < 0 || g >= len(f.meta.RowGroups) || i > 0 && g <= opt.RowGroups[i-1] {
			return nil, unsupportedf("row group %d of %d, or out of order", g, len(f.meta.RowGroups))
		}
	}
	if r.schema, err = f.resultSchema(&opt); err != nil {
		return nil, err
	}
	if opt.ByFieldID {
		if opt.Schema == nil {
			return nil, unsupportedf("field ids without a schema that has them")
		}
		if err := f.checkIDs(); err != nil {
			return nil, err
		}
	}
	r.columns = make([]*planNode, 0, r.schema.NumFields())
	for i := range r.schema.NumFields() {
		field := r.schema.Field(i)
		var p *planNode
		n, err := f.root.match(&field, opt.ByFieldID)
		if err == nil && n != nil && field.Type.ID() != arrow.NULL {
			p, err = r.plan(n, field.Type)
		}
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", field.Name, err)
		}
		r.columns = append(r.columns, p)
	}
	return r, nil
}

// resultSchema is the schema that opt asks for.
func (f *File) resultSchema(opt *ReadOptions) (*arrow.Schema, error) {
	if opt.Schema != nil {
		if opt.Columns != nil {
			return nil, unsupportedf("both a schema and columns")
		}
		return opt.Schema, nil
	}
	if opt.Columns == nil {
		return f.Schema(), nil
	}
	fields := make([]arrow.Field, 0, len(opt.Columns))
	for _, name := range opt.Columns {
		n := f.root.child(name)
		if n == nil {
			return nil, unsupportedf("column %q, which the file does not have", name)
		}
		fields = append(fields, n.field)
	}
	return arrow.NewSchema(fields, nil), nil
}

// child is the field of a struct called name, or nil.
func (n *readNode) child(name string) *readNode {
	for _, c := range n.children {
		if c.field.Name == name {
			return c
		}
	}
	return nil
}

// plan matches a node with the wanted type.
func (r *reader) plan(n *readNode, want arrow.DataType) (*planNode, error) {
	if _, ok := want.(*variant.Type); ok {
		return r.planVariant(n, want)
	}
	p := &planNode{node: n, typ: want}
	switch n.shape {
	case shapeLeaf:
		if !castable(n.leaf.typ, want) {
			return nil, unsupportedf("%s in the file read as %s", n.leaf.typ, want)
		}
		p.reader = r.leafReader(n.leaf)
		return p, nil
	case shapeStruct:
		t, ok := want.(*arrow.StructType)
		if !ok {
			return nil, unsupportedf("%s in the file read as %s", n.field.Type, want)
		}
		return p, r.planFields(p, n, t)
	case shapeMap:
		t, ok := want.(*arrow.MapType)
		if !ok {
			return nil, unsupportedf("%s in the file read as %s", n.field.Type, want)
		}
		return p, r.planChildren(p, n, t.KeyType(), t.ItemType())
	}
	t, ok := want.(*arrow.ListType)
	if !ok {
		return nil, unsupportedf("%s in the file read as %s", n.field.Type, want)
	}
	return p, r.planChildren(p, n, t.Elem())
}

func (r *reader) planChildren(p *planNode, n *readNode, want ...arrow.DataType) error {
	for i, t := range want {
		c, err := r.plan(n.children[i], t)
		if err != nil {
			return err
		}
		p.children = append(p.children, c)
	}
	p.reader = p.children[0].reader
	return nil
}

func (r *reader) planFields(p *planNode, n *readNode, t *arrow.StructType) error {
	for _, f := range t.Fields() {
		var c *planNode
		child, err := n.match(&f, r.opt.ByFieldID)
		if err == nil && child != nil && f.Type.ID() != arrow.NULL {
			c, err = r.plan(child, f.Type)
		}
		if err != nil {
			return fmt.Errorf("field %q: %w", f.Name, err)
		}
		if c != nil && p.reader == nil {
			p.reader = c.reader
		}
		p.children = append(p.children, c)
	}
	if p.reader == nil { // only its nulls are needed
		p.reader = r.leafReader(n.firstLeaf())
	}
	return nil
}

// leafReader gives the reader of a leaf, which several columns may share.
func (r *reader) leafReader(l *readLeaf) *leafReader {
	for _, lr := range r.leaves {
		if lr.leaf == l {
			return lr
		}
	}
	lr := &leafReader{leaf: l}
	r.leaves = append(r.leaves, lr)
	return lr
}

// next decodes the next batch; nil at the end.
func (r *reader) next() (rec arrow.RecordBatch, first int64, err error) {
	defer recoverCorrupt("decoding pages", &err)
	if ok, err := r.openGroup(); err != nil || !ok {
		return nil, 0, err
	}
	first = r.base + r.at
	if r.opt.Rows != nil {
		first = r.emitted
	}
	n, err := r.readBatch()
	if err != nil {
		return nil, 0, fmt.Errorf("row group %d: %w", r.group-1, err)
	}
	r.emitted += int64(n)
	if rec, err = r.build(n); err != nil {
		return nil, 0, fmt.Errorf("row group %d: %w", r.group-1, err)
	}
	more := r.group < len(r.f.meta.RowGroups) || r.moreRows()
	for _, l := range r.leaves {
		l.reset(more)
	}
	return rec, first, nil
}

// openGroup goes to the row group of the next row that is asked for.
func (r *reader) openGroup() (bool, error) {
	for {
		if r.group > 0 && r.moreRows() {
			return true, nil
		}
		if r.group == len(r.f.meta.RowGroups) {
			return false, nil
		}
		r.base += r.rows
		g := &r.f.meta.RowGroups[r.group]
		r.group++
		r.rows, r.at = g.NumRows, 0
		if r.opt.RowGroups != nil && !slices.Contains(r.opt.RowGroups, r.group-1) {
			r.at = r.rows
			continue
		}
		if !r.moreRows() {
			continue
		}
		window := max(r.opt.ReadAhead/max(len(r.leaves), 1), 64<<10)
		for _, l := range r.leaves {
			l.start(r.f, &g.Columns[l.leaf.index].MetaData, window)
		}
		r.perRow = int(min(g.TotalByteSize/max(g.NumRows, 1), maxBatchData))
	}
}

// moreRows reports whether rows of the open group are still wanted.
func (r *reader) moreRows() bool {
	if r.opt.Rows == nil {
		return r.at < r.rows
	}
	return r.emitted < int64(len(r.opt.Rows)) && r.opt.Rows[r.emitted] < r.base+r.rows
}

// readBatch lets all leaves read the same rows, in steps, until the batch is
// full, and tells how many.
func (r *reader) readBatch() (n int, err error) {
	size := 0
	for n < r.opt.BatchRows && (n == 0 || size < r.opt.BatchBytes) {
		skip, k := r.run(r.emitted+int64(n), r.step(r.opt.BatchRows-n, r.opt.BatchBytes-size))
		if k == 0 {
			break
		}
		size = 0
		for _, l := range r.leaves {
			if err := l.skip(skip); err != nil {
				return 0, l.named(err)
			}
			if err := l.read(k); err != nil {
				return 0, l.named(err)
			}
			size += l.out.bytes()
		}
		r.at += skip + int64(k)
		n += k
		r.perRow = max(r.perRow/2, size/n)
	}
	return n, nil
}

// step is the number of rows, at most most, to read before looking at the
// size again, when room bytes are left. The size of the rows before, and the
// longest entries of the dictionaries, say how many are safe.
func (r *reader) step(most, room int) int {
	perRow := r.perRow + 1
	for _, l := range r.leaves {
		if w := l.pages.dict.widest; w > 1<<10 {
			perRow += w
		}
	}
	return max(min(most, room/perRow, 8*stepRows), min(most, 1))
}

const stepRows = 1024

// run finds the next rows to read in one go: how many to pass over before
// them, and their number, at most most; zero at the end of the group.
func (r *reader) run(place int64, most int) (skip int64, n int) {
	if r.opt.Rows == nil {
		return 0, int(min(int64(most), r.rows-r.at))
	}
	rows := r.opt.Rows[min(place, int64(len(r.opt.Rows))):]
	if len(rows) == 0 || rows[0] >= r.base+r.rows {
		return 0, 0
	}
	for n = 1; n < most && n < len(rows) && rows[n] == rows[0]+int64(n) && rows[n] < r.base+r.rows; n++ {
	}
	return rows[0] - r.base - r.at, n
}

// build makes the record batch of n rows.
func (r *reader) build(n int) (arrow.RecordBatch, error) {
	arrays := make([]arrow.Array, 0, len(r.columns))
	defer func() {
		for _, a := range arrays {
			a.Release()
		}
	}()
	for i, p := range r.columns {
		if p == nil {
			arrays = append(arrays, array.MakeArrayOfNull(memory.DefaultAllocator, r.schema.Field(i).Type, n))
			continue
		}
		a, err := p.assemble()
		if err != nil {
			return nil, err
		}
		arrays = append(arrays, a)
		if a.Len() != n {
			return nil, corruptf("column %q has %d rows where %d are read", r.schema.Field(i).Name, a.Len(), n)
		}
	}
	return array.NewRecordBatch(r.schema, slices.Clone(arrays), int64(n)), nil
}
