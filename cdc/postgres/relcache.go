package postgres

import (
	"context"
	"errors"
	"fmt"

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
	// message's, in its order; the key, the types' names and HasMissing come
	// from the catalogue. It returns nil and no error where the table is
	// published but not selected: its changes are then left out.
	tableByOID(ctx context.Context, oid uint32, msg relationMessage) (*tableInfo, error)
}

// errNeedsText says that the stream has to be begun anew in the text format.
var errNeedsText = errors.New("a table has come up whose values can be read exactly in the text format only")

// relation is what the decoder keeps of a table that the server announced.
type relation struct {
	name string // for errors
	// columns is the number of values in each of its tuples.
	columns int
	info    *tableInfo // nil: published, but not ours
	builder *batchBuilder
	// txn is the serial number of the transaction that the builder's last
	// rows belong to; 0 while it has none.
	txn uint64
	// listed says that the decoder's list of builders with rows has it.
	listed bool
}

// announce takes a Relation message: from here on the table has this shape.
// While the shape stays the same the relation's pointer does, and its rows go
// on into the same batch.
func (d *decoder) announce(ctx context.Context, msg relationMessage) error {
	info, err := d.catalog.tableByOID(ctx, msg.OID, msg)
	if err != nil {
		return fmt.Errorf("looking up table %s.%s: %w", msg.Schema, msg.Name, err)
	}
	r := d.relations[msg.OID]
	if r == nil {
		r = &relation{}
		d.relations[msg.OID] = r
	}
	r.name, r.columns = msg.Schema+"."+msg.Name, len(msg.Columns)
	if info != nil && (len(info.rel.Columns) != r.columns || len(info.cols) != r.columns) {
		return fmt.Errorf("the catalogue gives %d columns of table %s where the stream has %d", len(info.rel.Columns), r.name, r.columns)
	}
	if info != nil && d.binary {
		for i, t := range info.cols {
			if !binaryOK(t) {
				c := &info.rel.Columns[i]
				return retry(fmt.Errorf("%w: column %q of table %s is %s", errNeedsText, c.Name, r.name, c.SourceType))
			}
		}
	}
	if info != nil && r.info != nil && sameRelation(info.rel, r.info.rel) {
		return nil
	}
	d.flush(r)
	r.info, r.builder = info, nil
	if info != nil {
		r.builder = newBatchBuilder(info.rel, info.cols, d.mem)
	}
	return nil
}

// sameRelation reports whether o says nothing that r does not.
func sameRelation(r, o *cdc.Relation) bool {
	if !r.SameShape(o) {
		return false
	}
	for i := range r.Columns {
		a, b := &r.Columns[i], &o.Columns[i]
		if a.SourceType != b.SourceType || a.NotNull != b.NotNull || a.HasMissing != b.HasMissing {
			return false
		}
	}
	return true
}
