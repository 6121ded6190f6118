package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"

	"github.com/lakeload/lakeload/cdc"
)

// tableInfo is a relation and how its columns are decoded, one each of
// rel.Columns.
type tableInfo struct {
	rel  *cdc.Relation
	cols []columnType
	// filter is the SQL of the condition that a publication's rows fulfil; "":
	// there is none, or none is honoured.
	filter string
}

// catalog resolves the relations of a stream. The stream asks from its reader
// goroutine, each time the server sends a Relation message.
type catalog interface {
	// tableByOID describes the table of a Relation message: Columns are the
	// message's, in its order; the key, the types' names, the columns' ids and what
	// older rows lack come from the catalogue. It returns nil and no error where the table is
	// published but not selected: its changes are then left out.
	tableByOID(ctx context.Context, oid uint32, msg relationMessage) (*tableInfo, error)
}

// errNeedsText says that the stream has to be begun anew in the text format.
var errNeedsText = errors.New("a table has come up whose values can be read exactly in the text format only")

// relation is what the decoder keeps of a table that the server announced, in
// one shape.
type relation struct {
	name string // for errors
	// columns is the number of values in each of its tuples.
	columns int
	info    *tableInfo // nil: published, but not ours
	builder *batchBuilder
	// arrived is the number of the last Relation message that gave it this shape,
	// and told what that said.
	arrived uint64
	told    []byte
	// txn is the serial number of the transaction that the builder's last
	// rows belong to; 0 while it has none.
	txn uint64
	// listed says that the decoder's list of builders with rows has it.
	listed bool
	// rows is common to all shapes of one table.
	rows *tableRows
}

// tableRows says which shape of a table has the rows that came last, so that
// they are handed out in order. Several shapes are in use at a time when
// transactions in progress have announced the table, too.
type tableRows struct{ in *relation }

// announce takes a Relation message: from here on the table has this shape, for
// the transaction that is being read. While the shape stays the same the
// relation's pointer does, and its rows go on into the same batch.
func (d *decoder) announce(ctx context.Context, body []byte, arrived uint64) error {
	d.last = nil
	msg, err := parseRelation(body)
	if err != nil {
		return err
	}
	if known := d.view[msg.OID]; d.playing != nil && known != nil && bytes.Equal(known.told, body) {
		// The server says it again after each rolled back subtransaction. The
		// catalogue was asked just now, after the commit.
		known.arrived = max(known.arrived, arrived)
		return nil
	}
	msg.Txn, d.looked = d.txn, true
	info, err := d.catalog.tableByOID(ctx, msg.OID, msg)
	if err != nil {
		return fmt.Errorf("looking up table %s.%s: %w", msg.Schema, msg.Name, err)
	}
	r := &relation{name: msg.Schema + "." + msg.Name, columns: len(msg.Columns), info: info, arrived: arrived, told: bytes.Clone(body)}
	if info != nil {
		if err := d.readable(r); err != nil {
			return err
		}
	}
	for _, known := range []*relation{d.view[msg.OID], d.relations[msg.OID]} {
		if known == nil {
			continue
		}
		if known.same(r) {
			known.arrived, known.told = max(known.arrived, arrived), bytes.Clone(body)
			d.view[msg.OID] = known
			return nil
		}
		r.rows = known.rows
	}
	if r.rows == nil {
		r.rows = &tableRows{}
	}
	if info != nil {
		r.builder = newBatchBuilder(info.rel, info.cols, d.mem)
	}
	d.view[msg.OID] = r
	return nil
}

// readable refuses a table that this stream cannot read.
func (d *decoder) readable(r *relation) error {
	rel, cols := r.info.rel, r.info.cols
	if len(rel.Columns) != r.columns || len(cols) != r.columns {
		return fmt.Errorf("the catalogue gives %d columns of table %s where the stream has %d", len(rel.Columns), r.name, r.columns)
	}
	if !d.binary {
		return nil
	}
	for i, t := range cols {
		if !binaryOK(t) {
			c := &rel.Columns[i]
			return retry(fmt.Errorf("%w: column %q of table %s is %s", errNeedsText, c.Name, r.name, c.SourceType))
		}
	}
	return nil
}

// same reports whether o is the same table in the same shape.
func (r *relation) same(o *relation) bool {
	if r.info == nil || o.info == nil {
		return r.info == nil && o.info == nil && r.name == o.name && r.columns == o.columns
	}
	return sameRelation(o.info.rel, r.info.rel)
}

// sameRelation reports whether o says nothing that r does not.
func sameRelation(r, o *cdc.Relation) bool {
	if !r.SameShape(o) {
		return false
	}
	for i := range r.Columns {
		a, b := &r.Columns[i], &o.Columns[i]
		if a.SourceType != b.SourceType || a.NotNull != b.NotNull || a.ID != b.ID || !sameMissing(&a.Missing, &b.Missing) {
			return false
		}
	}
	return reflect.DeepEqual(r.Later, o.Later) && r.Dropped == o.Dropped && (r.Files == nil) == (o.Files == nil) && maps.Equal(r.Files, o.Files)
}
