package cdctest

import (
	"slices"

	"github.com/lakeload/lakeload/cdc"
)

// chunk gives what there is, up to a random number of row images; nil if
// there is nothing to say. The caller holds w.mu.
func (st *Stream) chunk() (*cdc.Chunk, error) {
	w := st.src.w
	before := st.cut
	room := 1 + w.rng.IntN(w.o.MaxRows)
	c := new(cdc.Chunk)
	m := &merger{st: st, c: c}
	for st.next < len(w.log) && room > 0 {
		t := w.log[st.next]
		if st.done == 0 {
			st.pending = st.relevant(t)
		}
		for st.done < len(st.pending) && (room > 0 || w.o.WholeTransactions) {
			room -= m.add(t.txn, st.pending[st.done])
			st.done++
		}
		if st.done < len(st.pending) {
			break
		}
		if st.done > 0 { // PostgreSQL does not send empty transactions
			c.CutTime = t.txn.Time
			c.Transactions++
		}
		st.next, st.done, st.seq, st.cut = st.next+1, 0, 0, t.end
	}
	c.Open = st.done > 0
	if err := m.finish(); err != nil {
		return c, err
	}
	if st.next == len(w.log) && len(c.Items) == 0 && c.Transactions == 0 {
		st.cut = w.head // idle: what is between was of no concern
	}
	c.Cut = st.cut
	if len(c.Items) == 0 && st.cut == before {
		return nil, nil
	}
	return c, nil
}

// relevant gives the changes of a transaction that the stream delivers.
func (st *Stream) relevant(t *transaction) []*change {
	return slices.DeleteFunc(slices.Clone(t.changes), func(c *change) bool {
		table := st.src.w.tableByOID(c.rel.OID)
		if table == nil || table.published == 0 || t.txn.Commit < table.published {
			return true
		}
		if c.truncate || c.op == cdc.OpInsert {
			return false
		}
		return c.op == 0 || c.rel.InsertOnly
	})
}

// shown adds what the catalogue tells of a table now. A shape that it has gone
// on from is told without what it cannot know.
func (w *World) shown(rel *cdc.Relation) *cdc.Relation {
	t := w.tableByOID(rel.OID)
	if t == nil || t.dropped != 0 || !rel.SameShape(t.content.rel) {
		for i := range rel.Columns {
			rel.Columns[i].ID = 0
			rel.Columns[i].Missing = cdc.Missing{Kind: cdc.MissingUnknown}
		}
		if t != nil && t.dropped == 0 {
			rel.Later = &cdc.Later{Dropped: t.highestDropped()}
			for _, c := range t.content.rel.Columns {
				rel.Later.Columns = append(rel.Later.Columns, cdc.LaterColumn{ID: c.ID, TypeOID: c.TypeOID, TypeMod: c.TypeMod})
			}
		}
		return rel
	}
	rel.Files, rel.Dropped = map[uint32]uint32{rel.OID: uint32(t.rewritten)}, t.highestDropped()
	return rel
}

// highestDropped is the highest id of a column that is gone, 0 for none.
func (t *table) highestDropped() int32 {
	for id := t.columns; id > 0; id-- {
		if !slices.ContainsFunc(t.content.rel.Columns, func(c cdc.Column) bool { return c.ID == id }) {
			return id
		}
	}
	return 0
}

// merger collects changes in batches, one a relation, which may span
// transactions. A new shape or a truncate ends a relation's batch.
type merger struct {
	st   *Stream
	c    *cdc.Chunk
	open []*batch // in the order in which they were begun
	err  error
}

// add takes a change and tells how many row images it is.
func (m *merger) add(t cdc.Txn, c *change) int {
	rel := m.st.relation(c.rel)
	if c.truncate {
		m.flush(rel.OID)
		m.c.Items = append(m.c.Items, cdc.Item{Relation: rel, Truncate: &cdc.Truncate{Txn: t, Seq: m.st.take(), Cascade: c.cascade}})
		return 1
	}
	b := m.batch(rel)
	b.in(t)
	n := 1
	if c.op == cdc.OpUpdate && c.sendsOld() {
		b.add(cdc.OpBefore, c.old, nil, m.st.take())
		n = 2
	}
	if c.op == cdc.OpDelete {
		b.add(cdc.OpDelete, c.old, nil, m.st.take())
	} else {
		b.add(c.op, c.new, c.unchanged, m.st.take())
	}
	return n
}

// batch gives the relation's open batch, a new one if the shape is another.
func (m *merger) batch(rel *cdc.Relation) *batch {
	for _, b := range m.open {
		if b.rel == rel {
			return b
		}
	}
	m.flush(rel.OID)
	b := newBatch(&m.st.src.w.alloc, rel)
	m.open = append(m.open, b)
	return b
}

// flush ends the batches of a relation.
func (m *merger) flush(oid uint32) {
	m.open = slices.DeleteFunc(m.open, func(b *batch) bool {
		if b.rel.OID != oid {
			return false
		}
		m.close(b)
		return true
	})
}

func (m *merger) close(b *batch) {
	done, err := b.finish()
	if err != nil {
		m.err = err
		return
	}
	m.c.Bytes += b.bytes
	m.c.Items = append(m.c.Items, cdc.Item{Relation: b.rel, Batch: done})
}

func (m *merger) finish() error {
	for _, b := range m.open {
		m.close(b)
	}
	m.open = nil
	return m.err
}

// take gives the next place in the transaction.
func (st *Stream) take() int64 {
	st.seq++
	return st.seq - 1
}

// relation gives this stream's own copy of a relation.
func (st *Stream) relation(rel *cdc.Relation) *cdc.Relation {
	own := st.rels[rel]
	if own == nil {
		own = st.src.w.shown(reshaped(rel))
		st.rels[rel] = own
	}
	return own
}
