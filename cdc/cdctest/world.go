package cdctest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lakeload/lakeload/cdc"
)

// Options says how a World behaves. The zero value is good.
type Options struct {
	// Seed of all random decisions: where chunks end, what a crash leaves.
	Seed uint64
	// MaxRows bounds the row images of a chunk; the number of each chunk is
	// drawn from 1 up to it. 0 is 64.
	MaxRows int
	// WholeTransactions never ends a chunk inside a transaction.
	WholeTransactions bool
	// RangeRows is the number of rows of a snapshot's range. 0 is 100.
	RangeRows int
	// KeyRows is the number of rows of a range of keys; 0 lets Divide say that
	// no table is to be read so.
	KeyRows int
	// HideCommits lets one of so many transactions be in the log for a while
	// before whoever looks at the tables sees it; 0 is none.
	HideCommits int
	// Identity is what Identify says. Empty fields get defaults.
	Identity cdc.Identity
}

// World is a database in memory. All methods may be called by many goroutines.
type World struct {
	o     Options
	alloc counting

	mu         sync.Mutex
	rng        *rand.Rand
	changed    chan struct{} // closed and replaced whenever a stream may have something new
	nextOID    uint32
	nextXID    uint32
	tables     []*table
	log        []*transaction
	head       cdc.LSN // the end of everything
	slot       *slot
	handles    []*Source
	switches   []cdc.Switch // the ends of earlier timelines
	faults     []*Fault
	violations []string
	hidden     []*hidden
	// replay is how far State has played the log, and what it got.
	replay struct {
		next  int
		state map[uint32]*content
	}
}

// table is a table from its making to its drop.
type table struct {
	oid       uint32
	content   *content // now
	created   cdc.LSN  // the commit that made it
	dropped   cdc.LSN  // the commit that dropped it; 0: it exists
	rewritten int      // counts TRUNCATE and rewrites: a new file under the same name
	silent    int      // counts rewrites that changed rows and not the columns
	columns   int32    // the greatest id of a column there ever was
	locks     int      // snapshots that have planned it
	published cdc.LSN  // changes of commits from here on are in the stream; 0: none are
}

type transaction struct {
	txn     cdc.Txn
	end     cdc.LSN
	changes []*change
}

// Committed tells where a transaction stands in the log.
type Committed struct {
	cdc.Txn
	// End is where its commit record ends: the cut that includes it.
	End cdc.LSN
}

// ErrLocked is what DDL and TRUNCATE get while a snapshot has the table
// locked. (A server would let them wait.)
var ErrLocked = errors.New("a snapshot has locked the table")

// NewWorld gives an empty database.
func NewWorld(o Options) *World {
	if o.MaxRows <= 0 {
		o.MaxRows = 64
	}
	if o.RangeRows <= 0 {
		o.RangeRows = 100
	}
	if o.Identity.SystemID == "" {
		o.Identity.SystemID = "7000000000000000001"
	}
	if o.Identity.Timeline == 0 {
		o.Identity.Timeline = 1
	}
	if o.Identity.Database == "" {
		o.Identity.Database = "world"
	}
	if o.Identity.ServerVersion == 0 {
		o.Identity.ServerVersion = 180000
	}
	return &World{
		o:       o,
		rng:     rand.New(rand.NewPCG(o.Seed, 0x6c616b65)),
		changed: make(chan struct{}),
		nextOID: 16384, nextXID: 700, head: 0x1000000,
	}
}

// wake tells waiting streams to look again.
func (w *World) wake() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// CreateTable makes an empty table, in a transaction of its own.
func (w *World) CreateTable(s TableSpec) (*cdc.Relation, error) {
	var rel *cdc.Relation
	_, err := w.Commit(func(tx *Tx) (err error) {
		rel, err = tx.createTable(s)
		return err
	})
	return rel, err
}

// DropTable drops a table, in a transaction of its own. The stream does not
// say so.
func (w *World) DropTable(name string) error {
	_, err := w.Commit(func(tx *Tx) error { return tx.dropTable(name) })
	return err
}

// Commit runs f as one transaction and commits it. If f gives an error,
// nothing has happened. f must not call the World.
func (w *World) Commit(f func(*Tx) error) (Committed, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	tx := &Tx{w: w, saved: make(map[*table]*content), tables: len(w.tables)}
	if err := f(tx); err != nil {
		tx.rollback()
		return Committed{}, fmt.Errorf("committing a transaction: %w", err)
	}
	w.nextXID++
	t := &transaction{changes: tx.changes}
	size := 8 + 8*w.rng.IntN(16) + 64*len(tx.changes)
	t.txn = cdc.Txn{XID: w.nextXID, Commit: w.head + cdc.LSN(size), Time: time.Now().UTC().Truncate(time.Microsecond)}
	t.end = t.txn.Commit + 48
	w.head = t.end
	w.log = append(w.log, t)
	tx.stamp(t.txn.Commit)
	w.hide(tx, t.txn.XID)
	w.wake()
	return Committed{t.txn, t.end}, nil
}

// Advance writes n bytes of log that concern nobody here: another database's,
// or a table's that is not published.
func (w *World) Advance(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.head += cdc.LSN(max(n, 0))
	w.wake()
}

// Head is the end of the log: the cut that includes everything so far.
func (w *World) Head() cdc.LSN {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.head
}

// Log gives all transactions so far, in commit order.
func (w *World) Log() []Committed {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]Committed, len(w.log))
	for i, t := range w.log {
		list[i] = Committed{t.txn, t.end}
	}
	return list
}

// State is what a table held at a position: everything of transactions with
// Commit < lsn, and nothing else, by the text of Key. Rows of a table without
// a key are filed under all their values, copies with "#2", "#3"... after it.
// Nil where there was no such table.
func (w *World) State(name string, lsn cdc.LSN) map[string]Row {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.at(name, lsn)
	if c == nil {
		return nil
	}
	return c.byKey()
}

// Rows is State as a list, ordered by the text of Key.
func (w *World) Rows(name string, lsn cdc.LSN) []Row {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.at(name, lsn)
	if c == nil {
		return nil
	}
	return c.list()
}

// Relation is the table's shape at a position; nil where there was none.
func (w *World) Relation(name string, lsn cdc.LSN) *cdc.Relation {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.at(name, lsn)
	if c == nil {
		return nil
	}
	return c.rel
}

// at plays the log again, which is what makes it the truth. The caller uses
// the content before it lets go of w.mu, and does not alter it.
func (w *World) at(name string, lsn cdc.LSN) *content {
	if n := w.replay.next; n > 0 && w.log[n-1].txn.Commit >= lsn {
		w.replay.next = 0 // an earlier position than the last: from the beginning
	}
	if w.replay.next == 0 {
		w.replay.state = make(map[uint32]*content)
	}
	state := w.replay.state
	for ; w.replay.next < len(w.log); w.replay.next++ {
		t := w.log[w.replay.next]
		if t.txn.Commit >= lsn {
			break
		}
		for _, c := range t.changes {
			switch {
			case c.create:
				state[c.rel.OID] = newContent(c.rel)
			case c.drop:
				delete(state, c.rel.OID)
			default:
				if err := c.apply(state[c.rel.OID]); err != nil {
					w.violate("the log contradicts itself at %s: %v", t.txn.Commit, err)
				}
			}
		}
	}
	for _, c := range state {
		if sameName(c.rel, name) {
			return c
		}
	}
	return nil
}

// sameName compares with "schema.name", or with a name in public.
func sameName(rel *cdc.Relation, name string) bool {
	if !strings.Contains(name, ".") {
		name = "public." + name
	}
	return rel.String() == name
}

func (w *World) table(name string) (*table, error) {
	for _, t := range w.tables {
		if t.dropped == 0 && sameName(t.content.rel, name) {
			return t, nil
		}
	}
	return nil, fmt.Errorf("there is no table %s", name)
}

func (w *World) tableByOID(oid uint32) *table {
	for _, t := range w.tables {
		if t.oid == oid {
			return t
		}
	}
	return nil
}

func (w *World) violate(format string, args ...any) {
	w.violations = append(w.violations, fmt.Sprintf(format, args...))
}

// Violations lists what consumers have done that the contract of package cdc
// forbids; a test fails if there is any.
func (w *World) Violations() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.violations)
}

// Unreleased is the number of bytes of batches that nobody has released yet.
func (w *World) Unreleased() int { return int(w.alloc.held.Load()) }
