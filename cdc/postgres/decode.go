package postgres

import (
	"context"
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
// without goroutine, clock or socket; only catalog and spools may ask
// elsewhere. It is not safe for concurrent use. After an error it can only be
// discarded.
type decoder struct {
	catalog catalog
	mem     memory.Allocator
	// from: transactions whose commit begins before it are left out, whole.
	from cdc.LSN
	// binary: the stream was asked for in binary.
	binary bool
	// newSpool makes a spool for a transaction in progress; nil: the stream was
	// asked for without them.
	newSpool func() spool
	// heard, if set, gets the logical messages of the database. It keeps
	// nothing of content.
	heard func(prefix string, content []byte)
	// committed, if set, is called with each transaction that is complete.
	committed func(xid uint32)

	// relations are the tables as they are for a transaction that is sent
	// whole, and view those for the transaction that is being read.
	relations map[uint32]*relation
	view      map[uint32]*relation
	arrived   uint64 // Relation messages so far
	// last is the table of the last row, which is often that of the next, and
	// lastOID its OID; nil after what may have changed the view.
	last    *relation
	lastOID uint32

	// Transactions in progress, by their xid, and the one of them that the
	// server is sending a part of.
	progress map[uint32]*inProgress
	block    *inProgress
	playing  *inProgress // whose spool is being read: it has committed
	looked   bool        // the catalogue was asked, which took a while

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
	frame  []byte  // reused
}

func newDecoder(from cdc.LSN, cat catalog, binary bool, mem memory.Allocator) *decoder {
	d := &decoder{
		catalog: cat, mem: mem, from: from, binary: binary, relations: map[uint32]*relation{},
		progress: map[uint32]*inProgress{}, cut: from, given: from,
	}
	d.view = d.relations
	return d
}

// message takes the next message of the stream. It keeps nothing of msg. After
// it, playOn has to be called until isPlaying says no.
func (d *decoder) message(ctx context.Context, msg []byte) error {
	if len(msg) == 0 {
		return &messageError{Err: errShort}
	}
	kind, body := msg[0], msg[1:]
	var err error
	if d.block != nil {
		err = d.inBlock(kind, body)
	} else {
		err = d.change(ctx, kind, body)
	}
	if err != nil {
		return because(kind, err)
	}
	return nil
}

// because says which message it was that could not be taken. Where that is not
// the message's fault but the spool's, the stream can be had in another way.
func because(kind byte, err error) error {
	var broken *spoolError
	if errors.As(err, &broken) {
		return broken.explain()
	}
	return &messageError{Kind: kind, Err: err}
}

// change takes a message that is not part of a transaction in progress.
func (d *decoder) change(ctx context.Context, kind byte, body []byte) error {
	switch kind {
	case msgInsert:
		return d.insert(body)
	case msgUpdate:
		return d.update(body)
	case msgDelete:
		return d.delete(body)
	case msgBegin:
		return d.begin(cursor{b: body})
	case msgCommit:
		return d.commit(cursor{b: body})
	case msgRelation:
		d.arrived++
		return d.announce(ctx, body, d.arrived)
	case msgTruncate:
		return d.truncate(cursor{b: body})
	case msgLogical:
		return d.logical(cursor{b: body})
	case msgStreamStart:
		return d.startBlock(cursor{b: body})
	case msgStreamCommit:
		return d.commitStreamed(cursor{b: body})
	case msgStreamAbort:
		return d.abortStreamed(cursor{b: body})
	}
	return known(kind, cursor{b: body})
}

// known takes what is understood and of no use, and refuses the rest.
func known(kind byte, c cursor) error {
	switch kind {
	case msgOrigin: // where a transaction was first made; there may be several in one
		c.lsn()
		c.cstring()
		return c.end()
	case msgType: // the catalogue knows types better
		c.u32()
		c.cstring()
		c.cstring()
		return c.end()
	case msgBeginPrepare, msgPrepare, msgCommitPrepared, msgRollbackPrepared, msgStreamPrepare:
		return refused("reading a prepared transaction", "", "make a new replication slot without two_phase, and copy the tables again",
			errors.New("the server sends transactions when they are prepared, which was not asked for: whether they commit would not be known yet"))
	}
	return errors.New("unknown kind; nothing of the stream after it could be trusted")
}

// logical takes a message that somebody wrote into the log. One that is not
// transactional belongs to no transaction, wherever it stands, and its position
// says nothing about what has been delivered.
func (d *decoder) logical(c cursor) error {
	transactional := c.u8()&1 != 0
	c.lsn()
	prefix := c.cstring()
	content := c.take(int(c.u32()))
	if err := c.end(); err != nil {
		return err
	}
	if transactional && !d.open && d.block == nil {
		return errors.New("a transactional message outside of a transaction")
	}
	if d.heard != nil {
		d.heard(prefix, content)
	}
	return nil
}

func (d *decoder) begin(c cursor) error {
	txn := cdc.Txn{Commit: c.lsn(), Time: c.time(), XID: c.u32()}
	if err := c.end(); err != nil {
		return err
	}
	if d.open {
		return fmt.Errorf("transaction %d begins inside of transaction %d", txn.XID, d.txn.XID)
	}
	return d.enterTxn(txn)
}

// enterTxn opens a transaction whose commit is known.
func (d *decoder) enterTxn(txn cdc.Txn) error {
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
	d.leaveTxn(end, when)
	return nil
}

// leaveTxn ends the open transaction. One without a change is progress only:
// some servers send such transactions and others do not.
func (d *decoder) leaveTxn(end cdc.LSN, when time.Time) {
	d.open = false
	if d.committed != nil {
		d.committed(d.txn.XID)
	}
	if d.skip {
		return
	}
	d.cut, d.cutTime = end, when
	if d.seq > 0 {
		d.completed++
	}
}

// keepalive takes the position up to which the server has sent everything.
//
// Transactions in progress do not hold it back, though much of them may lie
// before it: what has to come after the cut is their commit, and it does, as
// the server would have sent it otherwise. For the same reason the position
// may be acknowledged. The server then skips only transactions that commit
// before it, and keeps the log from where the oldest one in progress began
// (the slot's restart_lsn), so that a new stream gets it again from its start.
func (d *decoder) keepalive(end cdc.LSN) {
	// With rows waiting the cut stays their commit's: it is the better name
	// for the state that they lead to.
	if !d.open && !d.hasRows() && end > d.cut {
		d.cut, d.cutTime = end, time.Time{}
	}
}
