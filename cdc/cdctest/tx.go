package cdctest

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/cdc"
)

// Tx is a transaction in the making. It is used inside the function given to
// World.Commit only. Tables are named "schema.name", or by a name in public.
type Tx struct {
	w       *World
	changes []*change
	saved   map[*table]*content // as they were before
	tables  int                 // how many there were before
	created []*table
	dropped []*table
	rewrote []*table
}

// begin gives a table for changing, and keeps what it was.
func (tx *Tx) begin(name string) (*table, error) {
	t, err := tx.w.table(name)
	if err != nil {
		return nil, err
	}
	if slices.Contains(tx.dropped, t) {
		return nil, fmt.Errorf("there is no table %s any more", name)
	}
	if _, ok := tx.saved[t]; !ok {
		tx.w.revealFor(t)
		tx.saved[t] = t.content.clone()
	}
	return t, nil
}

func (tx *Tx) rollback() {
	for t, c := range tx.saved {
		t.content = c
	}
	tx.w.tables = tx.w.tables[:tx.tables]
}

// stamp tells the tables which commit made, dropped or emptied them.
func (tx *Tx) stamp(commit cdc.LSN) {
	for _, t := range tx.created {
		t.created = commit
	}
	for _, t := range tx.dropped {
		t.dropped = commit
	}
	for _, t := range tx.rewrote {
		t.rewritten++
	}
}

func (tx *Tx) do(t *table, c *change) error {
	if err := c.apply(t.content); err != nil {
		return err
	}
	tx.changes = append(tx.changes, c)
	return nil
}

// Relation is a table's present shape.
func (tx *Tx) Relation(name string) *cdc.Relation {
	t, err := tx.w.table(name)
	if err != nil {
		return nil
	}
	return reshaped(t.content.rel)
}

// Insert puts a row into a table. A key that is there already is an error.
func (tx *Tx) Insert(name string, row Row) error {
	t, err := tx.begin(name)
	if err != nil {
		return err
	}
	rel := t.content.rel
	full, err := complete(rel, row)
	if err != nil {
		return err
	}
	return tx.do(t, &change{op: cdc.OpInsert, rel: rel, new: full})
}

// Update changes the row with this key (or one row with exactly these values,
// in a table without a key): the columns that set names get its values.
// Values stored out of line that it does not name are not sent by the stream.
func (tx *Tx) Update(name string, key, set Row) error {
	t, old, err := tx.find(name, key)
	if err != nil {
		return err
	}
	rel := t.content.rel
	row := maps.Clone(old)
	maps.Copy(row, set)
	full, err := complete(rel, row)
	if err != nil {
		return err
	}
	c := &change{op: cdc.OpUpdate, rel: rel, old: old, new: full}
	for i := range rel.Columns {
		column := rel.Columns[i].Name
		if _, given := set[column]; !given && outOfLine(full[column]) {
			c.unchanged = append(c.unchanged, column)
		}
	}
	return tx.do(t, c)
}

// Delete removes the row with this key (or one row with exactly these values,
// in a table without a key).
func (tx *Tx) Delete(name string, key Row) error {
	t, old, err := tx.find(name, key)
	if err != nil {
		return err
	}
	return tx.do(t, &change{op: cdc.OpDelete, rel: t.content.rel, old: old})
}

func (tx *Tx) find(name string, key Row) (*table, Row, error) {
	t, err := tx.begin(name)
	if err != nil {
		return nil, nil, err
	}
	full, err := complete(t.content.rel, key)
	if err != nil {
		return nil, nil, err
	}
	found := t.content.rows[Key(t.content.rel, full)]
	if found == nil {
		return nil, nil, fmt.Errorf("%s: there is no row %s", name, Key(t.content.rel, full))
	}
	return t, found.row, nil
}

// complete gives a row with every column, in normal values.
func complete(rel *cdc.Relation, row Row) (Row, error) {
	full := make(Row, len(rel.Columns))
	for i := range rel.Columns {
		c := &rel.Columns[i]
		v, err := normal(c, row[c.Name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", rel, err)
		}
		full[c.Name] = v
	}
	for name := range row {
		if column(rel, name) < 0 {
			return nil, fmt.Errorf("%s has no column %s", rel, name)
		}
	}
	return full, nil
}

// Truncate empties tables by one command.
func (tx *Tx) Truncate(names ...string) error {
	for _, name := range names {
		t, err := tx.beginDDL(name)
		if err != nil {
			return err
		}
		if err := tx.do(t, &change{truncate: true, rel: t.content.rel, cascade: len(names) > 1}); err != nil {
			return err
		}
		tx.rewrote = append(tx.rewrote, t)
	}
	return nil
}

func (tx *Tx) beginDDL(name string) (*table, error) {
	t, err := tx.begin(name)
	if err == nil && t.locks > 0 {
		err = fmt.Errorf("%s: %w", name, ErrLocked)
	}
	return t, err
}

// AddColumn adds a column at the end; rows that are there read as missing,
// nil for NULL. The stream tells of it with the next change of the table.
func (tx *Tx) AddColumn(name string, c cdc.Column, missing any) error {
	missing, err := normal(&c, missing)
	if err != nil {
		return err
	}
	if missing != nil {
		b := array.NewBuilder(memory.DefaultAllocator, c.Type)
		defer b.Release()
		if err := appendValue(b, missing); err != nil {
			return err
		}
		c.Missing = cdc.Missing{Kind: cdc.MissingValue, Value: b.NewArray()}
		if e, ok := missing.(Exact); ok {
			c.Missing.Exact = string(e)
		}
	}
	return tx.addColumn(name, c, func(Row) any { return missing })
}

// FillColumn adds a column with a default of which each row that is there gets
// its own value: the table is written anew, and nobody tells what was written.
func (tx *Tx) FillColumn(name string, c cdc.Column, value func(Row) any) error {
	c.Missing = cdc.Missing{}
	if err := tx.addColumn(name, c, value); err != nil {
		return err
	}
	return tx.rewrite(name)
}

func (tx *Tx) addColumn(name string, c cdc.Column, value func(Row) any) error {
	t, err := tx.beginDDL(name)
	if err != nil {
		return err
	}
	rel := reshaped(t.content.rel)
	if column(rel, c.Name) >= 0 {
		return fmt.Errorf("%s has a column %s already", name, c.Name)
	}
	t.columns = max(t.columns, int32(len(rel.Columns))) + 1
	c.ID = t.columns
	rel.Columns = append(rel.Columns, c)
	return tx.do(t, &change{rel: rel, reshape: func(r Row) Row {
		r = maps.Clone(r)
		r[c.Name] = value(r)
		return r
	}})
}

// Retype gives a column, which must not be of the key, another type; cast makes
// its values. With anew the table is written anew for it.
func (tx *Tx) Retype(name string, c cdc.Column, anew bool, cast func(any) any) error {
	t, err := tx.beginDDL(name)
	if err != nil {
		return err
	}
	rel := reshaped(t.content.rel)
	at := column(rel, c.Name)
	if at < 0 || rel.IsKey(at) {
		return fmt.Errorf("%s has no column %s outside its key", name, c.Name)
	}
	c.ID = rel.Columns[at].ID
	rel.Columns[at] = c
	err = tx.do(t, &change{rel: rel, reshape: func(r Row) Row {
		r = maps.Clone(r)
		if v := r[c.Name]; v != nil {
			r[c.Name] = cast(v)
		}
		return r
	}})
	if err != nil || !anew {
		return err
	}
	return tx.rewrite(name)
}

// Rewrite writes the table anew, changing rows as f says; no event tells of it.
func (tx *Tx) Rewrite(name string, f func(Row) Row) error {
	t, err := tx.beginDDL(name)
	if err != nil {
		return err
	}
	if err := tx.do(t, &change{rel: reshaped(t.content.rel), reshape: f}); err != nil {
		return err
	}
	t.silent++
	return tx.rewrite(name)
}

func (tx *Tx) rewrite(name string) error {
	t, err := tx.begin(name)
	if err == nil {
		tx.rewrote = append(tx.rewrote, t)
	}
	return err
}

// RenameTable gives a table another name, in its schema.
func (tx *Tx) RenameTable(name, to string) error {
	t, err := tx.beginDDL(name)
	if err != nil {
		return err
	}
	if _, err := tx.w.table(t.content.rel.Schema + "." + to); err == nil {
		return fmt.Errorf("there is a table %s already", to)
	}
	rel := reshaped(t.content.rel)
	rel.Name = to
	return tx.do(t, &change{rel: rel, reshape: func(r Row) Row { return r }})
}

// DropColumn removes a column, which must not be of the key.
func (tx *Tx) DropColumn(name, col string) error {
	t, err := tx.beginDDL(name)
	if err != nil {
		return err
	}
	rel := reshaped(t.content.rel)
	at := column(rel, col)
	if at < 0 || rel.IsKey(at) {
		return fmt.Errorf("%s has no column %s outside its key", name, col)
	}
	t.columns = max(t.columns, int32(len(rel.Columns))) // ids are not given twice
	rel.Columns = slices.Delete(rel.Columns, at, at+1)
	for i, k := range rel.Key {
		if k > at {
			rel.Key[i]--
		}
	}
	return tx.do(t, &change{rel: rel, reshape: func(r Row) Row {
		r = maps.Clone(r)
		delete(r, col)
		return r
	}})
}

// RenameColumn gives a column another name.
func (tx *Tx) RenameColumn(name, from, to string) error {
	t, err := tx.beginDDL(name)
	if err != nil {
		return err
	}
	rel := reshaped(t.content.rel)
	at := column(rel, from)
	if at < 0 || column(rel, to) >= 0 {
		return fmt.Errorf("%s: the column %s cannot be renamed to %s", name, from, to)
	}
	rel.Columns[at].Name = to
	return tx.do(t, &change{rel: rel, reshape: func(r Row) Row {
		r = maps.Clone(r)
		r[to] = r[from]
		delete(r, from)
		return r
	}})
}

// reshaped copies a relation: one that was handed out is never altered.
func reshaped(rel *cdc.Relation) *cdc.Relation {
	c := *rel
	c.Columns = slices.Clone(rel.Columns)
	c.Key = slices.Clone(rel.Key)
	return &c
}

func (tx *Tx) createTable(s TableSpec) (*cdc.Relation, error) {
	rel, err := s.relation(tx.w.nextOID)
	if err != nil {
		return nil, fmt.Errorf("creating a table: %w", err)
	}
	if _, err := tx.w.table(rel.String()); err == nil {
		return nil, fmt.Errorf("creating a table: there is a table %s already", rel)
	}
	tx.w.nextOID++
	t := &table{oid: rel.OID, content: newContent(rel)}
	tx.w.tables = append(tx.w.tables, t)
	tx.created = append(tx.created, t)
	tx.changes = append(tx.changes, &change{create: true, rel: rel})
	return rel, nil
}

func (tx *Tx) dropTable(name string) error {
	t, err := tx.beginDDL(name)
	if err != nil {
		return err
	}
	tx.dropped = append(tx.dropped, t)
	tx.changes = append(tx.changes, &change{drop: true, rel: t.content.rel})
	return nil
}

// ErrRollback may be given by the function of World.Commit to have its
// transaction forgotten.
var ErrRollback = errors.New("rolled back")
