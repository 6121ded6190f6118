package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/lakeload/lakeload/cdc"
)

// inProgress is a transaction that the server sends before it has ended. Its
// messages stay in the spool as they are. They are decoded when it commits, in
// the order of commits, as if it had been sent whole; then what its rolled
// back subtransactions have changed is gone from the spool.
type inProgress struct {
	xid   uint32
	spool spool

	// Once it has committed:
	end  cdc.LSN
	time time.Time
	// own are the tables that it has announced. The server announces each one
	// anew in every transaction that it sends in progress, because nobody knows
	// yet how they will be ordered: none is taken from elsewhere, and none is
	// seen elsewhere before the commit.
	own map[uint32]*relation
}

// startBlock takes the beginning of a part of a transaction in progress.
func (d *decoder) startBlock(c cursor) error {
	xid, first := c.u32(), c.u8() != 0
	if err := c.end(); err != nil {
		return err
	}
	t := d.progress[xid]
	switch {
	case d.newSpool == nil:
		return fmt.Errorf("a part of transaction %d, which is in progress: that was not asked for", xid)
	case d.open:
		return fmt.Errorf("a part of transaction %d inside of transaction %d", xid, d.txn.XID)
	case xid == 0:
		return errors.New("a part of a transaction without an id")
	case first && t != nil:
		return fmt.Errorf("transaction %d, which is in progress, begins once more", xid)
	case !first && t == nil:
		return fmt.Errorf("a part of transaction %d, whose beginning was not sent", xid)
	}
	if t == nil {
		t = &inProgress{xid: xid, spool: d.newSpool()}
		d.progress[xid] = t
	}
	d.block = t
	return nil
}

// inBlock takes a message of the part that is being sent.
func (d *decoder) inBlock(kind byte, body []byte) error {
	c := cursor{b: body}
	switch kind {
	case msgStreamStop:
		d.block = nil
		return c.end()
	case msgOrigin: // the only one without an xid
		return known(kind, c)
	}
	xid := c.u32()
	if c.short {
		return errShort
	}
	switch kind {
	case msgInsert, msgUpdate, msgDelete, msgTruncate:
		return d.block.spool.add(xid, kind, c.b)
	case msgRelation:
		// When it arrived decides, after the commit, whether it is newer than
		// what others were told of the table.
		d.arrived++
		d.frame = binary.BigEndian.AppendUint64(d.frame[:0], d.arrived)
		d.frame = append(d.frame, c.b...)
		return d.block.spool.add(xid, kind, d.frame)
	case msgLogical: // none of them is a change; the rest of the transaction does without
		return d.logical(c)
	case msgType:
		return known(kind, c)
	}
	return fmt.Errorf("a kind that cannot be part of a transaction in progress (%d)", d.block.xid)
}

// abortStreamed forgets a transaction in progress, or one of its
// subtransactions. The server sends one such message for each of those that
// were nested in it, too.
func (d *decoder) abortStreamed(c cursor) error {
	xid, sub := c.u32(), c.u32()
	if len(c.b) == 16 { // where and when: only if parallel streaming was asked for
		c.take(16)
	}
	if err := c.end(); err != nil {
		return err
	}
	t := d.progress[xid]
	switch {
	case t == nil:
		// Some servers tell of a rollback though they have sent nothing of the
		// transaction, even where streaming was not asked for. What was never
		// sent need not be taken back.
		return nil
	case xid == sub:
		d.drop(t)
		return nil
	}
	return t.spool.abort(sub)
}

// drop forgets a transaction in progress.
func (d *decoder) drop(t *inProgress) {
	t.spool.close()
	delete(d.progress, t.xid)
}

// commitStreamed begins to play a transaction that was in progress.
func (d *decoder) commitStreamed(c cursor) error {
	xid := c.u32()
	c.u8()
	at, end, when := c.lsn(), c.lsn(), c.time()
	if err := c.end(); err != nil {
		return err
	}
	t := d.progress[xid]
	switch {
	case t == nil:
		return fmt.Errorf("transaction %d commits at %s, but nothing of it was sent", xid, at)
	case d.open:
		return fmt.Errorf("transaction %d commits inside of transaction %d", xid, d.txn.XID)
	case end <= at:
		return fmt.Errorf("the commit record at %s ends at %s", at, end)
	}
	if err := d.enterTxn(cdc.Txn{XID: xid, Commit: at, Time: when}); err != nil {
		return err
	}
	if d.skip { // nobody wants it
		d.open = false
		d.drop(t)
		return nil
	}
	t.end, t.time, t.own = end, when, map[uint32]*relation{}
	d.playing, d.view, d.last = t, t.own, nil
	return nil
}

// isPlaying reports whether playOn has something to do.
func (d *decoder) isPlaying() bool { return d.playing != nil }

// playOn decodes a committed transaction from its spool, until a chunk is full
// or the transaction is complete.
func (d *decoder) playOn(ctx context.Context) error {
	for n := 0; d.playing != nil && !d.full(); n++ {
		if n&0xff == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		kind, body, err := d.playing.spool.next()
		if errors.Is(err, io.EOF) {
			d.played()
			return nil
		}
		if err == nil {
			err = d.play(ctx, kind, body)
		}
		if err != nil {
			return because(kind, err)
		}
	}
	return nil
}

// play decodes one message of a spool.
func (d *decoder) play(ctx context.Context, kind byte, body []byte) error {
	if kind != msgRelation {
		return d.change(ctx, kind, body)
	}
	c := cursor{b: body}
	arrived := c.u64()
	return d.announce(ctx, c.b, arrived)
}

// played ends a transaction that has been decoded from its spool. From now on
// the server takes the tables that it has announced as known. Where another
// one has announced a table later, that is the newer shape: what the server
// sent last counts, not what commits last.
func (d *decoder) played() {
	t := d.playing
	for oid, r := range t.own {
		if known := d.relations[oid]; known == nil || known.arrived < r.arrived {
			d.relations[oid] = r
		}
	}
	d.playing, d.view, d.last = nil, d.relations, nil
	d.leaveTxn(t.end, t.time)
	d.drop(t)
}

// inProgressXIDs are the transactions of which something is kept.
func (d *decoder) inProgressXIDs() []uint32 {
	xids := make([]uint32, 0, len(d.progress))
	for xid := range d.progress {
		xids = append(xids, xid)
	}
	return xids
}

// kept is the number of transactions in progress, and what is kept of the
// largest, in bytes.
func (d *decoder) kept() (n int, largest int64) {
	for _, t := range d.progress {
		largest = max(largest, t.spool.length())
	}
	return len(d.progress), largest
}

// leaveProgress forgets all transactions in progress. The decoder can do
// nothing more but hand out what is complete.
func (d *decoder) leaveProgress() {
	for _, t := range d.progress {
		d.drop(t)
	}
}
