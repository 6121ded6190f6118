package tablefmt

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/lakeload/lakeload/tablefmt/colfile"
	"github.com/lakeload/lakeload/tablefmt/dv"
	"github.com/lakeload/lakeload/tablefmt/predicate"
)

// file gives the wanted rows of a file.
func (c *scan) file(ctx context.Context, a *AddFile, emit func(arrow.RecordBatch) error) error {
	filter := c.filter
	if filter != nil {
		switch c.files.choose(a) {
		case fileByPartition:
			c.count(func(n *ScanCounts) { n.SkippedByPartition++ })
			return nil
		case fileByStats:
			c.count(func(n *ScanCounts) { n.SkippedByStats++ })
			return nil
		case fileWhole:
			filter = nil
		}
	}
	err := c.read(ctx, a, filter, func(rec arrow.RecordBatch) error {
		if err := emit(rec); err != nil {
			return &emitError{err}
		}
		return nil
	})
	if err != nil {
		return c.s.readFailure(a, err)
	}
	return nil
}

func (c *scan) read(ctx context.Context, a *AddFile, filter *predicate.Filter, emit func(arrow.RecordBatch) error) (err error) {
	store, path, err := c.s.loc.find(a.Path)
	if err != nil {
		return unfound(a.Path, err)
	}
	defer func() { err = damagedFile(path, badParquet(err)) }()
	in, err := store.Open(ctx, path)
	if err != nil {
		return err
	}
	defer in.Close()
	f, err := colfile.OpenFile(in, in.Size())
	if err != nil {
		return err
	}
	r := fileScan{c: c, a: a, f: f, filter: filter, byID: c.s.st.mapping == MappingID, emit: emit}
	groups := r.groups()
	c.count(func(n *ScanCounts) {
		n.RowGroups += int64(f.NumRowGroups())
		n.RowGroupsSkipped += int64(f.NumRowGroups() - len(groups))
	})
	if len(groups) == 0 && f.NumRowGroups() > 0 {
		return nil
	}
	if r.deleted, err = readVector(ctx, c.s.loc, a); err != nil {
		return err
	}
	return r.run(ctx, groups)
}

// fileScan reads one file.
type fileScan struct {
	c       *scan
	a       *AddFile
	f       *colfile.File
	filter  *predicate.Filter // nil: every row
	byID    bool
	deleted *dv.Bitmap
	emit    func(arrow.RecordBatch) error
}

// groups are the row groups that may have a row that matches.
func (r *fileScan) groups() []int {
	groups := make([]int, 0, r.f.NumRowGroups())
	for g := range r.f.NumRowGroups() {
		if r.filter == nil || r.filter.Outcomes(func(column int) predicate.Range { return r.groupRange(g, column) }).Possible() {
			groups = append(groups, g)
		}
	}
	return groups
}

func (r *fileScan) groupRange(group, column int) predicate.Range {
	l, leaf := &r.c.files.leaves[column], &r.filter.Columns()[column]
	if l.partition >= 0 {
		return r.c.files.partitionRange(r.a, l)
	}
	s, ok := r.f.GroupStats(group, r.c.s.files, r.byID, l.path)
	if !ok {
		return predicate.Range{}
	}
	return groupRange(s, leaf.Type)
}

func (r *fileScan) run(ctx context.Context, groups []int) error {
	give, err := r.c.s.project(r.a, r.c.columns)
	if err != nil {
		return err
	}
	if r.filter == nil {
		return r.all(ctx, give, groups)
	}
	both, err := r.c.s.projectParts(r.a, append(slices.Clip(r.c.columns), r.c.extra...), r.c.parts)
	if err != nil {
		return err
	}
	look, err := r.c.s.projectParts(r.a, r.c.looked, r.c.parts)
	if err != nil {
		return err
	}
	// Where few rows of a group match, most pages of the other columns need not be
	// decoded. That is found out by looking at the filter's columns first, until a
	// group shows that it does not pay in this file.
	first := slices.ContainsFunc(give.data.Fields(), func(f arrow.Field) bool { return !slices.Contains(r.c.looked, f.Name) })
	for i, g := range groups {
		if !first {
			return r.filtered(ctx, both, groups[i:])
		}
		rows, few, err := r.matching(ctx, look, g)
		if err != nil {
			return err
		}
		if !few {
			first = false
			if err := r.filtered(ctx, both, groups[i:i+1]); err != nil {
				return err
			}
			continue
		}
		if err := r.rows(ctx, give, rows); err != nil {
			return err
		}
	}
	return nil
}

// decode reads columns of the file, in batches that have the table's types.
func (r *fileScan) decode(ctx context.Context, p *projection, o colfile.ReadOptions, emit func(rec arrow.RecordBatch, firstRow int64) error) error {
	each := func(in arrow.RecordBatch, firstRow int64) error {
		out := p.batch(in)
		defer out.Release()
		return emit(out, firstRow)
	}
	if p.data.NumFields() > 0 {
		o.Schema, o.ByFieldID, o.BatchRows = p.data, r.byID, r.c.o.BatchRows
		return r.f.Read(ctx, o, each)
	}
	base := int64(0) // nothing of the file but how many rows it has
	for g := range r.f.NumRowGroups() {
		n := r.f.RowGroupRows(g)
		if slices.Contains(o.RowGroups, g) {
			err := countRows(n, parquetRead{want: p.data, batchRows: r.c.o.BatchRows}, func(in arrow.RecordBatch, firstRow int64) error {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				return each(in, base+firstRow)
			})
			if err != nil {
				return err
			}
		}
		base += n
	}
	return nil
}

// all gives the rows of some row groups that are not deleted.
func (r *fileScan) all(ctx context.Context, p *projection, groups []int) error {
	return r.decode(ctx, p, colfile.ReadOptions{RowGroups: groups}, func(rec arrow.RecordBatch, firstRow int64) error {
		return r.give(rec, liveSpans(r.deleted, firstRow, rec.NumRows()))
	})
}

// filtered reads the columns to give and those of the filter, and gives the rows
// that match.
func (r *fileScan) filtered(ctx context.Context, p *projection, groups []int) error {
	schema := arrow.NewSchema(p.schema.Fields()[:len(r.c.columns)], nil)
	return r.decode(ctx, p, colfile.ReadOptions{RowGroups: groups}, func(rec arrow.RecordBatch, firstRow int64) error {
		spans, err := r.match(rec, firstRow)
		if err != nil || len(spans) == 0 {
			return err
		}
		if len(r.c.extra) > 0 {
			rec = array.NewRecordBatch(schema, rec.Columns()[:len(r.c.columns)], rec.NumRows())
			defer rec.Release()
		}
		return r.give(rec, spans)
	})
}

// match gives the rows of a batch that match and are not deleted.
func (r *fileScan) match(rec arrow.RecordBatch, firstRow int64) ([]span, error) {
	truth, err := r.filter.Eval(rec)
	if err != nil {
		return nil, err
	}
	var spans []span
	for _, live := range liveSpans(r.deleted, firstRow, rec.NumRows()) {
		for i := live.from; i < live.to; i++ {
			if truth[i] != predicate.Yes {
				continue
			}
			if n := len(spans); n > 0 && spans[n-1].to == i {
				spans[n-1].to++
			} else {
				spans = append(spans, span{i, i + 1})
			}
		}
	}
	return spans, nil
}

const (
	// fewRows is the share of a row group's rows that may match for their numbers
	// to be gathered: a bit of memory for two rows at most.
	fewRows = 16
	// fewRowsMost bounds the numbers of a group of any size, in memory.
	fewRowsMost = 1 << 20
)

// errMany says that many rows of a row group match.
var errMany = errors.New("many rows match")

// matching gives the rows of a row group, by their numbers in the file, that match
// and are not deleted; few is false where they are many.
func (r *fileScan) matching(ctx context.Context, p *projection, group int) (rows []int64, few bool, err error) {
	most := min(r.f.RowGroupRows(group)/fewRows, fewRowsMost)
	err = r.decode(ctx, p, colfile.ReadOptions{RowGroups: []int{group}}, func(rec arrow.RecordBatch, firstRow int64) error {
		spans, err := r.match(rec, firstRow)
		if err != nil {
			return err
		}
		for _, s := range spans {
			if int64(len(rows))+s.to-s.from > most {
				return errMany
			}
			for i := s.from; i < s.to; i++ {
				rows = append(rows, firstRow+i)
			}
		}
		return nil
	})
	if errors.Is(err, errMany) {
		return nil, false, nil
	}
	return rows, err == nil, err
}

// rows gives rows by their numbers.
func (r *fileScan) rows(ctx context.Context, p *projection, rows []int64) error {
	if len(rows) == 0 {
		return nil
	}
	return r.decode(ctx, p, colfile.ReadOptions{Rows: rows}, func(rec arrow.RecordBatch, _ int64) error { return r.emit(rec) })
}

// give gives the spans of a batch as one batch.
func (r *fileScan) give(rec arrow.RecordBatch, spans []span) error {
	if len(spans) == 0 {
		return nil
	}
	part, err := pick(rec, spans)
	if err != nil {
		return err
	}
	defer part.Release()
	return r.emit(part)
}

// pick gives the spans of a batch, one at least, as one batch.
func pick(rec arrow.RecordBatch, spans []span) (arrow.RecordBatch, error) {
	if len(spans) == 1 {
		return rec.NewSlice(spans[0].from, spans[0].to), nil
	}
	var n int64
	for _, s := range spans {
		n += s.to - s.from
	}
	if n > math.MaxInt32 {
		return nil, fmt.Errorf("a batch of %d rows is too large", n)
	}
	cols := make([]arrow.Array, rec.NumCols())
	defer func() {
		for _, c := range cols {
			if c != nil {
				c.Release()
			}
		}
	}()
	for i, c := range rec.Columns() {
		var err error
		if cols[i], err = gather(c, spans, int(n)); err != nil {
			return nil, err
		}
	}
	return array.NewRecordBatch(rec.Schema(), cols, n), nil
}
