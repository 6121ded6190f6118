package lakehouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/keyindex"
	"github.com/lakeload/lakeload/lakehouse/mask"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/dv"
)

// A table that keeps the rows that its source deletes keeps them when it is
// copied again, too: rows of its old content whose keys the new copy does not
// have are carried over. That the copy has them once more, after a crash, does
// no harm: they are found there.

// carrier carries the rows over.
type carrier struct {
	base   *tablefmt.Snapshot // the table as it is
	to     *table             // the copy's columns, and where its files lie
	rel    *cdc.Relation
	key    []string // of the copy
	hasher *keyHasher
	index  keyindex.Index
	change keyindex.Change
	// has reports whether a place that the index tells holds a row of the copy.
	has func(ctx context.Context, l keyindex.Loc) (bool, error)
	now time.Time // when rows went of which it is not known

	from  []int // for each column of the copy the one of base, -1 for none
	exact int   // of base, -1 for none
	masks []*mask.Mask
	salt  *mask.Salt // of masks
}

// carries reports whether a copy has rows of the old content carried over.
func carries(md *tablefmt.Metadata, base *tablefmt.Snapshot) bool {
	return base != nil && md.Property(propDelete) != ""
}

// run stages the rows that the copy lacks.
func (c *carrier) run(ctx context.Context) ([]*stagedFile, error) {
	if err := c.match(); err != nil {
		return nil, err
	}
	out := c.to.newStager(ctx)
	defer out.abort()
	for add := range c.base.Files() {
		err := c.base.ReadFile(ctx, add, tablefmt.ReadOptions{}, func(rec arrow.RecordBatch, _ int64) error {
			return c.record(ctx, out, rec)
		})
		if err != nil {
			return nil, fmt.Errorf("carrying over rows of %s that were deleted at the source: %w", &c.to.spec, err)
		}
	}
	err := out.finish()
	return out.done, err
}

// match finds the columns' places in the old content: by the source's ids of
// them where both are known, else by name. A column that is masked now and was not
// is masked; of one that was masked otherwise the values are not known any more.
func (c *carrier) match() error {
	old := c.base.Schema()
	byID := c.base.Property(propSource) == c.to.spec.sourceProperty()
	c.exact = old.Index(typemap.Exact)
	c.from, c.masks = make([]int, len(c.to.schema.Fields)), make([]*mask.Mask, len(c.to.schema.Fields))
	was, is := maskedBy(c.base.Metadata()), c.policy()
	c.salt = is.Salt
	for i := range c.to.schema.Fields {
		f := &c.to.schema.Fields[i]
		if c.from[i] = typemap.SameColumn(old, f, byID); c.from[i] < 0 || f.Name == typemap.Exact {
			continue
		}
		field := &old.Fields[c.from[i]]
		before, now := was.of(field), is.of(f)
		switch {
		case before == now:
		case slices.Contains(c.key, f.Name) && before.Kind != "":
			return c.refuse("the key's column %q is masked otherwise now, and which rows the copy has as well cannot be told", f.Name)
		case before.Kind == "":
			c.masks[i] = &now.Mask
			continue
		case now.Kind != "":
			c.from[i] = -1
			continue
		}
		if !typemap.Holds(f.Type, field.Type) {
			return c.refuse("column %q was of type %s and is of type %s", f.Name, field.Type, f.Type)
		}
	}
	for _, k := range c.key {
		if c.from[c.to.schema.Index(k)] < 0 {
			return c.refuse("they have no column %q, which the key has now", k)
		}
	}
	return nil
}

// refuse stops the table: its deleted rows are not dropped in silence.
func (c *carrier) refuse(format string, args ...any) error {
	return &stopError{
		reason: "the rows that it keeps though the source has deleted them cannot be carried over: " + fmt.Sprintf(format, args...),
		remedy: "keep the table with delete: hard, which drops them; or move it away and let it be copied into a new folder",
		recopy: true,
	}
}

// record carries over those of some rows that the copy lacks.
func (c *carrier) record(ctx context.Context, out *stager, rec arrow.RecordBatch) error {
	next, err := c.convert(rec)
	if err != nil {
		return err
	}
	defer next.Release()
	cols, exact := storedKey(next, c.key, c.to.schema.Index(typemap.Exact) >= 0)
	hashes := make([]keyindex.Hash, next.NumRows())
	if err := c.hasher.hashRows(cols, exact, 0, hashes); err != nil {
		return err
	}
	locs := make([]keyindex.Loc, len(hashes))
	if err := c.change.Lookup(ctx, hashes, locs); err != nil {
		return fmt.Errorf("looking up keys: %w", err)
	}
	var rows []int32
	var lack []keyindex.Hash
	for i, l := range locs {
		has := false
		if l != (keyindex.Loc{}) {
			if has, err = c.has(ctx, l); err != nil {
				return err
			}
		}
		if !has {
			rows, lack = append(rows, int32(i)), append(lack, hashes[i])
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return out.write(next, rows, func(part []int, at place) error {
		return c.change.Put(ctx, appendEntries(nil, c.index, keyRun{at, chosen(lack, part)}))
	})
}

// convert gives rows of the old content in the copy's columns, as deleted where
// the copy says so of rows.
func (c *carrier) convert(rec arrow.RecordBatch) (arrow.RecordBatch, error) {
	n := int(rec.NumRows())
	cols := make([]arrow.Array, len(c.from))
	defer func() {
		for _, col := range cols {
			if col != nil {
				col.Release()
			}
		}
	}()
	for i, from := range c.from {
		f, typ := &c.to.schema.Fields[i], c.to.arrow.Field(i).Type
		var err error
		switch {
		case f.Name == typemap.Exact:
			cols[i] = c.exactColumn(rec, typ.(*arrow.MapType))
		case f.Name == typemap.ColDeleted:
			cols[i] = repeatBool(true, n)
		case f.Name == typemap.ColDeletedAt:
			cols[i] = c.deletedAt(rec, from)
		case c.masks[i] != nil:
			cols[i], err = c.masked(i, rec)
		case from >= 0:
			cols[i], err = castTo(rec.Column(from), typ)
		default:
			if cols[i] = c.to.addedColumn(f.Name, n); cols[i] == nil {
				cols[i] = array.MakeArrayOfNull(memory.DefaultAllocator, typ, n)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", f.Name, err)
		}
	}
	if err := c.to.derive(cols); err != nil {
		return nil, err
	}
	return array.NewRecordBatch(c.to.arrow, cols, int64(n)), nil
}

// masked gives the values of a column that was not masked yet.
func (c *carrier) masked(i int, rec arrow.RecordBatch) (arrow.Array, error) {
	from, typ := c.from[i], c.to.arrow.Field(i).Type
	exact := map[int]string{}
	if c.exact >= 0 {
		was, name := rec.Column(c.exact).(*array.Map), c.base.Schema().Fields[from].Name
		for row := range int(rec.NumRows()) {
			if text, ok := mapText(was, row, name); ok {
				exact[row] = text
			}
		}
	}
	values := c.masks[i].Values(c.salt, rec.Column(from), exact)
	if values == nil && slices.Contains(c.key, c.to.schema.Fields[i].Name) {
		return nil, c.refuse("values of the key's column %q have no text that could be masked", c.to.schema.Fields[i].Name)
	}
	if values == nil || values.DataType().ID() != typ.ID() && c.masks[i].Kind == mask.Null {
		return array.MakeArrayOfNull(memory.DefaultAllocator, typ, int(rec.NumRows())), nil
	}
	defer values.Release()
	return castTo(values, typ)
}

// policy says how the copy is masked.
func (c *carrier) policy() maskedColumns {
	if c.to.spec.masks == nil {
		return maskedColumns{}
	}
	p := c.to.spec.masks(mask.Beneath(c.rel))
	return maskedColumns{Columns: p.Columns, Mark: p.Salt.Mark(), Salt: p.Salt}
}

// deletedAt is when rows were deleted: now, of those that were there.
func (c *carrier) deletedAt(rec arrow.RecordBatch, from int) arrow.Array {
	gone := c.base.Schema().Index(typemap.ColDeleted)
	return buildInstants(int(rec.NumRows()), func(i int) time.Time {
		if gone < 0 || from < 0 {
			return c.now
		}
		if was := rec.Column(gone).(*array.Boolean); was.IsNull(i) || !was.Value(i) {
			return c.now
		}
		at := rec.Column(from).(*array.Timestamp)
		if at.IsNull(i) {
			return time.Time{}
		}
		return time.UnixMicro(int64(at.Value(i)))
	})
}

// exactColumn gives the exact texts under the columns' new names.
func (c *carrier) exactColumn(rec arrow.RecordBatch, typ *arrow.MapType) arrow.Array {
	if c.exact < 0 {
		return array.MakeArrayOfNull(memory.DefaultAllocator, typ, int(rec.NumRows()))
	}
	mb := array.NewMapBuilderWithType(memory.DefaultAllocator, typ)
	defer mb.Release()
	keys, texts := mb.KeyBuilder().(*array.StringBuilder), mb.ItemBuilder().(*array.StringBuilder)
	was := rec.Column(c.exact).(*array.Map)
	for row := range int(rec.NumRows()) {
		open := false
		for i, from := range c.from {
			if from < 0 || from == c.exact || c.masks[i] != nil {
				continue
			}
			text, ok := mapText(was, row, c.base.Schema().Fields[from].Name)
			if !ok {
				continue
			}
			if !open {
				mb.Append(true)
				open = true
			}
			keys.Append(c.to.schema.Fields[i].Name)
			texts.Append(text)
		}
		if !open {
			mb.AppendNull()
		}
	}
	return mb.NewArray()
}

// withExact adds the column of exact texts to a copy's where the old content
// has one.
func withExact(schema *tablefmt.Schema, base *tablefmt.Snapshot) *tablefmt.Schema {
	if base.Schema().Index(typemap.Exact) < 0 || schema.Index(typemap.Exact) >= 0 {
		return schema
	}
	return &tablefmt.Schema{Fields: append(slices.Clone(schema.Fields), typemap.ExactField())}
}

// carryOver adds what is to be kept of the table's old content to its copy.
func (c *copyTarget) carryOver(ctx context.Context) error {
	if !carries(c.md, c.base) {
		return nil
	}
	if c.index == nil {
		return errors.New("carrying over deleted rows of a table without a key")
	}
	c.schema = withExact(c.schema, c.base)
	to := &table{spec: c.spec, parts: c.md.PartitionColumns}
	if err := to.setSchema(c.schema); err != nil {
		return err
	}
	x := carrier{
		base: c.base, to: to, rel: c.rel, key: keyNames(c.rel), hasher: &keyHasher{hasher: newHasher(c.md)}, index: c.index, change: c.change,
		has: func(context.Context, keyindex.Loc) (bool, error) { return true, nil }, now: time.Now().UTC(),
	}
	files, err := x.run(ctx)
	if err != nil {
		return err
	}
	return c.append(ctx, files)
}

// carryOver stages in a copy, which the writer works on, what is to be kept of
// the table's old content.
func (m *mirrorWriter) carryOver(ctx context.Context, base *tablefmt.Snapshot, rel *cdc.Relation) error {
	if !carries(m.snap.Metadata(), base) {
		return nil
	}
	if next := withExact(m.schema, base); next != m.schema {
		if err := m.addExact(); err != nil {
			return err
		}
	}
	if err := m.beginChange(ctx); err != nil {
		return err
	}
	x := carrier{
		base: base, to: m.table, rel: rel, key: m.key, hasher: &m.hasher, index: m.index, change: m.change, now: time.Now().UTC(),
		has: func(ctx context.Context, l keyindex.Loc) (bool, error) {
			v, err := m.view(ctx, l.File)
			return err == nil && !v.deleted(l.Row), err
		},
	}
	files, err := x.run(ctx)
	for _, f := range files {
		m.views[m.index.FileID(f.add.Path)] = &fileView{add: f.add, staged: f, soft: softOf(m.keep, f)}
	}
	m.files = append(m.files, files...)
	m.staged = m.staged || len(files) > 0
	return err
}

// softOf are the rows of a file of carried rows that are kept as deleted: all.
func softOf(keep DeleteMode, f *stagedFile) *dv.Bitmap {
	soft := dv.New()
	for row := range f.rows {
		if keep == DeleteSoft {
			soft.Add(uint64(row))
		}
	}
	return soft
}
