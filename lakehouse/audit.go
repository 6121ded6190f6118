package lakehouse

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"golang.org/x/sync/errgroup"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/keyindex"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/lakehouse/verify"
	"github.com/lakeload/lakeload/tablefmt"
)

// Audit compares a table of a source's snapshot with a snapshot of the lake's
// mirror: every row of both, once, and where they differ once more, in memory
// that does not grow with the table. Both sides are hashed in the form that the
// lake keeps, values that a column cannot hold by their exact text.
//
// The two have to show the same position: see [Engine.Cut].
type Audit struct {
	Relation *cdc.Relation // as the source has it
	Source   cdc.Snapshot
	Lake     *tablefmt.Snapshot
	// Workers is how many ranges of the source, and files of the lake, are read at
	// a time. Default 2.
	Workers int
	// Differences is how many are told at most. Default 100.
	Differences int
	// Progress is told of the rows that were read so far, on both sides; nil:
	// nobody is. It may be called by many goroutines.
	Progress func(source, lake int64)
}

// Difference is a key whose rows in the source and in the lake are not the
// same.
type Difference struct {
	// Key has the key's columns and their values; for a table without a key, all.
	Key string `json:"key"`
	// Source and Lake are the rows that are there and not on the other side, each
	// as often as it is there more often; none where there is no such row.
	Source []string `json:"source"`
	Lake   []string `json:"lake"`
	// Columns names those that differ, where there is one row on each side.
	Columns []string `json:"columns,omitempty"`
}

// AuditResult is what an audit has found.
type AuditResult struct {
	SourceRows int64 `json:"source_rows"`
	LakeRows   int64 `json:"lake_rows"`
	// Equal says that both sides have the same rows.
	Equal       bool         `json:"equal"`
	Differences []Difference `json:"differences,omitempty"`
	// More says that there are differences beside those told.
	More bool `json:"more_differences,omitempty"`
}

// ErrNotAudited says that a table cannot be compared: updates and deletes of
// it are not published, so that its mirror is not to equal it.
var ErrNotAudited = errors.New("the table cannot be compared")

// Run compares. Errors: ErrNotAudited; cdc.ErrTableChanged where the table was
// altered since the snapshot; the source's and the store's.
func (a *Audit) Run(ctx context.Context) (*AuditResult, error) {
	if a.Workers < 1 {
		a.Workers = 2
	}
	if a.Differences < 1 {
		a.Differences = 100
	}
	if a.Relation.InsertOnly {
		return nil, &Error{
			Op: "comparing a table", Object: a.Relation.String(), Err: fmt.Errorf("%w: updates and deletes of it are not published", ErrNotAudited),
			Remedy: "give the table a primary key, or ALTER TABLE ... REPLICA IDENTITY FULL",
		}
	}
	r := &auditing{Audit: a}
	if err := r.prepare(ctx); err != nil {
		return nil, fmt.Errorf("comparing %s: %w", a.Relation, err)
	}
	result, err := r.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("comparing %s: %w", a.Relation, err)
	}
	return result, nil
}

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

	sourceRows, lakeRows atomic.Int64
}

func (a *auditing) prepare(ctx context.Context) (err error) {
	var seed [16]byte
	_, _ = rand.Read(seed[:]) // never fails
	a.hasher = keyindex.NewHasher(seed)
	schema := a.Lake.Schema()
	a.exact = schema.Index(typemap.Exact) >= 0
	a.keep = DeleteMode(a.Lake.Property(propDelete))
	for i := range schema.Fields {
		if f := &schema.Fields[i]; typemap.Compared(f) {
			a.names = append(a.names, f.Name)
		}
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
	a.ranges, err = a.Source.Plan(ctx, a.Relation)
	return err
}

func (a *auditing) run(ctx context.Context) (*AuditResult, error) {
	var source, lake verify.Digest
	var mu sync.Mutex
	err := a.bothSides(ctx, func(ofSource bool) pass {
		d := &verify.Digest{}
		return pass{
			row: func(key, row verify.Hash, _ func() auditRow) { d.Add(key, row) },
			end: func() {
				mu.Lock()
				defer mu.Unlock()
				if ofSource {
					source.Merge(d)
				} else {
					lake.Merge(d)
				}
			},
		}
	})
	if err != nil {
		return nil, err
	}
	r := &AuditResult{SourceRows: source.Rows(), LakeRows: lake.Rows()}
	differ := verify.Differ(&source, &lake)
	if r.Equal = len(differ) == 0; r.Equal {
		return r, nil
	}
	if a.keep == DeleteIgnore {
		return r, a.subset(ctx, r, differ)
	}
	// Each bucket that differs has a difference at least.
	some := differ[:min(len(differ), a.Differences)]
	found, err := a.find(ctx, some)
	if err != nil {
		return nil, err
	}
	r.More = len(some) < len(differ) || len(found) > a.Differences
	r.Differences = found[:min(len(found), a.Differences)]
	return r, nil
}

// subsetRows is about how many rows are looked at one by one at a time.
const subsetRows = 500_000

// subset looks at every bucket that differs: rows that the lake alone has are
// no difference in a table that keeps what its source deletes, and sums do not
// tell them from others. It takes as many passes as there are such rows.
func (a *auditing) subset(ctx context.Context, r *AuditResult, differ []int) error {
	each := int(max(1, subsetRows*verify.Buckets/max(1, r.SourceRows+r.LakeRows)))
	for len(differ) > 0 && !r.More {
		some := differ[:min(each, len(differ))]
		differ = differ[len(some):]
		found, err := a.find(ctx, some)
		if err != nil {
			return err
		}
		r.Differences = append(r.Differences, found...)
		if len(r.Differences) > a.Differences {
			r.Differences, r.More = r.Differences[:a.Differences], true
		}
	}
	r.Equal = len(r.Differences) == 0
	return nil
}

// auditRow is a row for people, and by column.
type auditRow struct {
	names, values []string
}

func (r auditRow) String() string {
	parts := make([]string, len(r.names))
	for i := range r.names {
		parts[i] = r.names[i] + "=" + r.values[i]
	}
	return strings.Join(parts, " ")
}

func (r auditRow) of(names []string) string {
	var only auditRow
	for i, name := range r.names {
		if slices.Contains(names, name) {
			only.names, only.values = append(only.names, name), append(only.values, r.values[i])
		}
	}
	return only.String()
}

// find reads the rows of some buckets: first to tell which differ, then those
// rows themselves.
func (a *auditing) find(ctx context.Context, buckets []int) ([]Difference, error) {
	f := verify.NewFinder(buckets)
	var mu sync.Mutex
	type side struct{ source, lake map[verify.Hash][]auditRow } // by row hash
	texts := map[verify.Hash]*side{}                            // by key
	kept := 0
	a.sourceRows.Store(0)
	a.lakeRows.Store(0)
	err := a.bothSides(ctx, func(ofSource bool) pass {
		return pass{end: func() {}, row: func(key, row verify.Hash, text func() auditRow) {
			if !f.Wants(key) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if ofSource {
				f.Left(key, row)
			} else {
				f.Right(key, row)
			}
			if kept >= auditKept {
				return
			}
			s := texts[key]
			if s == nil {
				s = &side{map[verify.Hash][]auditRow{}, map[verify.Hash][]auditRow{}}
				texts[key] = s
			}
			rows := s.source
			if !ofSource {
				rows = s.lake
			}
			if len(rows[row]) == 0 { // equal rows read alike
				rows[row] = append(rows[row], text())
				kept++
			}
		}}
	})
	if err != nil {
		return nil, err
	}
	var list []Difference
	for _, key := range f.Keys() {
		if a.keep == DeleteIgnore && !f.Lacking(key) {
			continue // the source has deleted it
		}
		d := Difference{Key: "(one of too many to be told)", Source: []string{}, Lake: []string{}}
		var one, other *auditRow
		if s := texts[key]; s != nil {
			for row, text := range s.source {
				d.Key = a.keyOf(text[0])
				for range f.Surplus(key, row) {
					d.Source, one = append(d.Source, text[0].String()), &text[0]
				}
			}
			for row, text := range s.lake {
				d.Key = a.keyOf(text[0])
				for range -f.Surplus(key, row) {
					d.Lake, other = append(d.Lake, text[0].String()), &text[0]
				}
			}
		}
		if len(d.Source) == 1 && len(d.Lake) == 1 {
			for i, name := range one.names {
				if one.values[i] != other.values[i] {
					d.Columns = append(d.Columns, name)
				}
			}
		}
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b Difference) int { return strings.Compare(a.Key, b.Key) })
	return list, nil
}

// auditKept bounds the rows that are remembered for people.
const auditKept = 100_000

func (a *auditing) keyOf(r auditRow) string {
	if len(a.key) == 0 {
		return r.String()
	}
	return r.of(a.key)
}

// pass is what is done with rows, by one goroutine; end is told when it has
// had its last.
type pass struct {
	row func(key, row verify.Hash, text func() auditRow)
	end func()
}

// bothSides reads both sides, one after the other, each by several goroutines.
func (a *auditing) bothSides(ctx context.Context, make func(ofSource bool) pass) error {
	err := a.readers(ctx, len(a.ranges), func(ctx context.Context, next func() (int, bool)) error {
		p, h := make(true), a.newHashing()
		for i, ok := next(); ok; i, ok = next() {
			err := a.Source.Read(ctx, a.Relation, a.ranges[i], func(b *cdc.Batch) error {
				defer b.Release()
				a.progress(&a.sourceRows, b.Len())
				return h.batch(b, p.row)
			})
			if err != nil {
				return err
			}
		}
		p.end()
		return nil
	})
	if err != nil {
		return err
	}
	columns := slices.Clone(a.stored)
	if a.exact {
		columns = append(columns, typemap.Exact)
	}
	if a.keep == DeleteSoft {
		columns = append(columns, typemap.ColDeleted)
	}
	files := slices.Collect(a.Lake.Files())
	return a.readers(ctx, len(files), func(ctx context.Context, next func() (int, bool)) error {
		p, h := make(false), a.newHashing()
		for i, ok := next(); ok; i, ok = next() {
			err := a.Lake.ReadFile(ctx, files[i], tablefmt.ReadOptions{Columns: columns}, func(rec arrow.RecordBatch, _ int64) error {
				a.progress(&a.lakeRows, int(rec.NumRows()))
				return h.stored(rec, p.row)
			})
			if err != nil {
				return err
			}
		}
		p.end()
		return nil
	})
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
	a    *auditing
	keys keyHasher
	rows rowHasher

	key, row []keyindex.Hash
}

func (a *auditing) newHashing() *auditHashing {
	return &auditHashing{a: a, keys: keyHasher{hasher: a.hasher}, rows: rowHasher{hasher: a.hasher}}
}

func (h *auditHashing) batch(b *cdc.Batch, row func(key, row verify.Hash, text func() auditRow)) error {
	cols, places := make([]arrow.Array, len(h.a.names)), make([]int, len(h.a.names))
	for i, name := range h.a.names {
		if places[i] = slices.IndexFunc(b.Relation.Columns, func(c cdc.Column) bool { return c.Name == name }); places[i] >= 0 {
			cols[i] = b.Rows.Column(places[i])
		}
	}
	var exact exactText
	if len(b.Exact) > 0 {
		exact = func(row, col int) (string, bool) { return exactAt(b, row, places[col]) }
	}
	return h.hash(b.Len(), cols, exact, nil, row)
}

func (h *auditHashing) stored(rec arrow.RecordBatch, row func(key, row verify.Hash, text func() auditRow)) error {
	cols := make([]arrow.Array, len(h.a.names))
	for i, name := range h.a.names {
		if at := rec.Schema().FieldIndices(name); len(at) == 1 {
			cols[i] = rec.Column(at[0])
		}
	}
	_, exact := storedKey(rec, h.a.names[:len(h.a.stored)], h.a.exact)
	var gone *array.Boolean // rows that are kept as deleted are none of the source's
	if h.a.keep == DeleteSoft {
		gone = rec.Column(rec.Schema().FieldIndices(typemap.ColDeleted)[0]).(*array.Boolean)
	}
	return h.hash(int(rec.NumRows()), cols, exact, gone, row)
}

// hash hashes rows of the columns of names, but for those that are gone, where
// that is not nil; a nil array is a column of nulls.
func (h *auditHashing) hash(n int, cols []arrow.Array, exact exactText, gone *array.Boolean, row func(key, row verify.Hash, text func() auditRow)) error {
	h.row = append(h.row[:0], make([]keyindex.Hash, n)...)
	if err := h.rows.hashRows(h.a.names, cols, exact, 0, h.row); err != nil {
		return err
	}
	h.key = h.row
	if len(h.a.key) > 0 {
		key, places := make([]arrow.Array, len(h.a.key)), make([]int, len(h.a.key))
		for i, name := range h.a.key {
			places[i] = slices.Index(h.a.names, name)
			key[i] = cols[places[i]]
		}
		var keyExact exactText
		if exact != nil {
			keyExact = func(row, i int) (string, bool) { return exact(row, places[i]) }
		}
		h.key = make([]keyindex.Hash, n)
		if err := h.keys.hashRows(key, keyExact, 0, h.key); err != nil {
			return err
		}
	}
	for i := range n {
		if gone != nil && gone.IsValid(i) && gone.Value(i) {
			continue
		}
		row(verify.Hash(h.key[i]), verify.Hash(h.row[i]), func() auditRow { return h.text(cols, exact, i) })
	}
	return nil
}

// text is a row for people: each value as its column prints it, an exact text
// where it cannot hold the value.
func (h *auditHashing) text(cols []arrow.Array, exact exactText, row int) auditRow {
	r := auditRow{names: h.a.names}
	for i, c := range cols {
		value := "NULL"
		if c != nil && !c.IsNull(row) {
			value = c.ValueStr(row)
		} else if c != nil && exact != nil {
			if text, ok := exact(row, i); ok {
				value = text
			}
		}
		r.values = append(r.values, value)
	}
	return r
}
