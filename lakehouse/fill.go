package lakehouse

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/lakehouse/keyindex"
	"github.com/lakeload/lakeload/lakehouse/mirror"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/tablefmt"
)

// image is a row of a record laid out as the table's columns.
type image struct {
	rec arrow.RecordBatch
	row int64
}

// writeFilled writes the final images that lack values which the source did
// not send: each value is taken from an earlier image, or from the lake's row.
func (a *application) writeFilled(out *stager, filled []int32) (run, error) {
	lake, err := a.lakeRows(filled)
	if err != nil {
		return run{}, err
	}
	defer func() {
		for _, im := range lake {
			im.rec.Release()
		}
	}()
	// source[c][i] is where the value of the table's column c for filled[i] is.
	source := make([][]image, len(a.m.columns))
	for c := range source {
		source[c] = make([]image, len(filled))
	}
	for i, e := range filled {
		final, err := a.imageAt(a.m.red.Entries()[e].Final)
		if err != nil {
			return run{}, err
		}
		for c := range source {
			source[c][i] = final
		}
		for _, f := range a.m.red.Fills(int(e)) {
			im, ok := lake[f.Key]
			if !f.InLake {
				if im, err = a.imageAt(f.From); err != nil {
					return run{}, err
				}
			} else if !ok {
				return run{}, stopf(remedyResync, "a value that the source did not send is not in the lake")
			}
			for c, from := range a.m.columns {
				if from == int(f.Col) {
					source[c][i] = im
				}
			}
		}
	}
	rec, err := a.assemble(source)
	if err != nil {
		return run{}, err
	}
	defer rec.Release()
	at, err := out.write(rec, rowsFrom(0, len(filled)))
	if err != nil {
		return run{}, err
	}
	r := run{at: at}
	for i, e := range filled {
		r.rows = append(r.rows, rowOf{row: int32(i), entry: e})
	}
	return r, nil
}

func (a *application) imageAt(ref mirror.Ref) (image, error) {
	rec, err := a.record(int(ref.Batch))
	return image{rec, int64(ref.Row)}, err
}

// assemble builds the record of the filled rows, column by column.
func (a *application) assemble(source [][]image) (arrow.RecordBatch, error) {
	cols := make([]arrow.Array, len(source))
	defer func() {
		for _, c := range cols {
			if c != nil {
				c.Release()
			}
		}
	}()
	n := 0
	for c, images := range source {
		n = len(images)
		if a.m.arrow.Field(c).Name == typemap.Exact {
			cols[c] = a.assembleExact(c, source)
			continue
		}
		pieces := make([]arrow.Array, n)
		for i, im := range images {
			pieces[i] = array.NewSlice(im.rec.Column(c), im.row, im.row+1)
		}
		col, err := array.Concatenate(pieces, memory.DefaultAllocator)
		for _, p := range pieces {
			p.Release()
		}
		if err != nil {
			return nil, fmt.Errorf("filling in values of %s: %w", &a.m.spec, err)
		}
		cols[c] = col
	}
	return array.NewRecordBatch(a.m.arrow, cols, int64(n)), nil
}

// assembleExact builds the column of exact texts: each text comes from the
// image that its column's value came from.
func (a *application) assembleExact(exact int, source [][]image) arrow.Array {
	mb := array.NewMapBuilderWithType(memory.DefaultAllocator, a.m.arrow.Field(exact).Type.(*arrow.MapType))
	defer mb.Release()
	keys, texts := mb.KeyBuilder().(*array.StringBuilder), mb.ItemBuilder().(*array.StringBuilder)
	for i := range source[exact] {
		open := false
		for c, images := range source {
			name := a.m.arrow.Field(c).Name
			m, ok := images[i].rec.Column(exact).(*array.Map)
			if !ok || c == exact {
				continue
			}
			text, ok := mapText(m, int(images[i].row), name)
			if !ok {
				continue
			}
			if !open {
				mb.Append(true)
				open = true
			}
			keys.Append(name)
			texts.Append(text)
		}
		if !open {
			mb.AppendNull()
		}
	}
	return mb.NewArray()
}

// lakeRows reads the lake's rows that the fills need, by the hash of their
// key. Each image holds a reference to its record.
func (a *application) lakeRows(filled []int32) (map[keyindex.Hash]image, error) {
	wanted := map[keyindex.Hash]bool{}
	for _, e := range filled {
		for _, f := range a.m.red.Fills(int(e)) {
			if f.InLake {
				wanted[f.Key] = true
			}
		}
	}
	out := make(map[keyindex.Hash]image, len(wanted))
	if len(wanted) == 0 {
		return out, nil
	}
	byFile := map[keyindex.FileID]map[int64]keyindex.Hash{}
	for i, e := range a.m.red.Entries() {
		if loc := a.locs[i]; wanted[e.Hash] && loc != (keyindex.Loc{}) {
			if byFile[loc.File] == nil {
				byFile[loc.File] = map[int64]keyindex.Hash{}
			}
			byFile[loc.File][int64(loc.Row)] = e.Hash
		}
	}
	for id, rows := range byFile {
		if err := a.readRows(id, rows, out); err != nil {
			for _, im := range out {
				im.rec.Release()
			}
			return nil, err
		}
	}
	return out, nil
}

func (a *application) readRows(id keyindex.FileID, rows map[int64]keyindex.Hash, out map[keyindex.Hash]image) error {
	v, err := a.m.view(a.ctx, id)
	if err != nil {
		return err
	}
	snap := a.m.snap
	if a.m.evolved { // staged files may have columns that the snapshot lacks
		if snap, err = snap.WithSchema(a.m.schema); err != nil {
			return err
		}
	}
	opt := tablefmt.ReadOptions{IncludeDeleted: true}
	err = snap.ReadFile(a.ctx, v.add, opt, func(rec arrow.RecordBatch, first int64) error {
		for row, h := range rows {
			if row >= first && row < first+rec.NumRows() {
				one := rec.NewSlice(row-first, row-first+1)
				out[h] = image{one, 0}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading rows of %s whose values the source did not send: %w", &a.m.spec, err)
	}
	return nil
}
