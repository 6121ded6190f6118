package cdctest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lakeload/lakeload/cdc"
)

var _ cdc.KeyReader = (*Source)(nil)

// keyRanges divides keys of bigint and text columns.
type keyRanges struct {
	bounds    [][]any // ascending; int64 and string
	rewritten int
	rows      int64
}

// keyText is the form of keyRanges' Text.
type keyText struct {
	Bounds    [][]any `json:"bounds"`
	Rewritten int     `json:"rewritten"`
}

func (k *keyRanges) Len() int { return len(k.bounds) + 1 }

func (k *keyRanges) Range(i int) cdc.Range {
	return cdc.Range{ID: fmt.Sprint(i), Rows: k.rows, Bytes: 64 * k.rows}
}

func (k *keyRanges) Text() string {
	text, err := json.Marshal(keyText{k.bounds, k.rewritten})
	if err != nil {
		panic(err) // numbers and strings
	}
	return string(text)
}

// of gives the range of a key.
func (k *keyRanges) of(key []any) int {
	i, found := slices.BinarySearchFunc(k.bounds, key, compareKeys)
	if found {
		i++
	}
	return i
}

func (k *keyRanges) Of(b *cdc.Batch, row int) int { return k.of(keyOf(b, row)) }

func keyOf(b *cdc.Batch, row int) []any {
	key := make([]any, len(b.Relation.Key))
	for i, c := range b.Relation.Key {
		key[i] = valueAt(b.Rows.Column(c), row)
	}
	return key
}

func compareKeys(a, b []any) int {
	for i := range a {
		c := 0
		switch x := a[i].(type) {
		case int64:
			c = cmp.Compare(x, b[i].(int64))
		case string:
			c = strings.Compare(x, b[i].(string))
		}
		if c != 0 {
			return c
		}
	}
	return 0
}

// dividable reports whether the table's key has an order that is known here.
func dividable(rel *cdc.Relation) bool {
	for _, k := range rel.Key {
		if id := rel.Columns[k].TypeOID; id != 20 && id != 25 {
			return false
		}
	}
	return len(rel.Key) > 0
}

// Divide divides a table into ranges of Options.KeyRows rows, if that is set.
func (s *Source) Divide(ctx context.Context, rel *cdc.Relation) (cdc.KeyRanges, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if late, err := s.enter(ctx, "Divide"); err != nil {
		return nil, err
	} else if late != nil {
		return nil, late.err("Divide")
	}
	t := s.w.tableByOID(rel.OID)
	if s.w.o.KeyRows == 0 || t == nil || !dividable(rel) {
		return nil, nil
	}
	k := &keyRanges{rewritten: t.rewritten, rows: int64(s.w.o.KeyRows)}
	var keys [][]any
	for _, c := range t.content.rows {
		key := make([]any, len(rel.Key))
		for i, n := range rel.Key {
			key[i] = c.row[rel.Columns[n].Name]
		}
		keys = append(keys, key)
	}
	slices.SortFunc(keys, compareKeys)
	for i := s.w.o.KeyRows; i < len(keys); i += s.w.o.KeyRows {
		k.bounds = append(k.bounds, keys[i])
	}
	return k, nil
}

// Restore reads the text of ranges.
func (s *Source) Restore(ctx context.Context, rel *cdc.Relation, text string) (cdc.KeyRanges, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if late, err := s.enter(ctx, "Restore"); err != nil {
		return nil, err
	} else if late != nil {
		return nil, late.err("Restore")
	}
	var k keyText
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	if err := d.Decode(&k); err != nil {
		return nil, operator("Restore", err)
	}
	for _, bound := range k.Bounds {
		for i, v := range bound {
			if n, ok := v.(json.Number); ok {
				x, err := n.Int64()
				if err != nil {
					return nil, operator("Restore", err)
				}
				bound[i] = x
			}
		}
	}
	if t := s.w.tableByOID(rel.OID); t == nil || t.rewritten != k.Rewritten || !rel.SameColumns(t.content.rel) {
		return nil, operator("Restore of "+rel.String(), cdc.ErrTableChanged)
	}
	return &keyRanges{bounds: k.Bounds, rewritten: k.Rewritten, rows: int64(s.w.o.KeyRows)}, nil
}

// Settle lets everything that has committed be seen.
func (s *Source) Settle(ctx context.Context) error {
	select {
	case <-time.After(20 * time.Millisecond):
	case <-ctx.Done():
		return ctx.Err()
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	late, err := s.enter(ctx, "Settle")
	if err == nil && late != nil {
		err = late.err("Settle")
	}
	if err == nil {
		s.w.reveal()
	}
	return err
}

// Seen is what is seen now.
func (s *Source) Seen(ctx context.Context) (cdc.View, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if late, err := s.enter(ctx, "Seen"); err != nil {
		return cdc.View{}, err
	} else if late != nil {
		return cdc.View{}, late.err("Seen")
	}
	return s.w.seen(), nil
}

// seen is the view that a look has now; the caller holds w.mu.
func (w *World) seen() cdc.View {
	v := cdc.View{Xmin: uint64(w.nextXID) + 1, Xmax: uint64(w.nextXID) + 1, Horizon: w.head}
	for _, h := range w.hidden {
		v.Running = append(v.Running, uint64(h.xid))
	}
	slices.Sort(v.Running)
	if len(v.Running) > 0 {
		v.Xmin = v.Running[0]
	}
	return v
}

// Running tells how many transactions are not seen yet.
func (s *Source) Running(ctx context.Context) (string, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if _, err := s.enter(ctx, "Running"); err != nil || len(s.w.hidden) == 0 {
		return "", err
	}
	return fmt.Sprintf("%d transactions", len(s.w.hidden)), nil
}

// KeyRead reads ranges of a table. It implements cdc.KeyRead.
type KeyRead struct {
	src    *Source
	rel    *cdc.Relation
	ranges *keyRanges
	table  *table

	// The rest is guarded by the world's mutex.
	viewed *cdc.View
	rows   []Row
	ended  bool
	closed bool
}

// BeginRead locks the table.
func (s *Source) BeginRead(ctx context.Context, rel *cdc.Relation, ranges cdc.KeyRanges) (cdc.KeyRead, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if late, err := s.enter(ctx, "BeginRead"); err != nil {
		return nil, err
	} else if late != nil {
		return nil, late.err("BeginRead")
	}
	t := s.w.tableByOID(rel.OID)
	if t == nil || t.dropped != 0 {
		return nil, operator("BeginRead of "+rel.String(), cdc.ErrTableChanged)
	}
	t.locks++
	r := &KeyRead{src: s, rel: rel, ranges: ranges.(*keyRanges), table: t}
	s.reads = append(s.reads, r)
	return r, nil
}

// enter begins a call; the caller holds w.mu.
func (r *KeyRead) enter(ctx context.Context, op string) error {
	late, err := r.src.enter(ctx, op)
	switch {
	case err != nil:
		return err
	case late != nil:
		return late.err(op)
	case r.closed:
		r.src.w.violate("%s was called after KeyRead.Close", op)
		return operator(op, errors.New("the read is closed"))
	case r.ended:
		return retryable(op, errConnection)
	}
	return nil
}

// View sees the table as it is, without what is committed and not seen yet.
func (r *KeyRead) View(ctx context.Context) (cdc.View, error) {
	w := r.src.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := r.enter(ctx, "View"); err != nil {
		return cdc.View{}, err
	}
	if r.viewed != nil {
		return *r.viewed, nil
	}
	if r.table.dropped != 0 || r.table.rewritten != r.ranges.rewritten || !r.rel.SameColumns(r.table.content.rel) {
		return cdc.View{}, operator("View of "+r.rel.String(), cdc.ErrTableChanged)
	}
	v := w.seen()
	rows := r.table.content
	for _, h := range w.hidden {
		if c := h.before[r.table]; c != nil {
			rows = c
		}
	}
	r.viewed, r.rows = &v, rows.list()
	if w.rng.IntN(2) == 0 { // soon enough everything is seen
		w.reveal()
	}
	return v, nil
}

// Range reads a range in batches of a few.
func (r *KeyRead) Range(ctx context.Context, i int, emit func(*cdc.Batch) error) error {
	return r.read(ctx, "Range", emit, func(key []any) bool { return r.ranges.of(key) == i })
}

// Row reads one row.
func (r *KeyRead) Row(ctx context.Context, b *cdc.Batch, row int, emit func(*cdc.Batch) error) error {
	want := keyOf(b, row)
	return r.read(ctx, "Row", emit, func(key []any) bool { return compareKeys(key, want) == 0 })
}

func (r *KeyRead) read(ctx context.Context, op string, emit func(*cdc.Batch) error, wanted func(key []any) bool) error {
	w := r.src.w
	w.mu.Lock()
	err := r.enter(ctx, op)
	if err == nil && r.viewed == nil {
		w.violate("%s of %s before View", op, r.rel)
		err = operator(op, errors.New("no view was taken"))
	}
	var rows []Row
	for _, row := range r.rows {
		key := make([]any, len(r.rel.Key))
		for i, n := range r.rel.Key {
			key[i] = row[r.rel.Columns[n].Name]
		}
		if wanted(key) {
			rows = append(rows, row)
		}
	}
	w.mu.Unlock()
	for err == nil && len(rows) > 0 {
		w.mu.Lock()
		err = r.enter(ctx, op)
		n := min(len(rows), 1+w.rng.IntN(w.o.MaxRows))
		w.mu.Unlock()
		if err != nil {
			break
		}
		b := newBatch(&w.alloc, reshaped(r.rel))
		for _, row := range rows[:n] {
			b.add(cdc.OpInsert, row, nil, int64(len(b.ops)))
		}
		var batch *cdc.Batch
		if batch, err = b.finish(); err == nil {
			err = emit(batch)
		}
		rows = rows[n:]
	}
	return err
}

// Close lets go of the table.
func (r *KeyRead) Close() error {
	r.src.w.mu.Lock()
	defer r.src.w.mu.Unlock()
	r.closed = true
	r.release()
	return nil
}

func (r *KeyRead) release() {
	if !r.ended {
		r.ended = true
		r.table.locks--
	}
	r.src.reads = slices.DeleteFunc(r.src.reads, func(o *KeyRead) bool { return o == r })
}

// hidden is a transaction whose commit is in the log, where the stream finds
// it, and that nobody who looks at the tables sees yet: it waits for a
// synchronous standby, say.
type hidden struct {
	xid    uint32
	before map[*table]*content // what others see of the tables that it changed
}

// hide keeps a transaction from being seen for a while, now and then. DDL is
// seen at once.
func (w *World) hide(tx *Tx, xid uint32) {
	if w.o.HideCommits == 0 || w.rng.IntN(w.o.HideCommits) != 0 || len(tx.saved) == 0 {
		return
	}
	for _, c := range tx.changes {
		if c.op == 0 {
			return
		}
	}
	w.hidden = append(w.hidden, &hidden{xid, tx.saved})
}

// reveal lets every transaction be seen.
func (w *World) reveal() { w.hidden = nil }

// revealFor lets the transactions be seen that a change of a table has to wait
// for: the rows' locks are theirs until then.
func (w *World) revealFor(t *table) {
	w.hidden = slices.DeleteFunc(w.hidden, func(h *hidden) bool { return h.before[t] != nil })
}
