package cdctest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

// Driver does to a database what the conformance suite needs. All its tables
// have the columns id bigint (the primary key), n bigint and v text.
type Driver interface {
	// CreateTable makes an empty table in the schema public.
	CreateTable(t testing.TB, name string)
	// Exec runs the operations as one transaction, and returns when it is
	// committed.
	Exec(t testing.TB, ops ...Op)
	// Idle lets the server's log grow by something that is of no concern.
	Idle(t testing.TB)
	// Source gives a new handle that selects all tables made by CreateTable.
	// The suite closes it.
	Source(t testing.TB) cdc.Source
}

// OpKind is what an Op does.
type OpKind string

// The operations. Each concerns the row with Op.ID unless it says otherwise.
const (
	Insert    OpKind = "insert"     // a row of ID, N and V
	UpdateN   OpKind = "update"     // n becomes N; v is not named
	UpdateV   OpKind = "update v"   // v becomes V; n is not named
	UpdateKey OpKind = "update key" // id becomes N; v is not named
	Delete    OpKind = "delete"
	Truncate  OpKind = "truncate"   // the table
	AddColumn OpKind = "add column" // of type bigint, named V, without a default
)

// Op is an operation on a row or table.
type Op struct {
	Kind  OpKind
	Table string
	ID, N int64
	V     string
}

// suiteTimeout bounds each wait for a source that says nothing.
const suiteTimeout = 60 * time.Second

// TestSource holds a source to the contract of package cdc. open gives a
// driver with no tables and no slot, for each part of the suite, and cleans
// up by t.Cleanup.
func TestSource(t *testing.T, open func(t *testing.T) Driver) {
	parts := []struct {
		name string
		test func(*testing.T, *suite)
	}{
		{"Identity", testIdentity},
		{"SlotLifecycle", testSlot},
		{"SnapshotThenStream", testBoundary},
		{"LaterSnapshot", testLaterSnapshot},
		{"SnapshotOfChangedTable", testChangedTable},
		{"OrderAndWholeTransactions", testOrder},
		{"EveryOperation", testOperations},
		{"UnchangedValues", testUnchanged},
		{"AddedColumn", testAddedColumn},
		{"BigTransaction", testBigTransaction},
		{"DeliveredAgain", testAgain},
		{"FromEveryCut", testFrom},
		{"AckMovesTheSlot", testAck},
		{"BelowTheSlot", testBelowSlot},
		{"IdleCutAdvances", testIdle},
		{"CancelledContext", testCancel},
	}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			s := &suite{t: t, d: open(t), model: make(map[string]map[int64]Row)}
			s.table("a")
			s.table("b")
			s.table(markers)
			p.test(t, s)
		})
	}
}

// markers is the table whose inserts say that all before has been delivered.
const markers = "markers"

// suite is one part at work, with the model of what the tables hold.
type suite struct {
	t      *testing.T
	d      Driver
	src    cdc.Source
	rels   []*cdc.Relation
	model  map[string]map[int64]Row
	marker int64
}

func (s *suite) table(name string) {
	s.d.CreateTable(s.t, name)
	s.model[name] = make(map[int64]Row)
}

// exec runs a transaction, and does the same to the model.
func (s *suite) exec(ops ...Op) {
	s.d.Exec(s.t, ops...)
	for _, op := range ops {
		m := s.model[op.Table]
		switch op.Kind {
		case Insert:
			m[op.ID] = Row{"id": op.ID, "n": op.N, "v": op.V}
		case UpdateN:
			m[op.ID]["n"] = op.N
		case UpdateV:
			m[op.ID]["v"] = op.V
		case UpdateKey:
			m[op.N] = m[op.ID]
			m[op.N]["id"] = op.N
			delete(m, op.ID)
		case Delete:
			delete(m, op.ID)
		case Truncate:
			clear(m)
		case AddColumn: // rows that have it get it from their own changes
		}
	}
}

// requireEqual compares a replica with the model. Columns that the model does
// not know are left out.
func (s *suite) requireEqual(r *Replica) {
	s.t.Helper()
	for name, rows := range s.model {
		want := make(map[string]Row, len(rows))
		for id, row := range rows {
			want[fmt.Sprint(id)] = row
		}
		got := r.State(name)
		for _, row := range got {
			for column := range row {
				if !strings.Contains("id n v", column) {
					delete(row, column)
				}
			}
		}
		require.Equal(s.t, len(want), len(got), "rows of %s", name)
		require.Equal(s.t, want, got, "table %s", name)
	}
}

// attach gives a handle with everything published.
func (s *suite) attach() {
	s.src = s.handle()
	s.rels = s.relations()
	require.NoError(s.t, s.src.Publish(s.t.Context(), s.rels))
}

func (s *suite) handle() cdc.Source {
	src := s.d.Source(s.t)
	s.t.Cleanup(func() { require.NoError(s.t, src.Close()) })
	return src
}

func (s *suite) relations() []*cdc.Relation {
	rels, err := s.src.Tables(s.t.Context())
	require.NoError(s.t, err)
	require.Len(s.t, rels, len(s.model))
	for i, rel := range rels {
		require.NotNil(s.t, s.model[rel.Name], rel.Name)
		require.Equal(s.t, []int{0}, rel.Key)
		if i > 0 {
			require.Less(s.t, rels[i-1].Name, rel.Name, "tables are in order")
		}
	}
	return rels
}

// begin attaches, makes the slot, and copies everything.
func (s *suite) begin() *Replica {
	s.attach()
	sn, err := s.src.CreateSlot(s.t.Context())
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = s.src.DropSlot(context.Background()) })
	defer func() { require.NoError(s.t, sn.Close()) }()
	return s.copy(sn)
}

func (s *suite) copy(sn cdc.Snapshot) *Replica {
	require.NotZero(s.t, sn.Point())
	r := NewReplica(sn.Point())
	for _, rel := range s.rels {
		ranges, err := sn.Plan(s.t.Context(), rel)
		require.NoError(s.t, err)
		ids := make(map[string]bool)
		for _, rg := range ranges {
			require.False(s.t, ids[rg.ID], "range %s twice", rg.ID)
			ids[rg.ID] = true
			require.NoError(s.t, sn.Read(s.t.Context(), rel, rg, func(b *cdc.Batch) error {
				defer b.Release()
				return r.Load(b)
			}))
		}
	}
	return r
}

func (s *suite) stream(from cdc.LSN) cdc.Stream {
	st, err := s.src.Stream(s.t.Context(), from)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = st.Close() })
	return st
}

// mark commits a marker and gives its number.
func (s *suite) mark() int64 {
	s.marker++
	s.exec(Op{Kind: Insert, Table: markers, ID: s.marker})
	return s.marker
}

// delivery is what a stream gave up to a marker.
type delivery struct {
	events []Event
	cuts   []cdc.LSN // of the chunks, in order
	txns   int
}

// drain reads up to a marker and applies it all to r, if there is one. It
// checks what must hold of any stream.
func (s *suite) drain(st cdc.Stream, r *Replica, marker int64) delivery {
	s.t.Helper()
	var d delivery
	var at cdc.LSN // the marker's commit
	for at == 0 || d.cuts[len(d.cuts)-1] <= at {
		c := s.next(st)
		events, err := Events(c)
		require.NoError(s.t, err)
		if n := len(d.cuts); n > 0 {
			require.GreaterOrEqual(s.t, c.Cut, d.cuts[n-1], "the cut went back")
		}
		if r != nil {
			require.NoError(s.t, r.Apply(c))
		}
		require.LessOrEqual(s.t, c.Cut, st.Progress(), "the server is behind what it has sent")
		c.Release()
		for _, e := range events {
			if e.Relation.Name == markers && e.Row["id"] == marker {
				at = e.Txn.Commit
			}
		}
		d.events = append(d.events, events...)
		d.cuts = append(d.cuts, c.Cut)
		d.txns += c.Transactions
	}
	s.checkOrder(d.events)
	return d
}

// checkOrder: transactions come in commit order, and the changes of each
// table in the order in which they were made.
func (s *suite) checkOrder(events []Event) {
	s.t.Helper()
	last := make(map[uint32]Event)
	for i, b := range events {
		if i > 0 {
			a := events[i-1]
			require.LessOrEqual(s.t, a.Txn.Commit, b.Txn.Commit, "transactions out of order")
			if a.Txn.Commit == b.Txn.Commit {
				require.Equal(s.t, a.Txn, b.Txn, "one commit, two transactions")
			} else {
				require.NotEqual(s.t, a.Txn.XID, b.Txn.XID, "one transaction, two commits")
			}
		}
		if a, ok := last[b.Relation.OID]; ok {
			require.True(s.t, follows(a, b), "%s: %s/%d is followed by %s/%d", b.Relation, a.Txn.Commit, a.Seq, b.Txn.Commit, b.Seq)
		}
		last[b.Relation.OID] = b
	}
}

func (s *suite) next(st cdc.Stream) *cdc.Chunk {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), suiteTimeout)
	defer cancel()
	c, err := st.Next(ctx)
	require.NoError(s.t, err)
	return c
}
