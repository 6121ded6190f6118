package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/cdc"
)

// A chunk is handed over when it has this much, or earlier when it is asked for.
const (
	chunkBytes = 8 << 20
	chunkRows  = 64 << 10
)

// decoder turns the messages of pgoutput into chunks. It is a state machine
// without goroutine, clock or socket; only catalog may ask elsewhere. It is
// not safe for concurrent use. After an error it can only be discarded.
type decoder struct {
	catalog catalog
	mem     memory.Allocator
	// from: transactions whose commit begins before it are left out, whole.
	from cdc.LSN
	// binary: the stream was asked for in binary.
	binary bool

	relations map[uint32]*relation

	// The open transaction.
	open   bool
	skip   bool // it is part of everything up to from
	txn    cdc.Txn
	serial uint64 // counts transactions, so that builders know a new one
	seq    int64

	// The chunk that is being filled.
	items     []cdc.Item
	listed    []*relation // those whose builder has rows, in the order of their first
	rows      int
	bytes     int64
	completed int // transactions that ended in it

	cut     cdc.LSN
	cutTime time.Time
	given   cdc.LSN // the cut of the last chunk

	before []value // the old tuple of an update, reused
}

func newDecoder(from cdc.LSN, cat catalog, binary bool, mem memory.Allocator) *decoder {
	return &decoder{catalog: cat, mem: mem, from: from, binary: binary, relations: map[uint32]*relation{}, cut: from, given: from}
}

// message takes the next message of the stream. It keeps nothing of msg.
func (d *decoder) message(ctx context.Context, msg []byte) error {
	if len(msg) == 0 {
		return &messageError{Err: errShort}
	}
	kind, body := msg[0], msg[1:]
	var err error
	switch kind {
	case msgInsert:
		err = d.insert(body)
	case msgUpdate:
		err = d.update(body)
	case msgDelete:
		err = d.delete(body)
	default:
		err = d.other(ctx, kind, body)
	}
	if err != nil {
		return &messageError{Kind: kind, Err: err}
	}
	return nil
}

// other takes the messages that are not rows.
func (d *decoder) other(ctx context.Context, kind byte, body []byte) error {
	c := cursor{b: body}
	switch kind {
	case msgBegin:
		return d.begin(c)
	case msgCommit:
		return d.commit(c)
	case msgRelation:
		msg, err := parseRelation(body)
		if err != nil {
			return err
		}
		return d.announce(ctx, msg)
	case msgTruncate:
		return d.truncate(c)
	case msgOrigin:
		c.lsn()
		c.cstring()
		return c.end()
	case msgType: // of no use: the catalogue knows types better
		c.u32()
		c.cstring()
		c.cstring()
		return c.end()
	case msgLogical: // not asked for, and nothing of ours
		c.u8()
		c.lsn()
		c.cstring()
		c.take(int(c.u32()))
		return c.end()
	case msgStreamAbort:
		// Some servers send it though nothing was streamed in progress. What
		// it takes back was then never sent.
		if len(body) != 8 && len(body) != 24 {
			return errShort
		}
		return nil
	}
	return errors.New("unknown kind; nothing of the stream after it could be trusted")
}

func (d *decoder) begin(c cursor) error {
	txn := cdc.Txn{Commit: c.lsn(), Time: c.time(), XID: c.u32()}
	if err := c.end(); err != nil {
		return err
	}
	if d.open {
		return fmt.Errorf("transaction %d begins inside of transaction %d", txn.XID, d.txn.XID)
	}
	d.skip = txn.Commit < d.from
	if !d.skip && txn.Commit < d.cut {
		return fmt.Errorf("transaction %d commits at %s, before %s, up to which everything had arrived", txn.XID, txn.Commit, d.cut)
	}
	d.open, d.txn, d.seq = true, txn, 0
	d.serial++
	return nil
}

func (d *decoder) commit(c cursor) error {
	c.u8()
	at, end, when := c.lsn(), c.lsn(), c.time()
	if err := c.end(); err != nil {
		return err
	}
	switch {
	case !d.open:
		return fmt.Errorf("a commit at %s without a transaction", at)
	case at != d.txn.Commit:
		return fmt.Errorf("transaction %d began with commit position %s and ends with %s", d.txn.XID, d.txn.Commit, at)
	case end <= at:
		return fmt.Errorf("the commit record at %s ends at %s", at, end)
	}
	d.open = false
	if d.skip {
		return nil
	}
	d.cut, d.cutTime = end, when
	d.completed++
	return nil
}

// keepalive takes the position up to which the server has sent everything.
func (d *decoder) keepalive(end cdc.LSN) {
	// With rows waiting the cut stays their commit's: it is the better name
	// for the state that they lead to.
	if !d.open && !d.hasRows() && end > d.cut {
		d.cut, d.cutTime = end, time.Time{}
	}
}

// relationOf finds the table of a row, and reads its OID.
func (d *decoder) relationOf(body []byte) (*relation, []byte, error) {
	if !d.open {
		return nil, nil, errors.New("a change outside of a transaction")
	}
	if len(body) < 5 {
		return nil, nil, errShort
	}
	oid := binary.BigEndian.Uint32(body)
	r := d.relations[oid]
	if r == nil {
		return nil, nil, fmt.Errorf("a change of a table (OID %d) that was not announced", oid)
	}
	return r, body[4:], nil
}

func (d *decoder) insert(body []byte) error {
	r, p, err := d.relationOf(body)
	if err != nil {
		return err
	}
	if p[0] != tupleNew {
		return fmt.Errorf("a tuple of the unknown kind %q", p[0])
	}
	return d.lastRow(r, cdc.OpInsert, p[1:], nil)
}

func (d *decoder) update(body []byte) error {
	r, p, err := d.relationOf(body)
	if err != nil {
		return err
	}
	if err := d.takesChanges(r); err != nil {
		return err
	}
	var before []value
	if p[0] == tupleKey || p[0] == tupleOld {
		before, p, err = d.oldTuple(r, p[1:])
		if err != nil {
			return err
		}
		if len(p) == 0 {
			return errShort
		}
	}
	if p[0] != tupleNew {
		return fmt.Errorf("a tuple of the unknown kind %q", p[0])
	}
	return d.lastRow(r, cdc.OpUpdate, p[1:], before)
}

// oldTuple makes the OpBefore row of an update, and gives its values, from
// which the new row takes those that were not sent.
func (d *decoder) oldTuple(r *relation, p []byte) (before []value, rest []byte, err error) {
	rest, err = d.row(r, cdc.OpBefore, p, nil)
	if err != nil {
		return nil, nil, err
	}
	before, p = d.before[:0], p[2:]
	for range r.columns {
		var v value
		if v, p, err = nextValue(p); err != nil {
			return nil, nil, err
		}
		before = append(before, v)
	}
	d.before = before
	return before, rest, nil
}

func (d *decoder) delete(body []byte) error {
	r, p, err := d.relationOf(body)
	if err != nil {
		return err
	}
	if err := d.takesChanges(r); err != nil {
		return err
	}
	if p[0] != tupleKey && p[0] != tupleOld {
		return fmt.Errorf("a tuple of the unknown kind %q", p[0])
	}
	return d.lastRow(r, cdc.OpDelete, p[1:], nil)
}

// takesChanges refuses updates and deletes of a table that is published for
// its inserts alone.
func (d *decoder) takesChanges(r *relation) error {
	if !d.skip && r.info != nil && r.info.rel.InsertOnly {
		return fmt.Errorf("an update or delete of table %s, of which only inserts and truncates are to be published", r.name)
	}
	return nil
}

// lastRow is row for the tuple that ends a message.
func (d *decoder) lastRow(r *relation, op cdc.Op, p []byte, before []value) error {
	rest, err := d.row(r, op, p, before)
	if err == nil && len(rest) > 0 {
		err = errTrailing
	}
	return err
}

// row puts the tuple at the start of p into the table's batch as one row. The
// values that it leaves out as unchanged are taken from before, if they are
// there.
func (d *decoder) row(r *relation, op cdc.Op, p []byte, before []value) (rest []byte, err error) {
	if len(p) < 2 {
		return nil, errShort
	}
	if n := int(binary.BigEndian.Uint16(p)); n != r.columns {
		return nil, fmt.Errorf("a row of %d columns of table %s, which has %d", n, r.name, r.columns)
	}
	p = p[2:]
	seq := d.seq
	d.seq++
	if d.skip || r.info == nil {
		for range r.columns {
			if _, p, err = nextValue(p); err != nil {
				return nil, err
			}
		}
		return p, nil
	}
	b := r.builder
	if r.txn != d.serial {
		d.enter(r)
	}
	had := b.bytes()
	for i := range r.columns {
		var v value
		if v, p, err = nextValue(p); err != nil {
			return nil, err
		}
		if v.form == valueUnchanged && before != nil && before[i].data != nil {
			v = before[i]
		}
		switch v.form {
		case valueBinary:
			err = b.appendBinary(i, v.data)
		case valueText:
			err = b.appendText(i, v.data)
		case valueNull:
			b.appendNull(i)
		default:
			b.appendUnchanged(i)
		}
		if err != nil {
			return nil, err
		}
	}
	b.endRow(op, seq)
	d.rows++
	d.bytes += b.bytes() - had
	return p, nil
}

// enter tells a table's builder that the transaction's rows begin.
func (d *decoder) enter(r *relation) {
	r.builder.beginTxn(d.txn)
	r.txn = d.serial
	if !r.listed {
		r.listed = true
		d.listed = append(d.listed, r)
	}
}

func (d *decoder) truncate(c cursor) error {
	n, options := int(c.u32()), c.u8()
	if !d.open {
		return errors.New("a change outside of a transaction")
	}
	for i := 0; i < n && !c.short; i++ {
		oid := c.u32()
		if c.short {
			break
		}
		r := d.relations[oid]
		if r == nil {
			return fmt.Errorf("a change of a table (OID %d) that was not announced", oid)
		}
		seq := d.seq
		d.seq++
		if d.skip || r.info == nil {
			continue
		}
		d.flush(r)
		d.items = append(d.items, cdc.Item{Relation: r.info.rel, Truncate: &cdc.Truncate{
			Txn: d.txn, Seq: seq, Cascade: options&1 != 0, RestartIdentity: options&2 != 0,
		}})
		d.bytes += 64
	}
	return c.end()
}
