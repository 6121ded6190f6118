package lakehouse

import (
	"context"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/keyindex"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/dv"
)

// rewriteMost bounds, in bytes of data files, the tables that are written anew
// for a change of columns within a flush, for which all tables wait. Larger
// ones are copied again beside the stream.
const rewriteMost = 1 << 30

// follow makes the mirror ready for rows of a relation. Rows that are there
// are written anew if their columns change, in the same commit: whoever reads
// a version sees them as the source showed them then.
func (m *mirrorWriter) follow(ctx context.Context, rel *cdc.Relation) error {
	change, err := m.planChange(rel)
	if err != nil {
		return err
	}
	if change != nil {
		if !change.Rewrite && !m.rehashes(change) {
			err = m.stageChange(change, rel)
		} else {
			err = m.rewrite(ctx, change, rel)
		}
		if err != nil {
			return err
		}
	}
	m.place(rel)
	return nil
}

// rehashes reports whether a change gives rows other hashes: a column that is
// gone does not tell rows without a key apart any more.
func (m *mirrorWriter) rehashes(change *typemap.Change) bool {
	return m.bag && slices.ContainsFunc(change.Schema.Fields, func(f tablefmt.Field) bool {
		old, ok := m.schema.Field(f.Name)
		return typemap.Dropped(&f) && ok && !typemap.Dropped(&old)
	})
}

// oldFile is a data file whose rows are to be written anew.
type oldFile struct {
	add  *tablefmt.AddFile
	dead *dv.Bitmap // rows that are gone; nil for none
}

// oldFiles are the files that hold the table's rows, what is staged included.
// why says why they are wanted.
func (m *mirrorWriter) oldFiles(ctx context.Context, why string) ([]oldFile, error) {
	var files []oldFile
	size := int64(0)
	if !m.truncated {
		for add := range m.snap.Files() {
			f := oldFile{add: add}
			var err error
			if f.dead, err = m.snap.DeletionVector(ctx, add); err != nil {
				return nil, fmt.Errorf("reading the deletion vector of %s in %s: %w", add.Path, &m.spec, err)
			}
			if m.index != nil {
				if v := m.views[m.index.FileID(add.Path)]; v != nil && v.dead != nil {
					all := v.dead.Clone()
					if f.dead != nil {
						all.Or(f.dead)
					}
					f.dead = all
				}
			}
			files = append(files, f)
			size += add.Size
		}
	}
	for _, s := range m.files {
		files = append(files, oldFile{s.add, s.dead})
		size += s.add.Size
	}
	if size > rewriteMost {
		return nil, copyAgain("%s, and its rows are too many to be written anew at once", why)
	}
	return files, nil
}

// rewrite stages the table's rows in the columns of a change, and all of the
// files that have them now to go.
func (m *mirrorWriter) rewrite(ctx context.Context, change *typemap.Change, rel *cdc.Relation) error {
	files, err := m.oldFiles(ctx, "its columns changed")
	if err != nil {
		return err
	}
	old := m.snap
	if m.evolved {
		if old, err = old.WithSchema(m.schema); err != nil {
			return err
		}
	}
	r := &rewriter{change: change, old: m.schema}
	if err := m.truncate(ctx); err != nil { // the index begins anew, too
		return err
	}
	m.rewrote = true
	r.addExact()
	if err := m.stageChange(change, rel); err != nil {
		return err
	}
	r.arrow = m.arrow
	if err := m.rewriteRows(ctx, old, files, r.record); err != nil {
		return fmt.Errorf("writing the rows of %s in their new columns: %w", &m.spec, err)
	}
	return nil
}

// rewriteRows stages what becomes of the rows of some files, which read as a
// snapshot says, and notes where they are now. The caller sees to it that the
// rows that were there go.
func (m *mirrorWriter) rewriteRows(ctx context.Context, old *tablefmt.Snapshot, files []oldFile, convert func(arrow.RecordBatch) (arrow.RecordBatch, error)) error {
	out := m.newStager(ctx)
	defer out.abort()
	for _, f := range files {
		opt := tablefmt.ReadOptions{Deleted: f.dead}
		if f.dead == nil {
			opt.Deleted = dv.New()
		}
		err := old.ReadFile(ctx, f.add, opt, func(rec arrow.RecordBatch, _ int64) error {
			next, err := convert(rec)
			if err != nil {
				return err
			}
			defer next.Release()
			return m.writeStored(ctx, out, next)
		})
		if err != nil {
			return err
		}
	}
	if err := out.close(); err != nil {
		return err
	}
	if m.index != nil {
		for _, f := range out.done {
			m.views[m.index.FileID(f.add.Path)] = &fileView{add: f.add, staged: f}
		}
	}
	return nil
}

// writeStored writes rows as they stand, and notes where their keys are.
func (m *mirrorWriter) writeStored(ctx context.Context, out *stager, rec arrow.RecordBatch) error {
	rows := rowsFrom(0, int(rec.NumRows()))
	if m.index == nil {
		return out.write(rec, rows, anywhere)
	}
	names := m.key
	if m.bag {
		names = m.bagColumns(m.schema)
	}
	x := m.newIndexer(m.change, names, m.schema)
	if err := x.hash(rec); err != nil {
		return err
	}
	return out.write(rec, rows, func(part []int, at place) error {
		id := m.index.FileID(at.path)
		return x.put(ctx, chosen(x.hashes, part), func(i int) keyindex.Loc {
			return keyindex.Loc{File: id, Row: uint32(at.first) + uint32(i)}
		})
	})
}

// rewriter turns rows of the old columns into rows of the new ones. It is pure.
type rewriter struct {
	change *typemap.Change
	old    *tablefmt.Schema
	arrow  *arrow.Schema
	filled map[int]arrow.Array // per field: its missing value, many times
}

// addExact adds the column of exact texts where a missing value needs it.
func (r *rewriter) addExact() {
	if r.change.Schema.Index(typemap.Exact) >= 0 ||
		!slices.ContainsFunc(r.change.From, func(f typemap.From) bool { return f.Missing.Exact != "" }) {
		return
	}
	r.change.Schema = &tablefmt.Schema{Fields: append(slices.Clone(r.change.Schema.Fields), typemap.ExactField())}
	r.change.From = append(r.change.From, typemap.From{Field: -1})
}

func (r *rewriter) record(rec arrow.RecordBatch) (arrow.RecordBatch, error) {
	n := int(rec.NumRows())
	cols := make([]arrow.Array, len(r.change.From))
	defer func() {
		for _, c := range cols {
			if c != nil {
				c.Release()
			}
		}
	}()
	for i, from := range r.change.From {
		var err error
		switch typ := r.arrow.Field(i).Type; {
		case r.arrow.Field(i).Name == typemap.Exact:
			cols[i] = r.exact(rec, typ.(*arrow.MapType))
		case from.Field >= 0:
			cols[i], err = castTo(rec.Column(from.Field), typ)
		case from.Missing.Kind == cdc.MissingValue:
			cols[i], err = r.repeated(i, from.Missing.Value, n)
		default:
			cols[i] = array.MakeArrayOfNull(memory.DefaultAllocator, typ, n)
		}
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", r.arrow.Field(i).Name, err)
		}
	}
	return array.NewRecordBatch(r.arrow, cols, int64(n)), nil
}

// repeated gives an array of one value n times.
func (r *rewriter) repeated(field int, value arrow.Array, n int) (arrow.Array, error) {
	if r.filled == nil {
		r.filled = map[int]arrow.Array{}
	}
	many := r.filled[field]
	if many == nil {
		many = value
	}
	for many.Len() < n {
		twice, err := array.Concatenate([]arrow.Array{many, many}, memory.DefaultAllocator)
		if err != nil {
			return nil, err
		}
		many = twice
	}
	r.filled[field] = many
	return array.NewSlice(many, 0, int64(n)), nil
}

// exact builds the column of exact texts: under the columns' new names, without
// those of columns that are gone.
func (r *rewriter) exact(rec arrow.RecordBatch, typ *arrow.MapType) arrow.Array {
	mb := array.NewMapBuilderWithType(memory.DefaultAllocator, typ)
	defer mb.Release()
	keys, texts := mb.KeyBuilder().(*array.StringBuilder), mb.ItemBuilder().(*array.StringBuilder)
	var old *array.Map
	if i := r.old.Index(typemap.Exact); i >= 0 {
		old = rec.Column(i).(*array.Map)
	}
	for row := range int(rec.NumRows()) {
		open := false
		for i, from := range r.change.From {
			text, ok := from.Missing.Exact, from.Missing.Exact != ""
			if from.Field >= 0 && old != nil {
				text, ok = mapText(old, row, r.old.Fields[from.Field].Name)
			}
			if !ok || r.arrow.Field(i).Name == typemap.Exact {
				continue
			}
			if !open {
				mb.Append(true)
				open = true
			}
			keys.Append(r.arrow.Field(i).Name)
			texts.Append(text)
		}
		if !open {
			mb.AppendNull()
		}
	}
	return mb.NewArray()
}
