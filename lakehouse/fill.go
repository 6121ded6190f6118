package lakehouse

import (
	"cmp"
	"fmt"
	"slices"

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

// Filled rows hold large values: they are read and written in portions of
// about fillBytes, the first of fillFirst rows.
const (
	fillBytes = 8 << 20
	fillFirst = 16
	fillMost  = 4096
)

// writeFilled writes the final images that lack values which the source did
// not send: each value is taken from an earlier image, or from the lake's row.
// buried says that they are those of rows that are kept as deleted: the lake's
// row may be all that there is of one.
func (a *application) writeFilled(filled []int32, buried bool) error {
	a.orderByPlace(filled)
	for n := fillFirst; len(filled) > 0; {
		portion := filled[:min(n, len(filled))]
		size, err := a.writePortion(portion, buried)
		if err != nil {
			return err
		}
		filled = filled[len(portion):]
		n = int(min(max(fillBytes*int64(len(portion))/max(size, 1), 1), fillMost))
	}
	return nil
}

// orderByPlace sorts entries by where their keys were, so that a portion's
// values lie near one another.
func (a *application) orderByPlace(filled []int32) {
	slices.SortFunc(filled, func(x, y int32) int {
		p, q := a.locs[x], a.locs[y]
		return cmp.Or(cmp.Compare(p.File, q.File), cmp.Compare(p.Row, q.Row), cmp.Compare(x, y))
	})
}

// writePortion writes some of the filled rows, and tells their size in bytes.
func (a *application) writePortion(filled []int32, buried bool) (int64, error) {
	lake, err := a.lakeRows(filled)
	if err != nil {
		return 0, err
	}
	defer func() {
		for _, im := range lake {
			im.rec.Release()
		}
	}()
	source, err := a.sources(filled, lake)
	if err != nil {
		return 0, err
	}
	rec, err := a.assemble(source, filled, buried)
	if err != nil {
		return 0, err
	}
	defer rec.Release()
	rows := make([]rowOf, len(filled))
	for i, e := range filled {
		rows[i] = rowOf{row: int32(i), entry: e}
	}
	err = a.out.write(rec, rowsFrom(0, len(filled)), func(part []int, at place) error {
		a.written = append(a.written, run{at: at, rows: chosen(rows, part), buried: buried})
		return nil
	})
	if err != nil {
		return 0, err
	}
	size := int64(0)
	for _, c := range rec.Columns() {
		size += int64(c.Data().SizeInBytes())
	}
	return size, nil
}

// sources finds, for each of the table's columns, the image that has the value
// of each of the filled rows.
func (a *application) sources(filled []int32, lake map[keyindex.Hash]image) ([][]image, error) {
	source := make([][]image, len(a.m.columns))
	for c := range source {
		source[c] = make([]image, len(filled))
	}
	for i, e := range filled {
		entry := a.m.red.Entries()[e]
		final, ok := lake[entry.Hash]
		if entry.Image {
			var err error
			if final, err = a.imageAt(entry.Final); err != nil {
				return nil, err
			}
		} else if !ok {
			return nil, mustCopy("a row that is to be kept as deleted is not in the lake")
		}
		for c := range source {
			source[c][i] = final
		}
		for _, f := range a.m.red.Fills(int(e)) {
			im, ok := lake[f.Key]
			if !f.InLake {
				var err error
				if im, err = a.imageAt(f.From); err != nil {
					return nil, err
				}
			} else if !ok {
				return nil, mustCopy("a value that the source did not send is not in the lake")
			}
			for c, from := range a.m.columns {
				if from == int(f.Col) {
					source[c][i] = im
				}
			}
		}
	}
	return source, nil
}

func (a *application) imageAt(ref mirror.Ref) (image, error) {
	rec, err := a.record(int(ref.Batch))
	return image{rec, int64(ref.Row)}, err
}

// assemble builds the record of the filled rows, column by column. What is
// derived of columns is so of what they have now.
func (a *application) assemble(source [][]image, filled []int32, buried bool) (arrow.RecordBatch, error) {
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
	if buried {
		a.bury(cols, filled)
	}
	if err := a.m.derive(cols); err != nil {
		return nil, err
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
		if entry := &a.m.red.Entries()[e]; !entry.Image {
			wanted[entry.Hash] = true
		}
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
	byFile := map[keyindex.FileID][]wantedRow{}
	for i, e := range a.m.red.Entries() {
		if loc := a.locs[i]; wanted[e.Hash] && loc != (keyindex.Loc{}) {
			byFile[loc.File] = append(byFile[loc.File], wantedRow{int64(loc.Row), e.Hash})
		}
	}
	for id, rows := range byFile {
		slices.SortFunc(rows, func(x, y wantedRow) int { return cmp.Compare(x.row, y.row) })
		if err := a.readRows(id, rows, out); err != nil {
			for _, im := range out {
				im.rec.Release()
			}
			return nil, err
		}
	}
	return out, nil
}

// wantedRow is a physical row of a file, and the hash of its key.
type wantedRow struct {
	row  int64
	hash keyindex.Hash
}

func (a *application) readRows(id keyindex.FileID, rows []wantedRow, out map[keyindex.Hash]image) error {
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
	opt := tablefmt.ReadOptions{IncludeDeleted: true, Rows: make([]int64, len(rows))}
	for i, r := range rows {
		opt.Rows[i] = r.row
	}
	err = snap.ReadFile(a.ctx, v.add, opt, func(rec arrow.RecordBatch, first int64) error {
		for i := range rec.NumRows() {
			out[rows[first+i].hash] = image{rec.NewSlice(i, i+1), 0}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading rows of %s whose values the source did not send: %w", &a.m.spec, err)
	}
	return nil
}
