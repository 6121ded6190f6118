package postgres

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/cdc"
)

// resolver is the [catalog] of a stream. What the stream says of a table is
// true at its place in the log; the catalogue, asked later, adds what the
// stream leaves out, where it still fits.
type resolver struct {
	admin    *admin
	types    *typeCache
	selector *selector
	policies typePolicies
	narrowed func(context.Context, *pgconn.PgConn) (map[uint32]publishedShape, error)

	mu   sync.Mutex
	last map[uint32]*cdc.Relation // the newest relation made for each table
}

var _ catalog = (*resolver)(nil)

// remember keeps what the catalogue said of tables, for the time when they are
// dropped and the stream still speaks of them.
func (r *resolver) remember(rel *cdc.Relation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		r.last = map[uint32]*cdc.Relation{}
	}
	r.last[rel.OID] = rel
}

func (r *resolver) lastOf(oid uint32) *cdc.Relation {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last[oid]
}

// tableByOID implements [catalog]. A table counts as selected if the patterns
// name it as the message does, or if it was selected before under another name.
func (r *resolver) tableByOID(ctx context.Context, oid uint32, msg relationMessage) (*tableInfo, error) {
	if r.lastOf(oid) == nil && !r.selector.wants(msg.Schema, msg.Name) {
		return nil, nil
	}
	var now *shape
	var types map[uint32]typeInfo
	oids := make([]uint32, len(msg.Columns))
	for i, c := range msg.Columns {
		oids[i] = c.TypeOID
	}
	err := r.admin.with(ctx, func(conn *pgconn.PgConn) error {
		var err error
		if now, err = r.shapeFor(ctx, conn, oid, msg); err != nil {
			return err
		}
		types, err = r.types.resolve(ctx, conn, oids)
		return err
	})
	if err != nil {
		return nil, failed("looking up a table of the stream in the catalogue", msg.Schema+"."+msg.Name, err)
	}
	info := describe(oid, msg, now, types, r.policies, r.lastOf(oid))
	r.remember(info.rel)
	return info, nil
}

// visibleWithin bounds the wait for the catalogue to show what the stream has
// told already.
const visibleWithin = 500 * time.Millisecond

// shapeFor reads the present shape of a table; nil where it is gone.
//
// The server sends a transaction as soon as its commit is in the log, which is
// a moment before other sessions see it (longer, where it waits for a
// synchronous standby). A catalogue that lacks a column of the message may
// therefore be older than the message, and is asked again; or it is newer, the
// column having been dropped or altered since, and no waiting helps. Which of
// both it is the transaction tells: once it is seen the catalogue shows whatever
// it stood on, as it could not lock the table before that was seen. A stream that
// is behind a table which is altered often would else wait for each of its
// transactions, and never catch up.
func (r *resolver) shapeFor(ctx context.Context, conn *pgconn.PgConn, oid uint32, msg relationMessage) (*shape, error) {
	until := time.Now().Add(visibleWithin)
	past := false // the catalogue is not older than the message
	for pause := 2 * time.Millisecond; ; {
		now, err := r.presentShape(ctx, conn, oid)
		if err != nil {
			return nil, err
		}
		unknown := func(c relationColumn) bool { return now.attribute(c) == nil }
		if past || !slices.ContainsFunc(msg.Columns, unknown) || time.Now().Add(pause).After(until) {
			return now, nil
		}
		if past, err = sees(ctx, conn, msg.Txn); err != nil {
			return nil, err
		}
		if past {
			continue // what was read may be from before
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		pause *= 2
	}
}

// presentShape reads the shape of a table as it is published; nil where it is
// gone. Columns and files are of one moment: with files from after an ALTER TABLE
// beside the columns from before it, the values that it wrote into all rows would
// be taken for known.
func (r *resolver) presentShape(ctx context.Context, conn *pgconn.PgConn, oid uint32) (now *shape, err error) {
	err = inOneView(ctx, conn, func() error {
		shapes, _, err := readAsPublished(ctx, conn, []uint32{oid}, r.narrowed)
		if err == nil && len(shapes) == 1 {
			now = shapes[0]
		}
		return err
	})
	return now, err
}

// sees reports whether a new transaction of conn sees what txn did. Of a standby
// it says no.
func sees(ctx context.Context, conn *pgconn.PgConn, txn cdc.Txn) (bool, error) {
	if txn.XID == 0 {
		return false, nil
	}
	rows, err := query(ctx, conn, sqlSeen+" WHERE NOT pg_is_in_recovery()")
	if err != nil || len(rows) == 0 {
		return false, err
	}
	v, err := viewOf(rows[0])
	return v.Holds(txn), err
}

// describe joins a Relation message with the catalogue (now; nil where the
// table is gone) and with what was known of the table before. It is pure.
func describe(oid uint32, msg relationMessage, now *shape, types map[uint32]typeInfo, policies typePolicies, last *cdc.Relation) *tableInfo {
	t := &tableInfo{rel: &cdc.Relation{OID: oid, Schema: msg.Schema, Name: msg.Name, Identity: msg.Identity}}
	known := now.begins(msg)
	if known {
		t.rel.Files, t.rel.Dropped = now.files, int32(now.dropped)
		t.rel.Ahead = len(now.columns) > len(msg.Columns)
	} else if now != nil {
		t.rel.Later = now.later()
	}
	for i, c := range msg.Columns {
		a, dims := now.attribute(c), 0
		if a != nil {
			dims = a.dims
		} else if k := lastColumn(last, c); k != nil && k.Type.ID() == arrow.STRING {
			dims = 2 // if it is an array, it was declared so: the column is text
		}
		ct := resolveColumn(c.TypeOID, c.TypeMod, dims, types[c.TypeOID], policies.of(msg.Schema, msg.Name, c.Name))
		col := cdc.Column{
			Name: c.Name, Type: ct.arrowType(), TypeOID: c.TypeOID, TypeMod: c.TypeMod, Shape: ct.shape, SourceType: types[c.TypeOID].Name,
			Missing: cdc.Missing{Kind: cdc.MissingUnknown},
		}
		if a != nil {
			col.SourceType, col.NotNull = a.typeName, a.notNull
		} else if k := lastColumn(last, c); k != nil {
			col.SourceType, col.NotNull = k.SourceType, k.NotNull
		}
		if known {
			col.ID, col.Missing = int32(now.columns[i].num), now.columns[i].missingValue(col, ct)
		}
		t.rel.Columns = append(t.rel.Columns, col)
		t.cols = append(t.cols, ct)
		if c.Key && msg.Identity != cdc.IdentityFull {
			t.rel.Key = append(t.rel.Key, i)
		}
	}
	if msg.Identity == cdc.IdentityFull {
		t.rel.Key = fullKey(msg, now, last)
	}
	t.rel.InsertOnly = keyless(t.rel)
	return t
}

// begins reports whether the first columns of a table are a message's: none was
// dropped or changed since, and those that came since stand behind them.
// Columns that went and came again while nobody looked can look the same.
func (s *shape) begins(msg relationMessage) bool {
	if s == nil || len(s.columns) < len(msg.Columns) {
		return false
	}
	for i, c := range msg.Columns {
		if a := &s.columns[i]; a.name != c.Name || a.typeOID != c.TypeOID || a.typeMod != c.TypeMod {
			return false
		}
	}
	return true
}

// later is what the shape is to a relation that it has gone on from.
func (s *shape) later() *cdc.Later {
	l := &cdc.Later{Dropped: int32(s.dropped)}
	for _, a := range s.columns {
		l.Columns = append(l.Columns, cdc.LaterColumn{ID: int32(a.num), TypeOID: a.typeOID, TypeMod: a.typeMod})
	}
	return l
}

// attribute is the column of the same name and type, nil where there is none.
func (s *shape) attribute(c relationColumn) *attribute {
	if s == nil {
		return nil
	}
	for i := range s.columns {
		if a := &s.columns[i]; a.name == c.Name && a.typeOID == c.TypeOID && a.typeMod == c.TypeMod {
			return a
		}
	}
	return nil
}

func lastColumn(last *cdc.Relation, c relationColumn) *cdc.Column {
	if last == nil {
		return nil
	}
	for i := range last.Columns {
		if k := &last.Columns[i]; k.Name == c.Name && k.TypeOID == c.TypeOID && k.TypeMod == c.TypeMod {
			return k
		}
	}
	return nil
}

// fullKey finds the primary key's columns, which the stream does not tell
// under REPLICA IDENTITY FULL.
func fullKey(msg relationMessage, now *shape, last *cdc.Relation) []int {
	var names []string
	if now != nil {
		for _, a := range now.columns {
			if slices.Contains(now.primary, a.num) {
				names = append(names, a.name)
			}
		}
	}
	if key := positions(msg, names); key != nil || now != nil && len(now.primary) == 0 {
		return key
	}
	names = nil
	if last != nil {
		for _, k := range last.Key {
			names = append(names, last.Columns[k].Name)
		}
	}
	return positions(msg, names)
}

// positions gives the names' places in the message; nil unless all are there.
func positions(msg relationMessage, names []string) []int {
	var key []int
	for i, c := range msg.Columns {
		if slices.Contains(names, c.Name) {
			key = append(key, i)
		}
	}
	if len(key) != len(names) {
		return nil
	}
	return key
}
