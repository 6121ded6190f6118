package lakehouse_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/internal/crashpoint"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/lakehouse/epoch"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// simulation plays one history: a scripted source under a random workload, an
// engine over a store in memory, crashes of both. A seed is a history.
type simulation struct {
	t     *testing.T
	seed  uint64
	rng   *rand.Rand // of the workload
	fate  *rand.Rand // of what a crash leaves
	world *cdctest.World
	store *objstore.Memory
	// crash decides at each crash point whether to crash now.
	crash func(p crashpoint.Point) bool

	// flushBytes is small in some histories, so that transactions are staged
	// in parts.
	flushBytes int64

	crashed   []crashpoint.Point
	seen      map[seenKey]bool
	pending   chan struct{} // closed when the workload has ended
	commits   int           // transactions while engines run
	next      int64         // the next key
	ddl       bool          // columns come, go and change in this history
	watched   bool          // the source can be asked what no stream tells
	columns   int           // that were added
	kept      map[string]lakehouse.TableOptions
	repairing bool // tables are compared and repaired while the engine runs
	repaired  int  // how often
	// meanwhile is done while an engine runs, which ends with it; nil: nothing is.
	meanwhile func(ctx context.Context, e *lakehouse.Engine)
	// repairedAs is told of repairs; nil: nobody is.
	repairedAs func(e lakehouse.TableRepaired)
	damaged    map[string]int // versions that somebody else has made, by table: they equal nothing
	operated   bool           // an operator works on the tables
	tended     bool           // somebody else tends them
	masks      []masking
	config     int // of masks: that of the engine
	keys       map[[2]any]map[string]bool

	mu       sync.Mutex                 // guards what follows
	actions  int                        // that an operator did
	tendings int                        // that somebody else did
	dropped  map[string]bool            // tables that were, at some time
	hard     map[string]bool            // tables that keep no deleted rows any more
	permits  map[string]map[int]cdc.LSN // table -> configuration of masks -> from when on it may show
}

var simTables = []string{"orders", "pairs", "events", "audit", "bag"}

// TestSimulationCrashesEverywhere crashes the engine at every crash point, ten
// times each at different moments of different histories, and compares the
// lake with the source at every version that a reader could see.
func TestSimulationCrashesEverywhere(t *testing.T) {
	each, total := 10, 0
	if testing.Short() { // the race detector makes them take ten times as long
		each = 3
	}
	for _, p := range crashpoint.All() {
		t.Run(string(p), func(t *testing.T) {
			hit := 0
			for seed := uint64(0); hit < each && seed < uint64(4*each); seed++ {
				nth := 1 + int(seed%4)*int(seed%3)
				hit += len(runHistory(t, seed, crashAt(p, nth)))
			}
			require.GreaterOrEqual(t, hit, each, "the point was not reached often enough")
			t.Logf("%s: %d crashes", p, hit)
			total += hit
		})
	}
	t.Logf("%d crashes in all", total)
}

const (
	// envSimulation is the range of seeds that TestSimulationRandomCrashes and
	// TestSimulationRepairs play, "5000-6000"; one seed is played as "5000".
	envSimulation = "LAKELOAD_SIMULATION"
	// envPart is the part of it that this process plays, "1/2": every second seed,
	// from the second on. Where it is not set, there are as many processes as
	// processors: the points at which a history crashes belong to a process.
	envPart = "LAKELOAD_SIMULATION_PART"
)

// TestSimulationRandomCrashes crashes again and again at random points. A
// history is its seed.
func TestSimulationRandomCrashes(t *testing.T) {
	from, to := simSeeds(t, 1000, 1060, 1015)
	begun := time.Now()
	defer func() {
		t.Logf("%d histories, %.0f a minute", to-from, float64(to-from)/time.Since(begun).Minutes())
	}()
	part, parts := uint64(0), uint64(1)
	if text := os.Getenv(envPart); text != "" {
		_, err := fmt.Sscanf(text, "%d/%d", &part, &parts)
		require.NoError(t, err, envPart)
		require.Less(t, part, parts, envPart)
	} else if n := runtime.GOMAXPROCS(0); n > 1 && to-from >= 20 {
		playInProcesses(t, n, from, to)
		return
	}
	crashes, played, at := 0, 0, map[crashpoint.Point]bool{}
	for seed := from; seed < to && !t.Failed(); seed++ {
		// By more than its last digits: they say what a history has in it, and dear
		// ones would all be one process's.
		if seed*0x9E3779B97F4A7C15>>32%parts == part {
			for _, p := range runHistory(t, seed, crashRandomly(seed)) {
				crashes++
				at[p] = true
			}
			played++
		}
	}
	t.Logf("%d histories, %d crashes at %d of %d points", played, crashes, len(at), len(crashpoint.All()))
	require.Positive(t, crashes)
}

// simSeeds is the range of seeds that is played: that which is asked for, or from
// first up to end, or to few where time is short.
func simSeeds(t *testing.T, first, end, few uint64) (from, to uint64) {
	if testing.Short() {
		end = few
	}
	text := os.Getenv(envSimulation)
	if text == "" {
		return first, end
	}
	start, last, more := strings.Cut(text, "-")
	if !more {
		last = start
	}
	from, err1 := strconv.ParseUint(start, 10, 32)
	to, err2 := strconv.ParseUint(last, 10, 32)
	require.NoError(t, errors.Join(err1, err2), envSimulation)
	return from, to + 1
}

// playInProcesses plays the seeds in n processes of one processor each.
func playInProcesses(t *testing.T, n int, from, to uint64) {
	self, err := os.Executable()
	require.NoError(t, err)
	var wg sync.WaitGroup
	for i := range n {
		args := []string{"-test.run=^TestSimulationRandomCrashes$", "-test.v"}
		if until, ok := t.Deadline(); ok {
			args = append(args, fmt.Sprint("-test.timeout=", time.Until(until).Round(time.Second)))
		}
		cmd := exec.CommandContext(t.Context(), self, args...)
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1", fmt.Sprintf("%s=%d-%d", envSimulation, from, to-1), fmt.Sprintf("%s=%d/%d", envPart, i, n), "GODEBUG=memprofilerate=0")
		wg.Go(func() {
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("part %d of %d: %v\n%s", i, n, err, out)
				return
			}
			for line := range strings.Lines(string(out)) {
				if strings.Contains(line, "crashes") {
					t.Log(strings.TrimSpace(line))
				}
			}
		})
	}
	wg.Wait()
}

func crashAt(p crashpoint.Point, nth int) func(crashpoint.Point) bool {
	n := 0
	return func(at crashpoint.Point) bool {
		if at == p {
			n++
		}
		return at == p && n == nth
	}
}

// simCommits says how long a history is: most are short, as what goes wrong goes
// wrong around a crash, and what a history costs are its versions; some are long,
// for what takes many commits.
func simCommits(seed uint64) int {
	rng := rand.New(rand.NewPCG(seed, 11))
	if rng.IntN(16) == 0 {
		return 50 + rng.IntN(70)
	}
	return 8 + rng.IntN(24)
}

func crashRandomly(seed uint64) func(crashpoint.Point) bool {
	rng := rand.New(rand.NewPCG(seed, 7))
	left, rare := 1+rng.IntN(6), 2*simCommits(seed)
	return func(crashpoint.Point) bool {
		if left > 0 && rng.IntN(rare) == 0 {
			left--
			return true
		}
		return false
	}
}

// runHistory plays the history of a seed and tells where it crashed.
func runHistory(t *testing.T, seed uint64, crash func(crashpoint.Point) bool) (crashed []crashpoint.Point) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimulation(t, seed)
		s.crash = crash
		defer func() { // also of a requirement that ends the test
			if t.Failed() {
				t.Logf("seed %d, crashed at %v, %d repairs, %d actions, tended %d times", seed, s.crashed, s.repaired, s.actions, s.tendings)
			}
		}()
		s.run()
		s.verify()
		crashed = s.crashed
	})
	return crashed
}

func newSimulation(t *testing.T, seed uint64) *simulation {
	s := &simulation{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), fate: rand.New(rand.NewPCG(seed, 2)), store: objstore.NewMemory(), pending: make(chan struct{}), seen: map[seenKey]bool{}, seed: seed,
		world: cdctest.NewWorld(cdctest.Options{Seed: seed, RangeRows: 20, MaxRows: 40, KeyRows: int(seed%4) * 3, HideCommits: int(seed % 5)}),
		crash: func(crashpoint.Point) bool { return false },
	}
	if seed%2 == 1 {
		s.flushBytes = 3000
	}
	s.commits = simCommits(seed)
	s.ddl, s.watched, s.repairing = seed%3 == 0, seed%4 != 1, seed%5 == 2
	s.operated, s.tended, s.masks = operated(seed), tended(seed), simMasks(seed)
	s.keys = map[[2]any]map[string]bool{}
	s.dropped, s.hard, s.permits = map[string]bool{}, map[string]bool{}, map[string]map[int]cdc.LSN{}
	s.kept = simKept(seed, s.masks)
	s.create(cdctest.TableSpec{Name: "orders", Key: []string{"id"}, Columns: []cdc.Column{
		cdctest.Int64("id"), cdctest.Text("status"), cdctest.Decimal("total", 12, 2), cdctest.Text("note"),
	}})
	s.create(cdctest.TableSpec{Name: "pairs", Key: []string{"a", "b"}, Columns: []cdc.Column{
		cdctest.Text("a"), cdctest.Int64("b"), cdctest.Timestamp("at"),
	}})
	s.create(cdctest.TableSpec{Name: "events", InsertOnly: true, Columns: []cdc.Column{cdctest.Int64("n"), cdctest.Text("what")}})
	s.create(cdctest.TableSpec{Name: "audit", Key: []string{"id"}, Identity: cdc.IdentityFull, Columns: []cdc.Column{
		cdctest.Int64("id"), cdctest.Text("body"),
	}})
	s.create(cdctest.TableSpec{Name: "bag", Identity: cdc.IdentityFull, Columns: []cdc.Column{
		cdctest.Int64("n"), cdctest.Decimal("d", 12, 2), cdctest.Text("note"),
	}})
	for range 8 {
		s.commit()
	}
	return s
}

func (s *simulation) create(spec cdctest.TableSpec) {
	_, err := s.world.CreateTable(spec)
	require.NoError(s.t, err)
}

// run plays workload and engine, which is started again after every crash.
func (s *simulation) run() {
	defer s.crashing()()
	go func() {
		defer close(s.pending)
		for range s.commits {
			s.commit()
			time.Sleep(time.Duration(s.rng.IntN(120)) * time.Millisecond)
			if s.rng.IntN(8) == 0 {
				time.Sleep(40 * time.Second) // idle positions are recorded
			}
		}
	}()
	for again, n := true, 0; again; n++ {
		require.Less(s.t, n, 50, "engines are started again and again")
		select {
		case <-s.pending:
			again = false
		default:
		}
		if !again {
			s.restore()
		}
		if !s.engine(!again) { // the operator sees it
			again = s.restore()
			require.True(s.t, again, "no table is left, and none has stopped")
		}
		for len(s.crashed) > 0 && s.isCrashed() {
			s.store = s.store.Survivor(s.fate)
			again = true
			s.betweenEngines()
			s.tendOffline()
		}
		if !again && len(s.inPhase(lakehouse.PhasePaused, lakehouse.PhaseDropped, lakehouse.PhaseStopped)) > 0 {
			again = true // it has stopped now
		}
	}
}

// crashing has engines crash as the history says, until it is ended.
func (s *simulation) crashing() (end func()) {
	var mu sync.Mutex
	crashpoint.Set(func(p crashpoint.Point) {
		mu.Lock()
		defer mu.Unlock()
		if s.crash(p) {
			s.crashed = append(s.crashed, p)
			s.world.Crash()
			s.store.Crash()
		}
	})
	return func() { crashpoint.Set(nil) }
}

// repairs has tables compared and repaired in some histories, while the engine
// runs: nothing may differ. The engine may be at anything just then.
func (s *simulation) repairs(ctx context.Context, e *lakehouse.Engine) (stop func()) {
	if !s.repairing {
		return func() {}
	}
	rng := rand.New(rand.NewPCG(s.fate.Uint64(), 4))
	pause := func() time.Duration { return time.Duration(1+rng.IntN(60)) * time.Second }
	return nowAndThen(ctx, pause, func(ctx context.Context) {
		done, err := e.Repair(ctx, "public."+simTables[rng.IntN(len(simTables))], lakehouse.RepairOptions{})
		if err == nil && done.Keys != 0 && !s.isCrashed() {
			s.t.Errorf("%s differed from its source in %d keys at %s", done.Table, done.Keys, done.LSN)
		}
		if err == nil {
			s.repaired++
		}
		if errors.Is(err, lakehouse.ErrNotRepaired) && strings.Contains(err.Error(), "kept") {
			s.t.Errorf("a table is not repaired because of how it is kept: %v", err)
		}
	})
}

func (s *simulation) isCrashed() bool {
	_, err := s.store.Get(context.Background(), "x")
	return errors.Is(err, objstore.ErrCrashed)
}

// engine runs one engine until it crashes, or the workload ends, or (last)
// it is current. It is false where the engine found no table to follow.
func (s *simulation) engine(last bool) bool {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if !last {
		go func() {
			select {
			case <-s.pending:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	s.reconfigure(last)
	src := &pausing{Source: s.world.Source(), rng: rand.New(rand.NewPCG(s.fate.Uint64(), 3))}
	var source cdc.KeyReader = src
	if !s.watched {
		source = struct{ cdc.KeyReader }{src}
	}
	e, err := lakehouse.Open(ctx, lakehouse.Options{
		Source: source, Lake: s.store, Slot: "lakeload", Publication: "lakeload",
		FlushBytes: s.flushBytes, Freshness: 50 * time.Millisecond, CopyWorkers: 2, UntilCurrent: last, Checkpoints: tablefmt.CheckpointPolicy{MinCommits: 5 + int64(s.seed%11)}, Memory: 16 << 20, TargetFileSize: 1 << 20,
		OnSchemaChange: typemap.Policy{Drop: typemap.Follow, Type: typemap.Resync}, WatchInterval: 700 * time.Millisecond,
		Table: func(rel *cdc.Relation) lakehouse.TableOptions { return s.configure(rel.Name) },
		Events: lakehouse.Events{TableRepaired: s.repairedAs, TableStopped: func(e lakehouse.TableStopped) {
			if !s.isCrashed() && !s.refused(e.Table, e.Reason) {
				s.t.Errorf("table %s stopped: %s", e.Table, e.Reason)
			}
		}},
	})
	if err == nil {
		rest, leave, others := s.repairs(ctx, e), s.operates(ctx, e, last), s.othersTend(ctx, last)
		if s.meanwhile != nil {
			rest = beside(ctx, cancel, e, s.meanwhile)
		}
		err = e.Run(ctx)
		rest()
		leave()
		others()
		if closeErr := e.Close(); err == nil {
			err = closeErr
		}
	} else {
		_ = src.Close()
	}
	if err != nil && !s.isCrashed() {
		if (s.operated || s.masks != nil) && strings.Contains(err.Error(), "no table is left to follow") {
			return false
		}
		s.t.Fatalf("the engine ended: %v", err)
	}
	return true
}

// beside does something while an engine runs, and ends the engine with it.
func beside(ctx context.Context, end context.CancelFunc, e *lakehouse.Engine, do func(ctx context.Context, e *lakehouse.Engine)) (stop func()) {
	var wg sync.WaitGroup
	wg.Go(func() {
		defer end()
		do(ctx, e)
	})
	return func() { end(); wg.Wait() }
}

// pausing is a source whose stream pauses now and then, also inside a
// transaction.
type pausing struct {
	*cdctest.Source
	rng *rand.Rand
	mu  sync.Mutex // of rng
}

// fork gives a generator to one goroutine.
func (p *pausing) fork(stream uint64) *rand.Rand {
	p.mu.Lock()
	defer p.mu.Unlock()
	return rand.New(rand.NewPCG(p.rng.Uint64(), stream))
}

type pausingStream struct {
	cdc.Stream
	rng *rand.Rand
}

func (p *pausing) Stream(ctx context.Context, from cdc.LSN) (cdc.Stream, error) {
	st, err := p.Source.Stream(ctx, from)
	if err != nil {
		return nil, err
	}
	return &pausingStream{st, p.fork(5)}, nil
}

func (st *pausingStream) Next(ctx context.Context) (*cdc.Chunk, error) {
	if st.rng.IntN(3) == 0 {
		select {
		case <-time.After(time.Duration(st.rng.IntN(200)) * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return st.Stream.Next(ctx)
}

// BeginRead gives a read that takes its time.
func (p *pausing) BeginRead(ctx context.Context, rel *cdc.Relation, ranges cdc.KeyRanges) (cdc.KeyRead, error) {
	r, err := p.Source.BeginRead(ctx, rel, ranges)
	if err != nil {
		return nil, err
	}
	return &pausingRead{r, p.fork(4)}, nil
}

type pausingRead struct {
	cdc.KeyRead
	rng *rand.Rand
}

func (r *pausingRead) pause(ctx context.Context) {
	select {
	case <-time.After(time.Duration(r.rng.IntN(200)) * time.Millisecond):
	case <-ctx.Done():
	}
}

func (r *pausingRead) View(ctx context.Context) (cdc.View, error) {
	r.pause(ctx)
	v, err := r.KeyRead.View(ctx)
	r.pause(ctx)
	return v, err
}

func (r *pausingRead) Range(ctx context.Context, i int, emit func(*cdc.Batch) error) error {
	return r.KeyRead.Range(ctx, i, func(b *cdc.Batch) error {
		r.pause(ctx)
		return emit(b)
	})
}

// commit makes a random transaction.
func (s *simulation) commit() {
	n := 1 + s.rng.IntN(6)
	if s.rng.IntN(12) == 0 {
		n = 60 + s.rng.IntN(120)
	}
	_, err := s.world.Commit(func(tx *cdctest.Tx) error {
		for range n {
			if err := s.change(tx); err != nil {
				return err
			}
		}
		return nil
	})
	if !errors.Is(err, cdctest.ErrLocked) {
		require.NoError(s.t, err)
	}
}

// change makes a random change. The keys are few, so that rows are changed,
// moved, deleted and inserted again.
func (s *simulation) change(tx *cdctest.Tx) error {
	id := int64(s.rng.IntN(40))
	key := cdctest.Row{"id": id}
	pair := cdctest.Row{"a": fmt.Sprint("k", id%7), "b": id % 5, "at": time.UnixMicro(id)}
	note := func() any {
		switch s.rng.IntN(4) {
		case 0:
			return strings.Repeat(fmt.Sprint(100+s.rng.IntN(900)), 700) // stored out of line
		case 1:
			return nil
		}
		return fmt.Sprint("note ", s.rng.IntN(1000))
	}
	total := func() any {
		if s.rng.IntN(10) == 0 {
			return cdctest.Exact("NaN")
		}
		return fmt.Sprintf("%d.%02d", s.rng.IntN(1000), s.rng.IntN(100))
	}
	try := func(errs ...error) error { // the first that the table's content allows
		for _, err := range errs {
			if err == nil || errors.Is(err, cdctest.ErrLocked) {
				return err
			}
		}
		return nil
	}
	bag := func() cdctest.Row { // few, so that there are copies
		return cdctest.Row{"n": id % 3, "d": []any{nil, "1.50", cdctest.Exact("NaN")}[s.rng.IntN(3)], "note": []any{nil, strings.Repeat("x", 2500)}[s.rng.IntN(2)]}
	}
	if s.ddl && s.rng.IntN(25) == 0 {
		return try(s.alter(tx))
	}
	switch s.rng.IntN(15) {
	case 12:
		return try(tx.Delete("bag", bag()))
	case 13:
		return try(tx.Update("bag", bag(), bag()))
	case 14:
		return try(tx.Insert("bag", bag()), tx.Insert("bag", bag()))
	case 0, 1, 2:
		return try(tx.Insert("orders", cdctest.Row{"id": id, "status": "new", "total": total(), "note": note()}))
	case 3, 4:
		return try(tx.Update("orders", key, cdctest.Row{"status": fmt.Sprint("s", s.rng.IntN(9)), "total": total()}))
	case 5:
		return try(tx.Update("orders", key, cdctest.Row{"id": int64(s.rng.IntN(40))}))
	case 6:
		return try(tx.Delete("orders", key))
	case 7:
		return try(tx.Insert("pairs", pair))
	case 8:
		if s.rng.IntN(2) == 0 {
			return try(tx.Delete("pairs", pair))
		}
		return try(tx.Update("pairs", pair, cdctest.Row{"at": time.UnixMicro(s.rng.Int64N(1 << 40))}))
	case 9:
		if s.rng.IntN(15) == 0 {
			return try(tx.Truncate([]string{"orders", "events", "pairs", "audit"}[s.rng.IntN(4)]))
		}
		fallthrough
	case 10:
		s.next++
		return tx.Insert("events", cdctest.Row{"n": s.next, "what": fmt.Sprint("e", s.next)})
	default:
		if s.rng.IntN(3) == 0 {
			return try(tx.Delete("audit", key))
		}
		if err := tx.Insert("audit", cdctest.Row{"id": id, "body": note()}); err == nil {
			return nil
		}
		return try(tx.Update("audit", key, cdctest.Row{"body": note()}))
	}
}

// alter changes the columns of a table, and a row of it, so that the stream
// tells of it at once.
func (s *simulation) alter(tx *cdctest.Tx) error {
	table := []string{"orders", "pairs", "bag"}[s.rng.IntN(3)]
	rel := tx.Relation(table)
	var extra []string
	for _, c := range rel.Columns {
		if strings.HasPrefix(c.Name, "x") {
			extra = append(extra, c.Name)
		}
	}
	s.columns++
	name := fmt.Sprint("x", s.columns)
	var err error
	switch n := s.rng.IntN(6); {
	case n < 2 || len(extra) == 0:
		err = tx.AddColumn(table, cdctest.Text(name), []any{nil, "a value", cdctest.Exact("infinity")}[s.rng.IntN(3)])
	case n == 2:
		err = tx.FillColumn(table, cdctest.Int64(name), func(r cdctest.Row) any { return int64(len(fmt.Sprint(r))) })
	case n == 3:
		err = tx.DropColumn(table, extra[0])
	case n == 4:
		err = tx.RenameColumn(table, extra[0], name)
	default: // dropped and added again
		err = errors.Join(tx.DropColumn(table, extra[0]), tx.AddColumn(table, cdctest.Int64(extra[0]), int64(7)))
	}
	if err != nil {
		return err
	}
	s.next++
	row := map[string]cdctest.Row{
		"orders": {"id": 1000 + s.next, "status": "altered"}, "pairs": {"a": "altered", "b": 1000 + s.next}, "bag": {"n": 1},
	}[table]
	return tx.Insert(table, row)
}

// verify compares the lake with the source: at the end, at every epoch, and
// at every version of every mirror.
func (s *simulation) verify() {
	ctx := context.Background()
	require.Empty(s.t, s.world.Violations())
	log, err := epoch.Open(ctx, s.store, "default", "")
	require.NoError(s.t, err)
	epochs := epochsOf(s.t, s.store)
	require.NotEmpty(s.t, epochs)
	require.GreaterOrEqual(s.t, log.Position(), s.world.Head(), "the last position is not the source's end")
	require.Empty(s.t, epochs[len(epochs)-1].Incomplete, "the last epoch has every table")
	lake := map[string]*mirrorVersions{}
	for _, table := range simTables {
		lake[table] = readVersions(s.t, table, s.location(table), s.seed)
	}
	for _, e := range epochs {
		for _, table := range simTables {
			v, ok := e.Tables["public."+table]
			if missing := slices.Contains(e.Incomplete, "public."+table); ok == missing && (ok || !s.dropped[table]) {
				require.Fail(s.t, "an epoch has a table or lacks it", "epoch %d and %s: %t, %t", e.Number, table, ok, missing)
			}
			if ok {
				require.Less(s.t, int(v), len(lake[table].snaps), "epoch %d and %s", e.Number, table)
				s.compare(table, lake[table], int(v), e.LSN, fmt.Sprintf("epoch %d", e.Number))
			}
		}
	}
	for _, table := range simTables {
		m := lake[table]
		for v, snap := range m.snaps {
			s.compare(table, m, v, cutOf(s.t, snap), fmt.Sprintf("version %d", v))
		}
		s.compare(table, m, len(m.snaps)-1, s.world.Head(), atTheEnd)
		if s.kept[table].ChangeFeed == lakehouse.FeedOn {
			checkFeed(s.t, s.location(table), 0)
		}
	}
	s.checkChangelog()
}

func cutOf(t *testing.T, snap *tablefmt.Snapshot) cdc.LSN {
	var cut cdc.LSN
	for txn := range snap.Txns() {
		cut = max(cut, cdc.LSN(txn.Version))
	}
	require.NotZero(t, cut)
	return cut
}

func (s *simulation) location(table string) tablefmt.Location {
	return tablefmt.Location{Data: objstore.Sub(s.store, lakehouse.MirrorPath("public", table))}
}

// compare holds a version of a mirror against the source at a position.
func (s *simulation) compare(table string, m *mirrorVersions, version int, lsn cdc.LSN, where string) {
	key := seenKey{table, version, lsn}
	if v, damaged := s.damaged[table]; s.seen[key] || damaged && v == version {
		return
	}
	s.seen[key] = true
	rows := m.rows(s.t, version)
	var want, got map[string]int
	var wrong string // about rows that are kept
	for config := range max(len(s.masks), 1) {
		if from, is := s.permits[table][config]; s.masks != nil && (!is || from > lsn || where == atTheEnd && config != s.config) {
			continue
		}
		want, got = s.sourceRows(table, lsn, config), rows
		if s.kept[table].Delete != "" {
			got, wrong = s.withoutKept(table, m, version, config, want, got)
		}
		if wrong == "" && maps.Equal(want, got) { // which says it at less cost than the comparison that tells what differs
			return
		}
	}
	require.Equal(s.t, want, got, "%s, %s (version %d, %s), configurations permitted from %v on", table, where, version, lsn, s.permits[table])
	require.Empty(s.t, wrong, "%s, %s (version %d, %s)", table, where, version, lsn)
	require.NotNil(s.t, want, "%s may show nothing, %s (version %d, %s): %v", table, where, version, lsn, s.permits[table])
}

const atTheEnd = "at the end"

// seenKey is a comparison.
type seenKey struct {
	table   string
	version int
	lsn     cdc.LSN
}
