package lakehouse_test

import (
	"context"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse"
)

// faulty is a source that finds a fault in every row whose v is the text.
type faulty struct {
	cdc.Source
	text  string
	fault cdc.Fault
}

func (s *faulty) mark(b *cdc.Batch) {
	col := b.Rows.Column(1).(*array.String)
	for i := range b.Len() {
		if !col.IsNull(i) && col.Value(i) == s.text {
			f := s.fault
			f.Row = i
			b.Faults = append(b.Faults, f)
		}
	}
}

func (s *faulty) Stream(ctx context.Context, from cdc.LSN) (cdc.Stream, error) {
	inner, err := s.Source.Stream(ctx, from)
	return &faultyStream{inner, s}, err
}

func (s *faulty) CreateSlot(ctx context.Context) (cdc.Snapshot, error) {
	inner, err := s.Source.CreateSlot(ctx)
	return &faultySnapshot{inner, s}, err
}

func (s *faulty) Snapshot(ctx context.Context) (cdc.Snapshot, error) {
	inner, err := s.Source.Snapshot(ctx)
	return &faultySnapshot{inner, s}, err
}

type faultyStream struct {
	cdc.Stream
	s *faulty
}

func (f *faultyStream) Next(ctx context.Context) (*cdc.Chunk, error) {
	c, err := f.Stream.Next(ctx)
	if err == nil {
		for _, it := range c.Items {
			if it.Batch != nil {
				f.s.mark(it.Batch)
			}
		}
	}
	return c, err
}

type faultySnapshot struct {
	cdc.Snapshot
	s *faulty
}

func (f *faultySnapshot) Read(ctx context.Context, rel *cdc.Relation, r cdc.Range, emit func(*cdc.Batch) error) error {
	return f.Snapshot.Read(ctx, rel, r, func(b *cdc.Batch) error {
		f.s.mark(b)
		return emit(b)
	})
}

// A fault stops its table before the row, in both of its modes, while it is
// copied and while it is streamed; the others go on. Without the fault the
// table goes on from where it stopped, unless what it holds is in doubt.
func TestEdge53FaultsStopTheirTable(t *testing.T) {
	for _, resync := range []bool{false, true} {
		r := newRig(t, keyed("orders"), keyed("other"), keyed("uncopied"))
		r.options = func(o *lakehouse.Options) {
			o.Table = func(*cdc.Relation) lakehouse.TableOptions {
				return lakehouse.TableOptions{Modes: []lakehouse.Mode{lakehouse.ModeMirror, lakehouse.ModeChangelog}}
			}
		}
		good := r.source
		r.source = func() cdc.Source {
			return &faulty{Source: good(), text: "v7", fault: cdc.Fault{Reason: "seven is not liked", Remedy: "like it", Resync: resync}}
		}
		r.insert("orders", 1, 5)
		r.insert("other", 1, 5)
		r.insert("uncopied", 6, 9)
		r.catchUp()
		require.Equal(t, []string{"public.uncopied"}, r.stopped())
		require.True(t, r.state("uncopied").NeedsCopy, "a copy is all or nothing")

		r.insert("orders", 5, 7)
		r.catchUp()
		r.stopped()
		r.insert("orders", 7, 9)
		r.insert("other", 9, 12)
		r.catchUp()
		require.Contains(t, r.stopped(), "public.orders")
		s := r.state("orders")
		require.Equal(t, []any{lakehouse.PhaseStopped, "seven is not liked", "like it", resync}, []any{s.Phase, s.Reason, s.Remedy, s.NeedsCopy})
		require.Equal(t, 6, count(r.rows(r.mirror("orders"))), "nothing of the transaction with the row")
		require.Equal(t, 6, count(r.rows(r.changelog("orders"))))
		r.same("other")

		r.source = good
		r.insert("orders", 20, 22)
		if resync {
			r.catchUp()
			require.Equal(t, lakehouse.PhaseStopped, r.state("orders").Phase)
			r.resync("orders")
		}
		r.catchUp()
		require.Equal(t, lakehouse.PhaseLive, r.state("orders").Phase)
		r.same("orders", "other")
	}
}
