package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/lakeload/lakeload/cdc"
)

// relationOf finds the table of a row, and reads its OID.
func (d *decoder) relationOf(body []byte) (*relation, []byte, error) {
	if !d.open {
		return nil, nil, errors.New("a change outside of a transaction")
	}
	if len(body) < 5 {
		return nil, nil, errShort
	}
	oid := binary.BigEndian.Uint32(body)
	if d.last == nil || d.lastOID != oid {
		if d.last = d.view[oid]; d.last == nil {
			return nil, nil, fmt.Errorf("a change of a table (OID %d) that was not announced", oid)
		}
		d.lastOID = oid
	}
	return d.last, body[4:], nil
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
	if p, err = b.tuple(p, op, before); err != nil {
		return nil, err
	}
	b.endRow(op, seq)
	d.rows++
	d.bytes += b.bytes() - had
	return p, nil
}

// enter tells a table's builder that the transaction's rows begin. If the
// table's rows have gone into the builder of another shape until now, that
// one's batch ends here.
func (d *decoder) enter(r *relation) {
	if last := r.rows.in; last != r {
		if last != nil {
			d.flush(last)
		}
		r.rows.in = r
	}
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
		r := d.view[oid]
		if r == nil {
			return fmt.Errorf("a change of a table (OID %d) that was not announced", oid)
		}
		seq := d.seq
		d.seq++
		if d.skip || r.info == nil {
			continue
		}
		if r.rows.in != nil {
			d.flush(r.rows.in)
		}
		d.items = append(d.items, cdc.Item{Relation: r.info.rel, Truncate: &cdc.Truncate{
			Txn: d.txn, Seq: seq, Cascade: options&1 != 0, RestartIdentity: options&2 != 0,
		}})
		d.bytes += 64
	}
	return c.end()
}
