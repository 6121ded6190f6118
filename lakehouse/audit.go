package lakehouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/time/rate"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/verify"
	"github.com/lakeload/lakeload/lakehouse/where"
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
	// Where leaves out the rows for which it does not hold, on both sides; nil:
	// none. A row for which it holds on one side only differs.
	Where *where.Condition
	// Sample is the share of the keys that are compared, above 0 and below 1; 0
	// is all of them. Which they are is told by Seed alone, and they are the same
	// on both sides, which are read whole all the same. For a table without a key
	// it is a share of the different rows.
	Sample float64
	// Seed chooses a sample. Empty: one is made, which the result tells.
	Seed string
	// Rate is how many bytes of rows, as they are in memory, are taken a second
	// at most; nil: as many as there are. Audits may share one.
	Rate *rate.Limiter
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
	// Where and Seed are those of the audit, where only some rows were compared.
	Where string `json:"where,omitempty"`
	Seed  string `json:"seed,omitempty"`
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

// digests sums up both sides.
func (a *auditing) digests(ctx context.Context) (source, lake *verify.Digest, err error) {
	source, lake = &verify.Digest{}, &verify.Digest{}
	var mu sync.Mutex
	into := func(side *verify.Digest) func() pass {
		return func() pass {
			d := &verify.Digest{}
			return pass{
				rows: func(h *hashed) error {
					for _, i := range h.rows {
						d.Add(verify.Hash(h.key[i]), verify.Hash(h.row[i]))
					}
					return nil
				},
				end: func() {
					mu.Lock()
					defer mu.Unlock()
					side.Merge(d)
				},
			}
		}
	}
	if err := a.readSource(ctx, true, into(source)); err != nil {
		return nil, nil, err
	}
	return source, lake, a.readLake(ctx, true, into(lake))
}

func (a *auditing) run(ctx context.Context) (*AuditResult, error) {
	source, lake, err := a.digests(ctx)
	if err != nil {
		return nil, err
	}
	r := &AuditResult{SourceRows: source.Rows(), LakeRows: lake.Rows()}
	if a.Where != nil {
		r.Where = a.Where.String()
	}
	if a.Sample > 0 {
		r.Seed = a.Seed
	}
	differ := verify.Differ(source, lake)
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
	of := func(ofSource bool) func() pass {
		one := func(key, row verify.Hash, text func() auditRow) {
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
		}
		return func() pass {
			return pass{end: func() {}, rows: func(h *hashed) error {
				for _, i := range h.rows {
					if key := verify.Hash(h.key[i]); f.Wants(key) {
						one(key, verify.Hash(h.row[i]), func() auditRow { return h.text(int(i)) })
					}
				}
				return nil
			}}
		}
	}
	if err := a.readSource(ctx, true, of(true)); err != nil {
		return nil, err
	}
	if err := a.readLake(ctx, true, of(false)); err != nil {
		return nil, err
	}
	var list []Difference
	for _, key := range f.Keys() {
		if a.keep == DeleteIgnore && !f.OnLeft(key) {
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
