package lakehouse_test

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/lakehouse/epoch"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// rig is a scripted source, a lake in memory and the engines that a test runs
// between them, one after the other.
type rig struct {
	t     *testing.T
	world *cdctest.World
	store objstore.Store
	// options changes the options of the engines that are opened next.
	options func(o *lakehouse.Options)
	// source gives the source of the engines that are opened next.
	source func() cdc.Source
	policy typemap.Policy

	mu     sync.Mutex // guards what follows
	stops  []string   // the tables that stopped, in order
	copies []string   // the tables that were copied, in order

	running *lakehouse.Engine // the one that was opened last
}

func newRig(t *testing.T, specs ...cdctest.TableSpec) *rig {
	return newRigOf(t, cdctest.Options{Seed: 1, MaxRows: 40}, specs...)
}

// newRigOf is newRig with a source that behaves as the options say.
func newRigOf(t *testing.T, o cdctest.Options, specs ...cdctest.TableSpec) *rig {
	r := &rig{t: t, store: objstore.NewMemory(), world: cdctest.NewWorld(o)}
	r.source = func() cdc.Source { return r.world.Source() }
	r.options = func(*lakehouse.Options) {}
	for _, s := range specs {
		_, err := r.world.CreateTable(s)
		require.NoError(t, err)
	}
	return r
}

// keyed and keyless are small tables of a number and a text.
func keyed(name string) cdctest.TableSpec {
	return cdctest.TableSpec{Name: name, Key: []string{"id"}, Columns: []cdc.Column{cdctest.Int64("id"), cdctest.Text("v")}}
}

func keyless(name string) cdctest.TableSpec {
	return cdctest.TableSpec{Name: name, InsertOnly: true, Columns: []cdc.Column{cdctest.Int64("id"), cdctest.Text("v")}}
}

// bag is a table without a key whose rows are changed all the same.
func bag(name string) cdctest.TableSpec {
	return cdctest.TableSpec{Name: name, Identity: cdc.IdentityFull, Columns: keyed(name).Columns}
}

// tx commits a transaction at the source.
func (r *rig) tx(changes func(tx *cdctest.Tx) error) {
	r.t.Helper()
	_, err := r.world.Commit(changes)
	require.NoError(r.t, err)
}

// tableOptions has engines keep tables otherwise than they were told to before.
func (r *rig) tableOptions(change func(rel *cdc.Relation, o *lakehouse.TableOptions)) {
	options := r.options
	r.options = func(o *lakehouse.Options) {
		options(o)
		table := o.Table
		o.Table = func(rel *cdc.Relation) lakehouse.TableOptions {
			to := table(rel)
			change(rel, &to)
			return to
		}
	}
}

// tableOptionsOf has the engines keep every table so.
func (r *rig) tableOptionsOf(to lakehouse.TableOptions) {
	options := r.options
	r.options = func(o *lakehouse.Options) {
		options(o)
		o.Table = func(*cdc.Relation) lakehouse.TableOptions { return to }
	}
}

// bothModes has the engines keep the changelog and the mirror of every table.
func (r *rig) bothModes() {
	r.tableOptionsOf(lakehouse.TableOptions{Modes: []lakehouse.Mode{lakehouse.ModeChangelog, lakehouse.ModeMirror}})
}

// insert adds rows with the ids from first up to, and without, end, in one
// transaction.
func (r *rig) insert(table string, first, end int) {
	r.t.Helper()
	r.tx(func(tx *cdctest.Tx) error {
		for id := first; id < end; id++ {
			if err := tx.Insert(table, cdctest.Row{"id": id, "v": fmt.Sprint("v", id)}); err != nil {
				return err
			}
		}
		return nil
	})
}

// update gives one row another text.
func (r *rig) update(table string, id int, v string) {
	r.t.Helper()
	r.tx(func(tx *cdctest.Tx) error { return tx.Update(table, cdctest.Row{"id": id}, cdctest.Row{"v": v}) })
}

// breakShape changes a table's columns in a way that its mirror is not to
// follow.
func (r *rig) breakShape(table string, id int) {
	r.t.Helper()
	r.policy.Add = typemap.Stop
	r.tx(func(tx *cdctest.Tx) error {
		if err := tx.AddColumn(table, cdctest.Text("n"), "default"); err != nil {
			return err
		}
		return tx.Insert(table, cdctest.Row{"id": id, "v": "x", "n": "y"})
	})
}

// engine runs an engine and gives what Open or Run gave.
func (r *rig) engine(ctx context.Context, untilCurrent bool) error {
	opt := lakehouse.Options{
		Source: r.source(), Lake: r.store, Slot: "s", Publication: "p",
		OnSchemaChange: r.policy,
		Freshness:      50 * time.Millisecond, UntilCurrent: untilCurrent, Memory: 16 << 20, TargetFileSize: 1 << 20,
		Events: lakehouse.Events{
			TableStopped: func(e lakehouse.TableStopped) {
				r.t.Logf("%s stopped: %s", e.Table, e.Reason)
				r.note(&r.stops, e.Table)
			},
			TableResync:  func(e lakehouse.TableResync) { r.t.Logf("%s is copied again: %s", e.Table, e.Reason) },
			CopyFinished: func(e lakehouse.CopyFinished) { r.note(&r.copies, e.Table) },
		},
	}
	r.options(&opt)
	e, err := lakehouse.Open(ctx, opt)
	if err != nil {
		_ = opt.Source.Close()
		return err
	}
	r.mu.Lock()
	r.running = e
	r.mu.Unlock()
	err = e.Run(ctx)
	if closeErr := e.Close(); err == nil {
		err = closeErr
	}
	return err
}

func (r *rig) note(list *[]string, table string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*list = append(*list, table)
}

// copied gives the tables that were copied since it was asked last.
func (r *rig) copied() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.copies
	r.copies = nil
	return list
}

// stopped gives the tables that stopped since it was asked last.
func (r *rig) stopped() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.stops
	r.stops = nil
	return list
}

// catchUp runs an engine until the lake is current.
func (r *rig) catchUp() {
	r.t.Helper()
	require.NoError(r.t, r.engine(r.t.Context(), true))
	require.Empty(r.t, r.world.Violations())
}

// start runs an engine until the function that it gives is called, which
// gives what Run gave. The test is in a synctest bubble.
func (r *rig) start() (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.engine(ctx, false) }()
	time.Sleep(10 * time.Second) // what was there is copied
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	r.t.Cleanup(func() { _ = stop() }) // of a test that failed before
	return stop
}

func (r *rig) resync(table string) {
	r.t.Helper()
	r.world.Advance(100) // a server writes log when a snapshot is made
	require.NoError(r.t, lakehouse.Resync(r.t.Context(), r.store, "default", "public."+table))
}

// mend resyncs a table and runs an engine; then the table is as the source's.
func (r *rig) mend(table string) {
	r.t.Helper()
	r.resync(table)
	r.copied()
	r.stopped()
	r.catchUp()
	require.Equal(r.t, []string{"public." + table}, r.copied())
	require.Empty(r.t, r.stopped())
	require.Equal(r.t, lakehouse.PhaseLive, r.state(table).Phase)
	r.same(table)
}

// state is what the lake records of a table.
func (r *rig) state(table string) lakehouse.TableState {
	r.t.Helper()
	st, err := lakehouse.ReadState(r.t.Context(), r.store, "default")
	require.NoError(r.t, err)
	i := slices.IndexFunc(st.Tables, func(t lakehouse.TableState) bool { return t.Table == table })
	require.GreaterOrEqual(r.t, i, 0, "the lake's state has no table %s", table)
	return st.Tables[i]
}

// staysStopped requires that a table is stopped and waits for a resync.
func (r *rig) staysStopped(table string) {
	r.t.Helper()
	st := r.state(table)
	require.Equal(r.t, lakehouse.PhaseStopped, st.Phase)
	require.True(r.t, st.NeedsCopy, "it would be taken up again: %s", st.Reason)
	require.NotEmpty(r.t, st.Reason)
	require.Contains(r.t, st.Remedy, "resync")
}

func (r *rig) lastEpoch() epoch.Epoch {
	r.t.Helper()
	log, err := epoch.Open(r.t.Context(), r.store, "default", "")
	require.NoError(r.t, err)
	e, ok := log.Last()
	require.True(r.t, ok)
	return e
}

// acknowledged is the position up to which the source keeps nothing more.
func (r *rig) acknowledged() cdc.LSN {
	r.t.Helper()
	src := r.world.Source()
	slot, err := src.Slot(r.t.Context())
	require.NoError(r.t, err)
	require.NoError(r.t, src.Close())
	return slot.ConfirmedFlush
}

func (r *rig) mirror(table string) tablefmt.Location {
	return tablefmt.Location{Data: objstore.Sub(r.store, lakehouse.MirrorPath("public", table))}
}

func (r *rig) changelog(table string) tablefmt.Location {
	return tablefmt.Location{Data: objstore.Sub(r.store, lakehouse.ChangelogPath("public", table))}
}

// rows are the rows of the newest version of a table of the lake.
func (r *rig) rows(loc tablefmt.Location) map[string]int {
	r.t.Helper()
	snap, err := tablefmt.Load(r.t.Context(), loc)
	require.NoError(r.t, err)
	return lakeRows(r.t, snap)
}

// same requires that mirrors equal their sources.
func (r *rig) same(tables ...string) {
	r.t.Helper()
	for _, table := range tables {
		require.Equal(r.t, sourceRows(r.world, table, r.world.Head()), r.rows(r.mirror(table)), "table %s", table)
	}
}

func count(rows map[string]int) int {
	n := 0
	for _, c := range rows {
		n += c
	}
	return n
}

// sourceRows are a table's rows at a position: the text of each and how often
// it is there.
func sourceRows(w *cdctest.World, table string, lsn cdc.LSN) map[string]int {
	rows, rel := map[string]int{}, w.Relation(table, lsn)
	if rel == nil {
		return rows
	}
	names := sortedNames(rel.Arrow())
	for _, row := range w.Rows(table, lsn) {
		rows[rowText(names, row)]++
	}
	return rows
}

// lakeRows are a snapshot's rows, in the texts of sourceRows.
func lakeRows(t *testing.T, snap *tablefmt.Snapshot) map[string]int {
	t.Helper()
	rows := map[string]int{}
	eachLakeRow(t, snap, func(text string, deleted bool) {
		if !deleted {
			rows[text]++
		}
	})
	return rows
}

// lakeRow is a row of the lake in the source's columns, and whether it is kept
// although the source has deleted it.
type lakeRow struct {
	text    string
	key     string // where it is asked for
	deleted bool
}

// eachLakeRow gives the rows of a snapshot.
func eachLakeRow(t *testing.T, snap *tablefmt.Snapshot, row func(text string, deleted bool)) {
	t.Helper()
	err := snap.Scan(context.Background(), tablefmt.ScanOptions{}, func(rec arrow.RecordBatch) error {
		for _, r := range rowsOfRecord(snap.Schema(), rec) {
			row(r.text, r.deleted)
		}
		return nil
	})
	require.NoError(t, err)
}

// rowsOfRecord are the rows of a record in the source's columns.
func rowsOfRecord(schema *tablefmt.Schema, rec arrow.RecordBatch) []lakeRow {
	var fields []arrow.Field
	var cols []arrow.Array
	var deleted *array.Boolean
	for i, f := range rec.Schema().Fields() {
		field, ok := schema.Field(f.Name)
		switch {
		case f.Name == "_deleted":
			deleted = rec.Column(i).(*array.Boolean)
		case !ok || !isAdded(&field):
			fields, cols = append(fields, f), append(cols, rec.Column(i))
		}
	}
	own := array.NewRecordBatch(arrow.NewSchema(fields, nil), cols, rec.NumRows())
	defer own.Release()
	rows := make([]lakeRow, rec.NumRows())
	for i, text := range recordTexts(own) {
		rows[i] = lakeRow{text: text, deleted: deleted != nil && deleted.Value(i)}
	}
	return rows
}

func isAdded(f *tablefmt.Field) bool {
	_, added := typemap.Added(f)
	return added
}

// sortedNames are the columns' names in an order that does not depend on
// theirs: a column that is made anew comes last in the one and not in the
// other.
func sortedNames(s *arrow.Schema) []string {
	var names []string
	for _, f := range s.Fields() {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	return names
}

// rowText and recordTexts write a row of the source, and those of the lake,
// alike.
func rowText(names []string, row cdctest.Row) string {
	var b []byte
	for _, name := range names {
		b = append(append(b, name...), '=')
		switch v := row[name].(type) {
		case nil:
			b = append(b, "NULL"...)
		case cdctest.Exact:
			b = append(append(b, "exact "...), v...)
		case string:
			b = appendText(b, v)
		case int64:
			b = strconv.AppendInt(b, v, 10)
		case time.Time:
			b = strconv.AppendInt(b, v.UnixMicro(), 10)
		default:
			b = fmt.Append(b, v)
		}
		b = append(b, ';')
	}
	return string(b)
}

// appendText appends a value; of a long one its beginning, and a hash of all of
// it: rows are compared, and kept, by the thousand.
func appendText(b []byte, v string) []byte {
	if len(v) <= 128 {
		return append(b, v...)
	}
	return fmt.Appendf(b, "%s... (%d bytes, %x)", v[:32], len(v), maphash.String(textSeed, v))
}

var textSeed = maphash.MakeSeed()

func recordTexts(rec arrow.RecordBatch) []string {
	names := slices.DeleteFunc(sortedNames(rec.Schema()), func(name string) bool { return name == "_lakeload_exact" })
	cols := make([]arrow.Array, len(names))
	for i, name := range names {
		cols[i] = rec.Column(rec.Schema().FieldIndices(name)[0])
	}
	var exacts *array.Map
	if at := rec.Schema().FieldIndices("_lakeload_exact"); len(at) == 1 {
		exacts = rec.Column(at[0]).(*array.Map)
	}
	texts := make([]string, rec.NumRows())
	var b []byte
	for row := range texts {
		b = b[:0]
		for i, name := range names {
			b = append(append(b, name...), '=')
			b = append(appendValue(b, cols[i], exacts, name, row), ';')
		}
		texts[row] = string(b)
	}
	return texts
}

func appendValue(b []byte, a arrow.Array, exacts *array.Map, name string, row int) []byte {
	if exacts != nil && !exacts.IsNull(row) {
		keys, items := exacts.Keys().(*array.String), exacts.Items().(*array.String)
		for start, end := exacts.ValueOffsets(row); start < end; start++ {
			if keys.Value(int(start)) == name {
				return append(append(b, "exact "...), items.Value(int(start))...)
			}
		}
	}
	if a.IsNull(row) {
		return append(b, "NULL"...)
	}
	switch a := a.(type) {
	case *array.String:
		return appendText(b, a.Value(row))
	case *array.Int64:
		return strconv.AppendInt(b, a.Value(row), 10)
	case *array.Timestamp:
		return strconv.AppendInt(b, int64(a.Value(row)), 10)
	case *array.Decimal128:
		return append(b, a.Value(row).ToString(a.DataType().(*arrow.Decimal128Type).Scale)...)
	}
	return append(b, a.ValueStr(row)...)
}

// epochsOf gives the recorded epochs, in order.
func epochsOf(t *testing.T, store objstore.Store) (epochs []epoch.Epoch) {
	t.Helper()
	log, err := epoch.Open(context.Background(), store, "default", "")
	require.NoError(t, err)
	for e, err := range log.From(context.Background(), 0) {
		require.NoError(t, err)
		epochs = append(epochs, e)
	}
	return epochs
}
