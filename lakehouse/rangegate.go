package lakehouse

import (
	"slices"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/keyindex"
)

// opSkipped marks a row image that a copy by key ranges leaves out. It is not
// an operation of the contract: such batches are made here and stay here.
const opSkipped cdc.Op = 0

// rangeState is how far the copy of a range of keys is.
type rangeState uint8

const (
	rangeTodo    rangeState = iota // nobody reads it: a later view will hold its changes
	rangeOpened                    // its view is being taken
	rangeReading                   // its rows are being read under its view
	rangeDone                      // its rows are in what is staged, or committed
)

// rangeGate decides what becomes of the changes of a table that is copied by
// ranges of its key while the stream goes on. It is pure.
//
// A change belongs to the range of its key. One that the range's view holds is
// in the rows that are, or will be, read: it is dropped. One that the view
// does not hold is applied to the rows once they are there, and held until
// then. A range that nobody reads yet will be read under a later view: its
// changes are dropped, and each view that is taken has to hold the
// transactions that were dropped so, which only fails where a commit is in the
// log and not visible yet. Views are taken by several readers at a time, and may
// be accepted in another order.
//
// Transactions are held whole, with everything that follows, so that what is
// applied is always a prefix of the stream.
type rangeGate struct {
	ranges cdc.KeyRanges
	from   cdc.LSN // what is before it was dealt with in an earlier session
	state  []rangeState
	views  []cdc.View // by range; from rangeReading on
	// points are keys that were read again, each under a later view than its
	// range's: a row that moved into a range without all of its values.
	points map[keyindex.Hash]cdc.View
	// dropped are transactions of which a change was dropped because its range
	// was not read yet, by their commits: those that a view may still lack.
	dropped map[cdc.LSN]*droppedTxn
	opened  []int   // by range: which opening its last one was, counting from 1
	opens   int     // how many openings there were
	left    int     // ranges that are not done
	horizon cdc.LSN // of all views: a stream that has passed it has nothing to drop
}

// newRangeGate makes a gate for changes from a position on.
func newRangeGate(ranges cdc.KeyRanges, from cdc.LSN) *rangeGate {
	return &rangeGate{
		ranges: ranges, from: from, state: make([]rangeState, ranges.Len()), views: make([]cdc.View, ranges.Len()),
		points: map[keyindex.Hash]cdc.View{}, dropped: map[cdc.LSN]*droppedTxn{}, opened: make([]int, ranges.Len()), left: ranges.Len(),
	}
}

// next gives a range that is to be read; not ok where there is none.
func (g *rangeGate) next() (int, bool) {
	i := slices.Index(g.state, rangeTodo)
	return i, i >= 0
}

// open says that the range's view is about to be taken.
func (g *rangeGate) open(i int) {
	g.opens++
	g.state[i], g.opened[i] = rangeOpened, g.opens
}

// putBack says that the range is not being read after all.
func (g *rangeGate) putBack(i int) { g.state[i] = rangeTodo }

// accept takes the view of a range, or refuses one that does not hold what was
// dropped already.
func (g *rangeGate) accept(i int, v cdc.View) bool {
	g.state[i], g.views[i] = rangeReading, v
	if g.settled(&v) {
		return true
	}
	g.state[i] = rangeOpened
	return false
}

// droppedTxn is a transaction of which a change was dropped.
type droppedTxn struct {
	txn cdc.Txn
	// held is how many openings there had been when a view first held it, 0 if
	// none has: the views of later openings hold it, too.
	held int
}

func (g *rangeGate) drop(t cdc.Txn) { g.dropped[t.Commit] = &droppedTxn{txn: t} }

// settled reports whether a view holds every transaction that was dropped. It
// forgets those that all views hold that are still to come: a range that is
// open may have its view already, and an older one.
func (g *rangeGate) settled(v *cdc.View) bool {
	oldest := g.opens + 1 // of the open ranges
	for i, s := range g.state {
		if s == rangeOpened {
			oldest = min(oldest, g.opened[i])
		}
	}
	all := true
	for at, d := range g.dropped {
		switch {
		case !v.Holds(d.txn):
			all = false
			continue
		case d.held == 0:
			d.held = g.opens
		}
		if d.held < oldest {
			delete(g.dropped, at)
		}
	}
	return all
}

// done says that the range's rows are staged, or were in an earlier session.
func (g *rangeGate) done(i int, v cdc.View) {
	if g.state[i] != rangeDone {
		g.left--
	}
	g.state[i], g.views[i] = rangeDone, v
	g.horizon = max(g.horizon, v.Horizon)
}

// point says that a key was read again, under a view of its own.
func (g *rangeGate) point(h keyindex.Hash, v cdc.View) {
	g.points[h] = v
	g.horizon = max(g.horizon, v.Horizon)
}

// marks is the number of ranges and keys that were read.
func (g *rangeGate) marks() int { return len(g.state) - g.left + len(g.points) }

// passed reports whether the table's stream has nothing to drop and nothing to
// hold from cut on: every range is read, and their views are history.
func (g *rangeGate) passed(cut cdc.LSN) bool { return g.left == 0 && cut >= g.horizon }

// verdict is what becomes of a change.
type verdict uint8

const (
	verdictApply verdict = iota
	verdictDrop
	verdictHold
)

// judge decides about a change of transaction t to a row of a range.
func (g *rangeGate) judge(t *cdc.Txn, r int) verdict {
	switch s := g.state[r]; {
	case s == rangeTodo:
		return verdictDrop
	case s == rangeOpened:
		return verdictHold
	case g.views[r].Holds(*t):
		return verdictDrop
	case s == rangeReading:
		return verdictHold
	}
	return verdictApply
}

// judgeKey is judge for a row image; hash gives the hash of its key where
// there are points.
func (g *rangeGate) judgeKey(t *cdc.Txn, b *cdc.Batch, row int, hash func(b *cdc.Batch, row int) keyindex.Hash) (v verdict, todo bool) {
	if len(g.points) > 0 {
		if view, ok := g.points[hash(b, row)]; ok {
			if view.Holds(*t) {
				return verdictDrop, false
			}
			return verdictApply, false
		}
	}
	r := g.ranges.Of(b, row)
	return g.judge(t, r), g.state[r] == rangeTodo
}

// sieved is what a gate makes of a table's changes.
type sieved struct {
	// apply are the changes to be applied, in order. Their batches are those
	// that were given, or shallow copies with opSkipped among their Ops.
	apply []cdc.Item
	// from is the first item, and its row, that is held; what follows is, too.
	// from is the number of items where nothing is.
	from, row int
	// holds is the transaction that the held part begins with.
	holds cdc.Txn
	// again says that the table was emptied: its copy begins again.
	again bool
}

// sieve divides a table's changes. hash gives the hash of a row's key.
func (g *rangeGate) sieve(items []cdc.Item, hash func(b *cdc.Batch, row int) keyindex.Hash) sieved {
	out := sieved{from: len(items)}
	made := make([]cdc.Item, len(items))
	var first struct { // of the transaction that is being judged
		txn       cdc.Txn
		item, row int
	}
	dropped := map[cdc.LSN]cdc.Txn{}
	enter := func(t *cdc.Txn, item, row int) {
		if first.txn.Commit != t.Commit || first.txn.XID != t.XID {
			first.txn, first.item, first.row = *t, item, row
			for _, d := range dropped { // the one before is not held
				g.drop(d)
			}
			clear(dropped)
		}
	}
	for i, it := range items {
		if it.Truncate != nil && it.Truncate.Txn.Commit < g.from {
			continue
		}
		if it.Truncate != nil {
			enter(&it.Truncate.Txn, i, 0)
			if g.emptied(&it.Truncate.Txn) {
				out.again = true
				return out
			}
			g.drop(it.Truncate.Txn)
			continue
		}
		ops, held := g.sieveBatch(it.Batch, hash, func(t *cdc.Txn, row int) { enter(t, i, row) }, dropped)
		made[i] = withOps(it, ops)
		if held {
			out.from, out.row, out.holds = first.item, first.row, first.txn
			out.apply = cutItems(made, out.from, out.row)
			return out
		}
	}
	for _, d := range dropped {
		g.drop(d)
	}
	out.apply = cutItems(made, len(items), 0)
	return out
}

// emptied reports whether a TRUNCATE takes back rows that were copied. It does
// not where no row was read, or every read came after it.
func (g *rangeGate) emptied(t *cdc.Txn) bool {
	for r, s := range g.state {
		if s != rangeTodo && (s == rangeOpened || !g.views[r].Holds(*t)) {
			return true
		}
	}
	return false
}

// sieveBatch judges the rows of a batch. enter is called before the first row
// of each transaction. It gives the batch's new operations, nil where they are
// as they were, and ends at a row that has to be held.
func (g *rangeGate) sieveBatch(b *cdc.Batch, hash func(b *cdc.Batch, row int) keyindex.Hash, enter func(t *cdc.Txn, row int), dropped map[cdc.LSN]cdc.Txn) (ops []cdc.Op, held bool) {
	set := func(row int, op cdc.Op) {
		if b.Ops[row] == op && ops == nil {
			return
		}
		if ops == nil {
			ops = slices.Clone(b.Ops)
		}
		ops[row] = op
	}
	for s := range b.Txns {
		t := &b.Txns[s].Txn
		end := b.Len()
		if s+1 < len(b.Txns) {
			end = b.Txns[s+1].First
		}
		if t.Commit < g.from {
			for row := b.Txns[s].First; row < end; row++ {
				set(row, opSkipped)
			}
			continue
		}
		enter(t, b.Txns[s].First)
		if g.left == 0 && t.Commit >= g.horizon {
			continue
		}
		for row := b.Txns[s].First; row < end; row++ {
			v, todo := g.judgeKey(t, b, row, hash)
			moves := b.Ops[row] == cdc.OpBefore && row+1 < end
			to := v
			if moves {
				var more bool
				to, more = g.judgeKey(t, b, row+1, hash)
				todo = todo || more
			}
			if v == verdictHold || to == verdictHold {
				return ops, true
			}
			if todo {
				dropped[t.Commit] = *t
			}
			if !moves {
				if v == verdictDrop {
					set(row, opSkipped)
				}
				continue
			}
			switch {
			case v == verdictDrop && to == verdictDrop:
				set(row, opSkipped)
				set(row+1, opSkipped)
			case v == verdictDrop: // it comes from where it was not copied from
				set(row, opSkipped)
				set(row+1, cdc.OpInsert)
			case to == verdictDrop: // it goes to where it will be copied from
				set(row, cdc.OpDelete)
				set(row+1, opSkipped)
			}
			row++
		}
	}
	return ops, false
}

// withOps gives an item whose batch has other operations; an empty one if they
// are to be skipped, all of them: it must not even change the table's columns.
func withOps(it cdc.Item, ops []cdc.Op) cdc.Item {
	if ops == nil {
		return it
	}
	if !slices.ContainsFunc(ops, func(op cdc.Op) bool { return op != opSkipped }) {
		return cdc.Item{}
	}
	b := *it.Batch
	b.Ops = ops
	b.Faults = slices.DeleteFunc(slices.Clone(b.Faults), func(f cdc.Fault) bool { return ops[f.Row] == opSkipped })
	return cdc.Item{Relation: it.Relation, Batch: &b}
}

// cutItems gives the items before a place; of the item at the place the rows
// from there on are skipped.
func cutItems(items []cdc.Item, from, row int) []cdc.Item {
	var out []cdc.Item
	for i := range min(from+1, len(items)) {
		it := items[i]
		if it.Batch == nil || i == from && row == 0 {
			continue
		}
		if i == from {
			ops := slices.Clone(it.Batch.Ops)
			for r := row; r < len(ops); r++ {
				ops[r] = opSkipped
			}
			if it = withOps(it, ops); it.Batch == nil {
				continue
			}
		}
		out = append(out, it)
	}
	return out
}
