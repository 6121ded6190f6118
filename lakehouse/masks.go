package lakehouse

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/mask"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/tablefmt"
)

// maskBook says how each table is masked: as its state says, and where it has
// none yet, as the options say. It is asked by whoever reads the source.
type maskBook struct {
	options func(rel *cdc.Relation) TableOptions
	stray   *mask.Salt // for hashes whose salt nobody has given: nobody is to see them

	mu     sync.Mutex // guards what follows, and calls of options
	tables map[uint32]*maskedTable
}

type maskedTable struct {
	recorded bool          // the state has the table
	columns  []mask.Column // as they are recorded
	mark     string        // of the salt, as it is recorded
	policy   *mask.Policy  // nil: it was not asked for; its columns may know more than is recorded
}

func newMaskBook(options func(rel *cdc.Relation) TableOptions) *maskBook {
	return &maskBook{options: options, stray: mask.Throwaway(), tables: map[uint32]*maskedTable{}}
}

// wanted are the options of a table of the source, its masks bound to the
// columns that it has.
func (b *maskBook) wanted(rel *cdc.Relation) TableOptions {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ask(mask.Beneath(rel))
}

func (b *maskBook) ask(rel *cdc.Relation) TableOptions {
	o := b.options(rel)
	o.Masks, _ = mask.Bind(o.Masks, rel)
	if o.SaltMark = ""; mask.Hashes(o.Masks) {
		o.SaltMark = o.Salt.Mark()
	}
	return o
}

// policy says how a relation, as the source has it, is masked.
func (b *maskBook) policy(rel *cdc.Relation) *mask.Policy {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.tables[rel.OID]
	if t == nil {
		o := b.ask(rel)
		t = &maskedTable{policy: &mask.Policy{Columns: o.Masks, Salt: o.Salt}}
		b.tables[rel.OID] = t
	}
	if t.policy == nil {
		t.policy = &mask.Policy{Columns: t.columns}
		if mask.Hashes(t.columns) {
			if t.policy.Salt = b.options(rel).Salt; t.policy.Salt.Mark() != t.mark {
				t.policy.Salt = b.stray
			}
		}
	}
	if columns, more := mask.Bind(t.policy.Columns, rel); more {
		t.policy = &mask.Policy{Columns: columns, Salt: t.policy.Salt}
	}
	return t.policy
}

// set takes over what the state says.
func (b *maskBook) set(tables []TableState) {
	if b == nil { // of an engine that reads no table
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	known := map[uint32]bool{}
	for i := range tables {
		st := &tables[i]
		known[st.OID] = true
		t := b.tables[st.OID]
		switch {
		case t != nil && t.recorded && slices.Equal(t.columns, st.Masks) && t.mark == st.SaltMark:
		case t != nil && t.policy != nil && slices.Equal(t.policy.Columns, st.Masks) && (t.recorded && t.mark == st.SaltMark || t.policy.Salt.Mark() == st.SaltMark):
			t.recorded, t.columns, t.mark = true, st.Masks, st.SaltMark
		default:
			b.tables[st.OID] = &maskedTable{recorded: true, columns: st.Masks, mark: st.SaltMark}
		}
	}
	for oid := range b.tables {
		if !known[oid] {
			delete(b.tables, oid)
		}
	}
}

// learned gives the masks of which more is known than is recorded: which
// columns they are for.
func (b *maskBook) learned() map[uint32][]mask.Column {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var more map[uint32][]mask.Column
	for oid, t := range b.tables {
		if t.recorded && t.policy != nil && !slices.Equal(t.policy.Columns, t.columns) {
			if more == nil {
				more = map[uint32][]mask.Column{}
			}
			more[oid] = t.policy.Columns
		}
	}
	return more
}

// noteMasks records which columns the masks are for, as every save does, before
// anything of them is in the lake: after a restart they may have other names.
func (e *Engine) noteMasks(ctx context.Context) error {
	if len(e.masks.learned()) == 0 {
		return nil
	}
	return e.save(ctx, func(*State) {})
}

// maskedColumns say how the content of a table is masked, as its properties hold
// it.
type maskedColumns struct {
	Columns []mask.Column `json:"columns"`
	Mark    string        `json:"salt,omitempty"`
	Salt    *mask.Salt    `json:"-"`
}

// maskedText is the property that says how a table is masked.
func maskedText(o *TableOptions) string {
	text, _ := json.Marshal(maskedColumns{Columns: o.Masks, Mark: o.SaltMark}) // it always encodes
	return string(text)
}

// maskedBy reads how a table's content is masked.
func maskedBy(md *tablefmt.Metadata) (m maskedColumns) {
	_ = json.Unmarshal([]byte(md.Property(propMasks)), &m) // nothing is masked where it says nothing
	return m
}

// maskedColumn is how one column is masked; the zero value is not at all.
type maskedColumn struct {
	mask.Mask
	mark string // of a hash's salt
}

// of finds the mask of a column.
func (m *maskedColumns) of(f *tablefmt.Field) maskedColumn {
	id := typemap.ColumnID(f)
	for i := range m.Columns {
		c := &m.Columns[i]
		if known := c.ID != 0 && id != 0; known && c.ID != id || !known && c.Name != f.Name {
			continue
		}
		one := maskedColumn{Mask: c.Mask}
		if c.Kind == mask.Hash {
			one.mark = m.Mark
		}
		return one
	}
	return maskedColumn{}
}

// wanted are the options that the configuration has for a table.
func (e *Engine) wanted(rel *cdc.Relation) TableOptions { return e.masks.wanted(rel) }

// MaskedSource gives a source that shows what a lake's tables were fed with: its
// values masked as the state says. options is as in [Options]: it has the
// salts. Tables that the state does not have are masked as the options say.
func MaskedSource(source cdc.Source, s *State, options func(rel *cdc.Relation) TableOptions) cdc.Source {
	if options == nil {
		options = func(*cdc.Relation) TableOptions { return TableOptions{} }
	}
	book := newMaskBook(options)
	book.set(s.Tables)
	return mask.Wrap(source, book.policy)
}

// CheckSalt says whether a table of the lake, which the source has as rel, can
// be compared with it by the options' salt.
func CheckSalt(t *TableState, rel *cdc.Relation, options func(rel *cdc.Relation) TableOptions) error {
	if !mask.Hashes(t.Masks) {
		return nil
	}
	var salt *mask.Salt
	if options != nil {
		salt = options(mask.Beneath(rel)).Salt
	}
	if salt.Mark() == t.SaltMark {
		return nil
	}
	why := "it has hashed columns, and no salt is given"
	if salt != nil {
		why = "its hashes were made with another salt than the one that is given"
	}
	return &Error{
		Op: "comparing a table that is masked", Object: t.Name(), Err: fmt.Errorf("%s", why),
		Remedy: "give the configuration with its mask and salt_file with -c",
	}
}
