package epoch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/lakeload/lakeload/tablefmt"
)

// read gives records from to to, in order and with all columns. They are few
// enough for memory where they begin at a full one and end before the next.
func (l *Log) read(ctx context.Context, files []file, from, to int64) ([]record, error) {
	var out []record
	for _, f := range files {
		if f.seq.max < from || f.seq.min > to {
			continue
		}
		got, err := l.readFile(ctx, f, nil, from, to)
		if err != nil {
			return nil, err
		}
		out = append(out, got...)
	}
	return ordered(out)
}

// ordered sorts records, and refuses a gap.
func ordered(records []record) ([]record, error) {
	slices.SortFunc(records, func(a, b record) int { return cmp.Compare(a.seq, b.seq) })
	for i := range records {
		if i > 0 && records[i].seq != records[i-1].seq+1 {
			return nil, fmt.Errorf("reading the record of epochs: record %d is followed by %d: %w", records[i-1].seq, records[i].seq, tablefmt.ErrCorrupt)
		}
	}
	return records, nil
}

// lastOf is the greatest number of the files' records; 0 for none.
func (l *Log) lastOf(ctx context.Context, files []file) (int64, error) {
	last := int64(0)
	for _, f := range files {
		if f.seq.min >= 0 {
			last = max(last, f.seq.max)
			continue
		}
		records, err := l.keys(ctx, f) // a file without statistics
		if err != nil {
			return 0, err
		}
		for _, r := range records {
			last = max(last, r.seq)
		}
	}
	return last, nil
}

// errUnsorted says that a file's records do not stand in their order.
var errUnsorted = errors.New("the file is not sorted")

// readFile gives those of a file's records that are from to to, in the order
// of the file, with some columns of them; nil is all.
func (l *Log) readFile(ctx context.Context, f file, columns []string, from, to int64) ([]record, error) {
	var rows []int64
	sorted := f.seq.min >= 0 && f.rows == f.seq.max-f.seq.min+1 && f.add.DeletionVector == nil
	if sorted && (from > f.seq.min || to < f.seq.max) {
		for seq := max(from, f.seq.min); seq <= min(to, f.seq.max); seq++ {
			rows = append(rows, seq-f.seq.min)
		}
	}
	out, err := l.readRows(ctx, f, columns, rows, from, to)
	if errors.Is(err, errUnsorted) { // an older program has packed it
		out, err = l.readRows(ctx, f, columns, nil, from, to)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the record of epochs: %w", err)
	}
	return out, nil
}

func (l *Log) readRows(ctx context.Context, f file, columns []string, rows []int64, from, to int64) ([]record, error) {
	var out []record
	o := tablefmt.ReadOptions{Columns: columns, Rows: rows, IncludeDeleted: rows != nil}
	err := l.snap.ReadFile(ctx, f.add, o, func(rec arrow.RecordBatch, first int64) error {
		for i := range int(rec.NumRows()) {
			r, err := fromArrow(rec, i)
			if err != nil {
				return err
			}
			if rows != nil && r.seq != f.seq.min+rows[first+int64(i)] {
				return errUnsorted
			}
			if r.seq >= from && r.seq <= to {
				out = append(out, r)
			}
		}
		return nil
	})
	return out, err
}

// keys gives all records of a file in order, without their tables.
func (l *Log) keys(ctx context.Context, f file) ([]record, error) {
	out, err := l.readFile(ctx, f, keyColumns, math.MinInt64, math.MaxInt64)
	slices.SortFunc(out, func(a, b record) int { return cmp.Compare(a.seq, b.seq) })
	return out, err
}

// at gives the epoch of a record, with every table that it has.
func (l *Log) at(ctx context.Context, files []file, seq int64) (Epoch, error) {
	records, err := l.read(ctx, files, fullBefore(seq), seq)
	if err != nil {
		return Epoch{}, err
	}
	c := &Log{complete: map[string]int64{}}
	for _, r := range records {
		c.take(r)
	}
	if c.last.seq != seq || c.last.idle {
		return Epoch{}, fmt.Errorf("reading the record of epochs: there is no epoch in record %d: %w", seq, tablefmt.ErrCorrupt)
	}
	e, _ := c.Last()
	return e, nil
}

// From gives the epochs from a number on, in order, each with every table that
// it has. It holds no more than FullEvery records at a time.
func (l *Log) From(ctx context.Context, number int64) iter.Seq2[Epoch, error] {
	return func(yield func(Epoch, error) bool) {
		if !l.any || number > l.epoch.Number {
			return
		}
		files := filesOf(l.snap)
		seq, err := l.begin(ctx, files, number)
		if err != nil {
			yield(Epoch{}, err)
			return
		}
		c := &Log{complete: map[string]int64{}}
		for from := fullBefore(seq); from <= l.last.seq; from += FullEvery {
			records, err := l.read(ctx, files, from, min(from+FullEvery-1, l.last.seq))
			if err != nil {
				yield(Epoch{}, err)
				return
			}
			for _, r := range records {
				c.take(r)
				if r.idle || r.Number < number {
					continue
				}
				if e, _ := c.Last(); !yield(e, nil) {
					return
				}
			}
		}
	}
}

// begin is the record of an epoch, or the first where it is not there any more.
func (l *Log) begin(ctx context.Context, files []file, number int64) (int64, error) {
	seq, err := l.recordOf(ctx, files, number)
	if errors.Is(err, ErrExpired) || errors.Is(err, ErrNone) {
		return max(files[0].seq.min, 0), nil
	}
	return seq, err
}
