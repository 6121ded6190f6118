package cdctest

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/lakeload/lakeload/cdc"
)

// TableSpec is a table to be made.
type TableSpec struct {
	Schema   string // empty is "public"
	Name     string
	Columns  []cdc.Column
	Key      []string            // the columns of the primary key; none for a table without
	Identity cdc.ReplicaIdentity // zero is IdentityDefault
	// InsertOnly puts the table into the stream with inserts and truncates
	// alone.
	InsertOnly bool
}

// Int64 is a column of type bigint.
func Int64(name string) cdc.Column {
	return cdc.Column{Name: name, Type: arrow.PrimitiveTypes.Int64, SourceType: "bigint", TypeOID: 20, TypeMod: -1}
}

// Text is a column of type text.
func Text(name string) cdc.Column {
	return cdc.Column{Name: name, Type: arrow.BinaryTypes.String, SourceType: "text", TypeOID: 25, TypeMod: -1}
}

// Float64 is a column of type double precision.
func Float64(name string) cdc.Column {
	return cdc.Column{Name: name, Type: arrow.PrimitiveTypes.Float64, SourceType: "double precision", TypeOID: 701, TypeMod: -1}
}

// Bool is a column of type boolean.
func Bool(name string) cdc.Column {
	return cdc.Column{Name: name, Type: arrow.FixedWidthTypes.Boolean, SourceType: "boolean", TypeOID: 16, TypeMod: -1}
}

// Bytes is a column of type bytea.
func Bytes(name string) cdc.Column {
	return cdc.Column{Name: name, Type: arrow.BinaryTypes.Binary, SourceType: "bytea", TypeOID: 17, TypeMod: -1}
}

// Timestamp is a column of type timestamp with time zone.
func Timestamp(name string) cdc.Column {
	return cdc.Column{Name: name, Type: arrow.FixedWidthTypes.Timestamp_us, SourceType: "timestamp with time zone", TypeOID: 1184, TypeMod: -1}
}

// Decimal is a column of type numeric(precision,scale).
func Decimal(name string, precision, scale int32) cdc.Column {
	return cdc.Column{
		Name: name, Type: &arrow.Decimal128Type{Precision: precision, Scale: scale},
		SourceType: fmt.Sprintf("numeric(%d,%d)", precision, scale), TypeOID: 1700, TypeMod: precision<<16 | scale + 4,
	}
}

func (s *TableSpec) relation(oid uint32) (*cdc.Relation, error) {
	rel := &cdc.Relation{
		OID: oid, Schema: s.Schema, Name: s.Name, Identity: s.Identity,
		Columns: slices.Clone(s.Columns), InsertOnly: s.InsertOnly,
	}
	if rel.Schema == "" {
		rel.Schema = "public"
	}
	if rel.Identity == 0 {
		rel.Identity = cdc.IdentityDefault
	}
	if s.Name == "" || len(s.Columns) == 0 {
		return nil, errors.New("a table needs a name and a column")
	}
	for i := range rel.Columns {
		rel.Columns[i].ID = int32(i + 1)
	}
	for _, name := range s.Key {
		i := column(rel, name)
		if i < 0 {
			return nil, fmt.Errorf("the key column %s is not among the columns", name)
		}
		rel.Columns[i].NotNull = true
		rel.Key = append(rel.Key, i)
	}
	return rel, nil
}

func column(rel *cdc.Relation, name string) int {
	return slices.IndexFunc(rel.Columns, func(c cdc.Column) bool { return c.Name == name })
}

// content is what a table holds.
type content struct {
	rel  *cdc.Relation
	rows map[string]*copies
}

// copies are equal rows: one, where there is a key.
type copies struct {
	row Row
	n   int
}

func newContent(rel *cdc.Relation) *content {
	return &content{rel: rel, rows: make(map[string]*copies)}
}

func (c *content) clone() *content {
	d := newContent(c.rel)
	for k, v := range c.rows {
		d.rows[k] = &copies{v.row, v.n} // rows are never altered
	}
	return d
}

func (c *content) insert(row Row) error {
	k := Key(c.rel, row)
	old := c.rows[k]
	if old == nil {
		c.rows[k] = &copies{row, 1}
		return nil
	}
	if len(c.rel.Key) > 0 {
		return fmt.Errorf("%s: the key %s exists already", c.rel, k)
	}
	old.n++
	return nil
}

func (c *content) remove(row Row) error {
	k := Key(c.rel, row)
	old := c.rows[k]
	if old == nil {
		return fmt.Errorf("%s: there is no row %s", c.rel, k)
	}
	if old.n--; old.n == 0 {
		delete(c.rows, k)
	}
	return nil
}

// list gives the rows in the order of their keys' text, copies repeated.
func (c *content) list() []Row {
	var rows []Row
	for _, k := range slices.Sorted(maps.Keys(c.rows)) {
		for range c.rows[k].n {
			rows = append(rows, maps.Clone(c.rows[k].row))
		}
	}
	return rows
}

// byKey gives the rows by key; further copies have "#2", "#3"... after it.
func (c *content) byKey() map[string]Row {
	m := make(map[string]Row, len(c.rows))
	for k, v := range c.rows {
		m[k] = maps.Clone(v.row)
		for i := 2; i <= v.n; i++ {
			m[fmt.Sprintf("%s#%d", k, i)] = maps.Clone(v.row)
		}
	}
	return m
}

// change is one entry of a transaction: a row's change, a truncate, or DDL
// (a table made, dropped, or given another shape).
type change struct {
	op        cdc.Op // 0 where it is no row's change
	truncate  bool
	cascade   bool
	create    bool
	drop      bool
	reshape   func(Row) Row // what a new shape makes of the old rows
	rel       *cdc.Relation // the shape in which it was made, or after DDL
	old, new  Row
	unchanged []string // columns of new that the source does not send
}

// sendsOld reports whether an update tells of the old row: PostgreSQL sends
// the old key only where it changed, and under FULL always the whole row.
func (c *change) sendsOld() bool {
	return c.rel.Identity == cdc.IdentityFull || Key(c.rel, c.old) != Key(c.rel, c.new)
}

// apply does to a table's content what the change did.
func (c *change) apply(to *content) error {
	switch {
	case c.truncate:
		clear(to.rows)
		return nil
	case c.reshape != nil:
		shaped := newContent(c.rel)
		for _, k := range slices.Sorted(maps.Keys(to.rows)) {
			row := c.reshape(to.rows[k].row)
			for range to.rows[k].n {
				if err := shaped.insert(row); err != nil {
					return err
				}
			}
		}
		*to = *shaped
		return nil
	case c.op == 0:
		return nil
	}
	if c.op == cdc.OpUpdate || c.op == cdc.OpDelete {
		if err := to.remove(c.old); err != nil {
			return err
		}
	}
	if c.op == cdc.OpDelete {
		return nil
	}
	err := to.insert(c.new)
	if err != nil && c.op == cdc.OpUpdate { // a statement that fails changes nothing
		err = errors.Join(err, to.insert(c.old))
	}
	return err
}
