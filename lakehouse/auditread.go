package lakehouse

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"golang.org/x/sync/errgroup"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/keyindex"
	"github.com/lakeload/lakeload/lakehouse/partition"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/lakehouse/where"
	"github.com/lakeload/lakeload/tablefmt"
)

// auditing is one audit at work.
type auditing struct {
	*Audit
	hasher keyindex.Hasher
	ranges []cdc.Range
	names  []string   // of the columns that are compared
	stored []string   // those of them that the lake has
	key    []string   // empty: rows are their own keys
	exact  bool       // the lake has exact texts
	keep   DeleteMode // what the lake does with rows that the source deletes

	// derived are the columns that the lake derives of the source's, by name: a row
	// that lies in another partition than its values say is not found there.
	derived map[string]partition.Transform

	filter *where.Filter // nil: every row counts
	asked  []int         // of the filter's columns: their places in names
	narrow string        // what the source is asked to leave out; "" for nothing
	share  uint64        // of 2^64 that hashes of keys have to be below; 0: all count

	sourceRows, lakeRows atomic.Int64
}

func (a *auditing) prepare(ctx context.Context) (err error) {
	a.sow()
	schema := a.Lake.Schema()
	a.exact = schema.Index(typemap.Exact) >= 0
	a.keep = DeleteMode(a.Lake.Property(propDelete))
	a.derived = map[string]partition.Transform{}
	for i := range schema.Fields {
		f := &schema.Fields[i]
		if what, added := typemap.Added(f); added && what != f.Name {
			by, err := partition.Parse(what)
			if err != nil {
				return fmt.Errorf("the column %q: %w", f.Name, err)
			}
			if a.column(by.Column) < 0 {
				continue
			}
			a.derived[f.Name] = by
		} else if !typemap.Compared(f) {
			continue
		}
		a.names = append(a.names, f.Name)
	}
	a.stored = slices.Clone(a.names)
	for _, c := range a.Relation.Columns {
		if !slices.Contains(a.names, c.Name) { // nulls are no difference
			a.names = append(a.names, c.Name)
		}
	}
	if key := keyNames(a.Relation); !slices.ContainsFunc(key, func(name string) bool { return !slices.Contains(a.stored, name) }) {
		a.key = key
	}
	if err := a.bind(); err != nil {
		return err
	}
	a.ranges, err = a.Source.Plan(ctx, a.Relation)
	return err
}

// column is the place of a column at the source, -1 for none.
func (a *auditing) column(name string) int {
	return slices.IndexFunc(a.Relation.Columns, func(c cdc.Column) bool { return c.Name == name })
}

// sow makes the hasher: by chance, so that nobody can choose rows that cancel
// each other out, but by the seed where it chooses a sample.
func (a *auditing) sow() {
	var seed [16]byte
	_, _ = rand.Read(seed[:]) // never fails
	if a.Sample > 0 && a.Sample < 1 {
		if a.Seed == "" {
			a.Seed = hex.EncodeToString(seed[:8])
		}
		sum := sha256.Sum256([]byte(a.Seed))
		copy(seed[:], sum[:])
		a.share = uint64(a.Sample * math.MaxUint64)
	}
	a.hasher = keyindex.NewHasher(seed)
}

// bind finds the condition's columns.
func (a *auditing) bind() error {
	if a.Where == nil {
		return nil
	}
	columns := make([]where.Column, len(a.Relation.Columns))
	for i, c := range a.Relation.Columns {
		columns[i] = where.Column{Name: c.Name, Type: c.Type, SourceType: c.SourceType}
	}
	var err error
	if a.filter, err = a.Where.Bind(columns); err != nil {
		return &Error{
			Op: "reading the condition", Object: a.Where.String(), Kind: KindPreflight, Err: fmt.Errorf("%w: %w", ErrCondition, err),
			Remedy: "see docs/CLI.md for what a condition may be",
		}
	}
	for _, name := range a.filter.Columns() {
		a.asked = append(a.asked, slices.Index(a.names, name))
	}
	if _, ok := a.Source.(cdc.NarrowReader); ok {
		a.narrow = a.filter.SQL()
	}
	return nil
}

// ErrCondition says that a condition does not fit a table's columns.
var ErrCondition = errors.New("the condition does not fit the table")

// pass is what is done with rows, by one goroutine; end is told when it has
// had its last.
type pass struct {
	rows func(h *hashed) error
	end  func()
}

// hashed are rows of one side. They are good until the next ones of their
// goroutine.
type hashed struct {
	key, row []keyindex.Hash // of each row that counts
	rows     []int32         // those that count, ascending
	batch    *cdc.Batch      // nil: they are the lake's
	file     *tablefmt.AddFile
	first    int64   // of the first row: its number in the file
	at       []int64 // of each row, where they do not lie one after the other; else nil
	stored   arrow.RecordBatch
	gone     *array.Boolean // which of the lake's are kept as deleted; nil for none

	of    *auditing
	cols  []arrow.Array // of names; nil for a column of nulls
	exact exactText     // nil: there are none
}

// readSource reads the source by several goroutines; filtered: the rows for
// which the condition holds.
func (a *auditing) readSource(ctx context.Context, filtered bool, begin func() pass) error {
	return a.readers(ctx, len(a.ranges), func(ctx context.Context, next func() (int, bool)) error {
		p, h := begin(), a.newHashing(filtered)
		emit := func(b *cdc.Batch) error {
			defer b.Release()
			a.progress(&a.sourceRows, b.Len())
			if err := a.wait(ctx, b.Rows); err != nil {
				return err
			}
			return h.source(b, p.rows)
		}
		for i, ok := next(); ok; i, ok = next() {
			var err error
			if filtered && a.narrow != "" {
				err = a.Source.(cdc.NarrowReader).ReadWhere(ctx, a.Relation, a.ranges[i], a.narrow, emit)
			} else {
				err = a.Source.Read(ctx, a.Relation, a.ranges[i], emit)
			}
			if err != nil {
				return err
			}
		}
		p.end()
		return nil
	})
}

// readLake reads the lake likewise. Rows that it keeps as deleted are none of
// the source's, and come only where the rows are not filtered, with all of the
// table's columns then.
func (a *auditing) readLake(ctx context.Context, filtered bool, begin func() pass) error {
	columns := slices.Clone(a.stored)
	if a.exact {
		columns = append(columns, typemap.Exact)
	}
	if a.keep == DeleteSoft {
		columns = append(columns, typemap.ColDeleted)
		if !filtered {
			columns = nil
		}
	}
	files := slices.Collect(a.Lake.Files())
	return a.readers(ctx, len(files), func(ctx context.Context, next func() (int, bool)) error {
		p, h := begin(), a.newHashing(filtered)
		for i, ok := next(); ok; i, ok = next() {
			err := a.Lake.ReadFile(ctx, files[i], tablefmt.ReadOptions{Columns: columns}, func(rec arrow.RecordBatch, first int64) error {
				a.progress(&a.lakeRows, int(rec.NumRows()))
				if err := a.wait(ctx, rec); err != nil {
					return err
				}
				return h.lake(files[i], rec, first, p.rows)
			})
			if err != nil {
				return err
			}
		}
		p.end()
		return nil
	})
}

// wait keeps to the rate.
func (a *auditing) wait(ctx context.Context, rec arrow.RecordBatch) error {
	if a.Rate == nil {
		return nil
	}
	bytes := 0
	for _, c := range rec.Columns() {
		bytes += sliceBytes(c)
	}
	for bytes > 0 {
		n := min(bytes, a.Rate.Burst())
		if err := a.Rate.WaitN(ctx, n); err != nil {
			return err
		}
		bytes -= n
	}
	return nil
}

// sliceBytes is roughly the memory of an array's own rows, of which the buffers
// may be shared with many others.
func sliceBytes(c arrow.Array) int {
	switch c := c.(type) {
	case interface {
		ValueOffset(int) int
		ValueBytes() []byte
	}:
		return len(c.ValueBytes()) + 4*c.(arrow.Array).Len()
	case arrow.Array:
		if w, ok := c.DataType().(arrow.FixedWidthDataType); ok {
			return (w.BitWidth()*c.Len() + 7) / 8
		}
	}
	return 16 * c.Len()
}

func (a *auditing) progress(count *atomic.Int64, rows int) {
	count.Add(int64(rows))
	if a.Progress != nil {
		a.Progress(a.sourceRows.Load(), a.lakeRows.Load())
	}
}

// readers has n things read by a number of goroutines.
func (a *auditing) readers(ctx context.Context, n int, read func(ctx context.Context, next func() (int, bool)) error) error {
	var taken atomic.Int64
	next := func() (int, bool) {
		i := int(taken.Add(1)) - 1
		return i, i < n
	}
	g, gctx := errgroup.WithContext(ctx)
	for range min(a.Workers, n) {
		g.Go(func() error { return read(gctx, next) })
	}
	return g.Wait()
}

// auditHashing hashes rows of both sides alike. It is used by one goroutine.
type auditHashing struct {
	a        *auditing
	filtered bool
	filter   *where.Filter // nil: every row counts
	keys     rowEncoder
	all      rowEncoder
	out      hashed
}

func (a *auditing) newHashing(filtered bool) *auditHashing {
	h := &auditHashing{a: a, filtered: filtered, keys: rowEncoder{hasher: a.hasher}, all: rowEncoder{hasher: a.hasher}, out: hashed{of: a}}
	if filtered {
		h.filter = a.filter
	}
	return h
}

func (h *auditHashing) source(b *cdc.Batch, rows func(*hashed) error) error {
	cols, places := make([]arrow.Array, len(h.a.names)), make([]int, len(h.a.names))
	at := func(name string) int {
		return slices.IndexFunc(b.Relation.Columns, func(c cdc.Column) bool { return c.Name == name })
	}
	for i, name := range h.a.names {
		by, derived := h.a.derived[name]
		if !derived {
			if places[i] = at(name); places[i] >= 0 {
				cols[i] = b.Rows.Column(places[i])
			}
			continue
		}
		from := at(by.Column)
		if places[i] = -1; from < 0 {
			continue
		}
		made, err := by.Apply(b.Rows.Column(from))
		if err != nil {
			return fmt.Errorf("the column %q: %w", name, err)
		}
		defer made.Release()
		cols[i] = made
	}
	h.out.exact = nil
	if len(b.Exact) > 0 {
		h.out.exact = func(row, col int) (string, bool) { return exactAt(b, row, places[col]) }
	}
	h.out.batch, h.out.cols, h.out.gone, h.all.stale = b, cols, nil, false
	return h.hash(b.Len(), rows)
}

func (h *auditHashing) lake(file *tablefmt.AddFile, rec arrow.RecordBatch, first int64, rows func(*hashed) error) error {
	cols := make([]arrow.Array, len(h.a.names))
	for i, name := range h.a.names {
		if at := rec.Schema().FieldIndices(name); len(at) == 1 {
			cols[i] = rec.Column(at[0])
		}
	}
	_, exact := storedKey(rec, h.a.names[:len(h.a.stored)], h.a.exact)
	h.out.exact = nil
	if exact != nil {
		h.out.exact = func(row, col int) (string, bool) {
			return exact(row, col) // a column that the lake has not has no text there either
		}
	}
	h.out.gone = nil
	if h.a.keep == DeleteSoft {
		h.out.gone = rec.Column(rec.Schema().FieldIndices(typemap.ColDeleted)[0]).(*array.Boolean)
	}
	h.all.stale = true
	h.out.batch, h.out.file, h.out.first, h.out.stored, h.out.cols = nil, file, first, rec, cols
	return h.hash(int(rec.NumRows()), rows)
}

// hash chooses the rows that count, and hashes them.
func (h *auditHashing) hash(n int, rows func(*hashed) error) error {
	o := &h.out
	if err := h.choose(n); err != nil {
		return err
	}
	if h.filtered && o.gone != nil {
		o.rows = slices.DeleteFunc(o.rows, o.deleted)
	}
	if len(o.rows) == 0 {
		return nil
	}
	if len(h.a.key) == 0 {
		h.all.columns(o.cols, o.exact)
		if err := h.all.hash(o.rows, n, &o.row); err != nil {
			return err
		}
		o.key = o.row
		h.sample()
		return rows(o)
	}
	key, places := make([]arrow.Array, len(h.a.key)), make([]int, len(h.a.key))
	for i, name := range h.a.key {
		places[i] = slices.Index(h.a.names, name)
		key[i] = o.cols[places[i]]
	}
	var keyExact exactText
	if o.exact != nil {
		keyExact = func(row, i int) (string, bool) { return o.exact(row, places[i]) }
	}
	h.keys.columns(key, keyExact)
	if err := h.keys.hash(o.rows, n, &o.key); err != nil {
		return err
	}
	h.sample()
	h.all.columns(o.cols, o.exact)
	if err := h.all.hash(o.rows, n, &o.row); err != nil {
		return err
	}
	return rows(o)
}

// choose lists the rows for which the condition holds.
func (h *auditHashing) choose(n int) error {
	o := &h.out
	o.rows = o.rows[:0]
	if h.filter == nil {
		for i := range n {
			o.rows = append(o.rows, int32(i))
		}
		return nil
	}
	r := where.Rows{Columns: make([]arrow.Array, len(h.a.asked))}
	for i, at := range h.a.asked {
		r.Columns[i] = o.cols[at]
	}
	if o.exact != nil {
		r.Exact = func(row, i int) (string, bool) { return o.exact(row, h.a.asked[i]) }
	}
	for i := range n {
		ok, err := h.filter.Match(&r, i)
		if err != nil {
			return &Error{Op: "deciding which rows are meant", Object: h.a.Relation.String(), Err: err, Remedy: "ask for rows by another column"}
		}
		if ok {
			o.rows = append(o.rows, int32(i))
		}
	}
	return nil
}

// sample leaves out rows whose keys are not in the sample: by other bits of the
// hash than those that choose a bucket.
func (h *auditHashing) sample() {
	if h.a.share == 0 {
		return
	}
	o := &h.out
	o.rows = slices.DeleteFunc(o.rows, func(i int32) bool { return binary.LittleEndian.Uint64(o.key[i][8:]) >= h.a.share })
}

// deleted reports whether a row is one that the lake keeps as deleted.
func (h *hashed) deleted(row int32) bool {
	return h.gone != nil && h.gone.IsValid(int(row)) && h.gone.Value(int(row))
}

// place is a row's number in its file.
func (h *hashed) place(row int32) uint32 {
	if h.at != nil {
		return uint32(h.at[row])
	}
	return uint32(h.first) + uint32(row)
}

// text is a row for people: each value as its column prints it, an exact text
// where it cannot hold the value.
func (h *hashed) text(row int) auditRow {
	r := auditRow{names: h.of.names}
	for i, c := range h.cols {
		value := "NULL"
		if c != nil && !c.IsNull(row) {
			value = c.ValueStr(row)
		} else if c != nil && h.exact != nil {
			if text, ok := h.exact(row, i); ok {
				value = text
			}
		}
		r.values = append(r.values, value)
	}
	return r
}
