package mask

import (
	"context"
	"errors"
	"fmt"

	"github.com/lakeload/lakeload/cdc"
)

// Wrap gives a source that shows what another one holds, masked. policy says
// how the columns of a table are masked; it is asked, by any number of
// goroutines, with relations as the inner source makes them, before anything
// is shown of them, and gives the same pointer while nothing has changed. Nil
// masks nothing.
//
// The source is a [cdc.KeyReader] and a [cdc.Watcher] where the inner one is.
// Relations that it is given have to be its own.
func Wrap(inner cdc.Source, policy func(rel *cdc.Relation) *Policy) cdc.Source {
	s := &source{Source: inner, policy: policy}
	w, watches := inner.(cdc.Watcher)
	k, reads := inner.(cdc.KeyReader)
	switch {
	case watches && reads:
		return &struct {
			*source
			*watcher
			*keyReader
		}{s, &watcher{s, w}, &keyReader{s, k}}
	case watches:
		return &struct {
			*source
			*watcher
		}{s, &watcher{s, w}}
	case reads:
		return &struct {
			*source
			*keyReader
		}{s, &keyReader{s, k}}
	}
	return s
}

// source is a source that masks. What it does not say itself the inner one does.
type source struct {
	cdc.Source
	policy func(rel *cdc.Relation) *Policy
	host   hosted
}

var (
	_ cdc.Source      = (*source)(nil)
	_ cdc.Claimer     = (*source)(nil)
	_ cdc.Unpublisher = (*source)(nil)
	_ cdc.Sizer       = (*source)(nil)
	_ cdc.Measured    = (*source)(nil)
	_ cdc.Hosted      = (*source)(nil)
	_ cdc.Checker     = (*source)(nil)
)

// plan plans for a relation of the inner source.
func (s *source) plan(rel *cdc.Relation) *plan { return newPlan(rel, s.policy(rel)) }

// show gives what is shown of a relation of the inner source.
func (s *source) show(rel *cdc.Relation) *cdc.Relation {
	if p := s.plan(rel); p != nil {
		return p.rel
	}
	return rel
}

// Beneath gives the relation of the inner source that a relation was made of;
// the relation itself where it is one.
func Beneath(rel *cdc.Relation) *cdc.Relation {
	if rel != nil && rel.Beneath != nil {
		return rel.Beneath
	}
	return rel
}

// readable gives the plan by which rows of a relation that was shown are read,
// and what the inner source calls it.
func (s *source) readable(rel *cdc.Relation) (*plan, *cdc.Relation, error) {
	inner := Beneath(rel)
	p := s.plan(inner)
	is := inner
	if p != nil {
		if is = p.rel; p.problem != nil {
			return nil, nil, &cdc.Error{
				Op: "reading a table that is masked", Object: rel.String(), Remedy: p.problem.Remedy,
				Err: fmt.Errorf("%w: %w", cdc.ErrTableUnreadable, p.problem),
			}
		}
	}
	if !is.SameShape(rel) {
		return nil, nil, &cdc.Error{
			Op: "reading a table that is masked", Object: rel.String(),
			Err: fmt.Errorf("%w: other columns are masked now", cdc.ErrTableChanged),
		}
	}
	if p != nil {
		p.rel = rel // batches are of the relation that was asked for
	}
	return p, inner, nil
}

// masking makes emit get what is shown of batches.
func masking(p *plan, emit func(*cdc.Batch) error) func(*cdc.Batch) error {
	if p == nil {
		return emit
	}
	return func(b *cdc.Batch) error { return emit(p.batch(b)) }
}

// Identify implements [cdc.Source].
func (s *source) Identify(ctx context.Context) (cdc.Identity, error) {
	id, err := s.Source.Identify(ctx)
	if err == nil {
		s.host.set(id)
	}
	return id, err
}

// Tables implements [cdc.Source].
func (s *source) Tables(ctx context.Context) ([]*cdc.Relation, error) {
	rels, err := s.Source.Tables(ctx)
	for i := range rels {
		rels[i] = s.show(rels[i])
	}
	return rels, err
}

// Publish implements [cdc.Source].
func (s *source) Publish(ctx context.Context, tables []*cdc.Relation) error {
	inner := make([]*cdc.Relation, len(tables))
	for i, rel := range tables {
		inner[i] = Beneath(rel)
	}
	return s.Source.Publish(ctx, inner)
}

// CreateSlot implements [cdc.Source].
func (s *source) CreateSlot(ctx context.Context) (cdc.Snapshot, error) {
	snap, err := s.Source.CreateSlot(ctx)
	return s.snapshot(snap, err)
}

// Snapshot implements [cdc.Source].
func (s *source) Snapshot(ctx context.Context) (cdc.Snapshot, error) {
	snap, err := s.Source.Snapshot(ctx)
	return s.snapshot(snap, err)
}

func (s *source) snapshot(inner cdc.Snapshot, err error) (cdc.Snapshot, error) {
	if err != nil {
		return nil, err
	}
	return &snapshot{Snapshot: inner, source: s}, nil
}

// Stream implements [cdc.Source].
func (s *source) Stream(ctx context.Context, from cdc.LSN) (cdc.Stream, error) {
	inner, err := s.Source.Stream(ctx, from)
	if err != nil {
		return nil, err
	}
	return &stream{Stream: inner, source: s, plans: map[uint32]*streamPlan{}}, nil
}

// Claim implements [cdc.Claimer].
func (s *source) Claim(ctx context.Context) error {
	if c, ok := s.Source.(cdc.Claimer); ok {
		return c.Claim(ctx)
	}
	return nil
}

// Stats implements [cdc.Measured].
func (s *source) Stats() cdc.StreamStats {
	if m, ok := s.Source.(cdc.Measured); ok {
		return m.Stats()
	}
	return cdc.StreamStats{}
}

// Unpublish implements [cdc.Unpublisher].
func (s *source) Unpublish(ctx context.Context, tables []uint32) error {
	if u, ok := s.Source.(cdc.Unpublisher); ok {
		return u.Unpublish(ctx, tables)
	}
	return nil
}

// Sizes implements [cdc.Sizer]. Of a source that does not know them there are
// none.
func (s *source) Sizes(ctx context.Context, tables []*cdc.Relation) (map[uint32]cdc.Size, error) {
	z, ok := s.Source.(cdc.Sizer)
	if !ok {
		return nil, nil
	}
	inner := make([]*cdc.Relation, len(tables))
	for i, rel := range tables {
		inner[i] = Beneath(rel)
	}
	return z.Sizes(ctx, inner)
}

// Host implements [cdc.Hosted]. Of a source that does not know its host it is
// who it said that it was.
func (s *source) Host() cdc.Identity {
	if h, ok := s.Source.(cdc.Hosted); ok {
		return h.Host()
	}
	return s.host.get()
}

// Check implements [cdc.Checker].
func (s *source) Check(ctx context.Context) ([]cdc.Finding, error) {
	if c, ok := s.Source.(cdc.Checker); ok {
		return c.Check(ctx)
	}
	return nil, nil
}

// stream masks what a stream delivers.
type stream struct {
	cdc.Stream
	source *source
	plans  map[uint32]*streamPlan // the last of each table
}

type streamPlan struct {
	rel    *cdc.Relation
	policy *Policy
	plan   *plan
}

// Next implements [cdc.Stream].
func (s *stream) Next(ctx context.Context) (*cdc.Chunk, error) {
	c, err := s.Stream.Next(ctx)
	if err != nil {
		return nil, err
	}
	for i := range c.Items {
		it := &c.Items[i]
		p := s.planOf(it.Relation)
		if p == nil {
			continue
		}
		it.Relation = p.rel
		if it.Batch != nil {
			it.Batch = p.batch(it.Batch)
		}
	}
	return c, nil
}

func (s *stream) planOf(rel *cdc.Relation) *plan {
	policy := s.source.policy(rel)
	last := s.plans[rel.OID]
	if last == nil || last.rel != rel || last.policy != policy {
		last = &streamPlan{rel: rel, policy: policy, plan: newPlan(rel, policy)}
		s.plans[rel.OID] = last
	}
	return last.plan
}

// snapshot masks what a snapshot reads.
type snapshot struct {
	cdc.Snapshot
	source *source
}

// Plan implements [cdc.Snapshot].
func (s *snapshot) Plan(ctx context.Context, rel *cdc.Relation) ([]cdc.Range, error) {
	_, inner, err := s.source.readable(rel)
	if err != nil {
		return nil, err
	}
	return s.Snapshot.Plan(ctx, inner)
}

// Read implements [cdc.Snapshot].
func (s *snapshot) Read(ctx context.Context, rel *cdc.Relation, r cdc.Range, emit func(*cdc.Batch) error) error {
	p, inner, err := s.source.readable(rel)
	if err != nil {
		return err
	}
	return s.Snapshot.Read(ctx, inner, r, masking(p, emit))
}

// watcher masks what a catalogue tells.
type watcher struct {
	s     *source
	inner cdc.Watcher
}

// Look implements [cdc.Watcher].
func (w *watcher) Look(ctx context.Context, oids []uint32) (map[uint32]cdc.Look, error) {
	looks, err := w.inner.Look(ctx, oids)
	for oid, is := range looks {
		is.Relation = w.s.show(is.Relation)
		looks[oid] = is
	}
	return looks, err
}

// Compare implements [cdc.Watcher].
func (w *watcher) Compare(ctx context.Context, was, is cdc.Look) ([]cdc.Notice, error) {
	was.Relation, is.Relation = Beneath(was.Relation), Beneath(is.Relation)
	return w.inner.Compare(ctx, was, is)
}

// keyReader masks what is read by ranges of keys. A table whose key is masked
// is not divided: its ranges are of values that nobody is to see, and what the
// stream tells of its rows could not be compared with them.
type keyReader struct {
	s     *source
	inner cdc.KeyReader
}

func (p *plan) masksKey() bool {
	if p == nil {
		return false
	}
	for _, k := range p.rel.Key {
		if p.cols[k].mask != nil {
			return true
		}
	}
	return false
}

// Divide implements [cdc.KeyReader].
func (k *keyReader) Divide(ctx context.Context, rel *cdc.Relation) (cdc.KeyRanges, error) {
	p, inner, err := k.s.readable(rel)
	if err != nil || p.masksKey() {
		return nil, err
	}
	return k.inner.Divide(ctx, inner)
}

// Restore implements [cdc.KeyReader].
func (k *keyReader) Restore(ctx context.Context, rel *cdc.Relation, text string) (cdc.KeyRanges, error) {
	p, inner, err := k.s.readable(rel)
	if err == nil && p.masksKey() {
		err = &cdc.Error{Op: "taking up the copy of a table", Object: rel.String(), Err: fmt.Errorf("%w: its key is masked now", cdc.ErrTableChanged)}
	}
	if err != nil {
		return nil, err
	}
	return k.inner.Restore(ctx, inner, text)
}

// Settle implements [cdc.KeyReader].
func (k *keyReader) Settle(ctx context.Context) error { return k.inner.Settle(ctx) }

// Seen implements [cdc.KeyReader].
func (k *keyReader) Seen(ctx context.Context) (cdc.View, error) { return k.inner.Seen(ctx) }

// Running implements [cdc.KeyReader].
func (k *keyReader) Running(ctx context.Context) (string, error) { return k.inner.Running(ctx) }

// BeginRead implements [cdc.KeyReader].
func (k *keyReader) BeginRead(ctx context.Context, rel *cdc.Relation, ranges cdc.KeyRanges) (cdc.KeyRead, error) {
	p, inner, err := k.s.readable(rel)
	if err == nil && p.masksKey() {
		err = errors.New("a table whose key is masked is not read by ranges of it")
	}
	if err != nil {
		return nil, err
	}
	r, err := k.inner.BeginRead(ctx, inner, ranges)
	if err != nil {
		return nil, err
	}
	return &keyRead{KeyRead: r, plan: p}, nil
}

// keyRead masks what one transaction reads. Keys are not masked here, so that a
// row that was shown has the key that it has.
type keyRead struct {
	cdc.KeyRead
	plan *plan
}

// Range implements [cdc.KeyRead].
func (k *keyRead) Range(ctx context.Context, i int, emit func(*cdc.Batch) error) error {
	return k.KeyRead.Range(ctx, i, masking(k.plan, emit))
}

// Row implements [cdc.KeyRead].
func (k *keyRead) Row(ctx context.Context, b *cdc.Batch, row int, emit func(*cdc.Batch) error) error {
	return k.KeyRead.Row(ctx, b, row, masking(k.plan, emit))
}
