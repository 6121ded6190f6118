package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/time/rate"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cmd/lakeload/admin"
	"github.com/lakeload/lakeload/cmd/lakeload/config"
	"github.com/lakeload/lakeload/cmd/lakeload/human"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/lakehouse/where"
	"github.com/lakeload/lakeload/tablefmt"
)

// The results of a table's comparison.
const (
	verifyEqual   = "equal"
	verifyDiffers = "differs"
	verifySkipped = "skipped" // it cannot be compared, or not now
)

// verifyJSON is what `verify -o json` prints.
type verifyJSON struct {
	Pipeline string            `json:"pipeline"`
	LSN      cdc.LSN           `json:"lsn"` // that both sides show
	Epoch    int64             `json:"epoch"`
	Tables   []verifyTableJSON `json:"tables"`
}

type verifyTableJSON struct {
	Table   string `json:"table"`
	Result  string `json:"result"`
	Version int64  `json:"version"` // of the lake's table
	Reason  string `json:"reason,omitempty"`
	*lakehouse.AuditResult
	ElapsedNS time.Duration `json:"elapsed_ns"`
}

// verifyFlags are the flags of verify.
type verifyFlags struct {
	source      sourceFlags
	lake        string
	cacheDir    string
	atRest      bool
	differences int
	workers     int
	where       string
	sample      string
	seed        string
	rate        string

	audit lakehouse.Audit // what these say of every audit
}

func newVerifyCommand(c *console) *cobra.Command {
	f := &verifyFlags{source: sourceFlags{c: c}}
	cmd := &cobra.Command{
		Use:   "verify [TABLE...]",
		Short: "Compare the source with the lake, row by row, at one position",
		Long: `Takes a snapshot of the source, has the running engine show exactly what the snapshot
shows, and compares every row: nothing has to stand still for it, and nothing is
written to the source. The engine holds the stream for as long as the snapshot takes
to begin, some milliseconds as a rule. Where rows differ it names them, and the exit
code is 5. It is 0 only when all tables were compared and are equal; tables of which
updates are not published are left out, unless they are named.

--where 'status = ''open'' AND total > 5' compares some rows only: comparisons of
columns with literals, BETWEEN, IN, IS NULL, AND, OR and NOT, with one meaning on
both sides (texts compare by their bytes). A row for which it holds on one side only
differs. --sample 1% compares the rows of some keys, the same on both sides; a
--seed, which is told, chooses them. Both sides are read whole all the same: it saves
hashing, not reading. --rate bounds what is read a second.

TABLE is schema.table of the lake; none means all. Without a running engine,
--at-rest compares with what the lake shows: right only if nothing has changed at
the source since.`,
		Example: `  lakeload verify --source postgres://loader@db/shop --lake ./lake
  lakeload verify public.orders -c lakeload.yaml -o json`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), c, args) },
	}
	flags := cmd.Flags()
	f.source.registerSlot(flags)
	flags.StringVar(&f.lake, "lake", "", "the lake's folder")
	flags.StringVar(&f.cacheDir, "cache-dir", "", "the engine's --cache-dir, where it has one: its socket lies there")
	flags.BoolVar(&f.atRest, "at-rest", false, "no engine runs: compare with what the lake shows")
	flags.IntVar(&f.differences, "differences", 100, "how many differences are told of each table at most")
	flags.StringVar(&f.where, "where", "", "compare only the rows for which this holds, as \"id BETWEEN 5 AND 9 AND state <> 'done'\"")
	flags.StringVar(&f.sample, "sample", "", "compare only the rows of a share of the keys, as 1%")
	flags.StringVar(&f.seed, "seed", "", "which sample; default: another one each time")
	flags.StringVar(&f.rate, "rate", "", "read at most so many bytes of rows a second, as 50MiB")
	flags.IntVar(&f.workers, "workers", 2, "how many parts of a table are read at a time")
	return cmd
}

func (f *verifyFlags) run(ctx context.Context, c *console, args []string) error {
	if f.differences < 1 || f.workers < 1 {
		return usageErrorf("give a number of at least 1", "--differences and --workers cannot be less than 1")
	}
	if err := f.readAudit(); err != nil {
		return err
	}
	s, err := f.source.resolve()
	if err != nil {
		return err
	}
	s.postgres.Connections = max(s.postgres.Connections, f.workers)
	lakeFlags := lakeFlags{c: c, lake: first(f.lake, s.conf.Lake.URL), name: s.name}
	store, err := lakeFlags.store()
	if err != nil {
		return err
	}
	defer store.Close()
	lake, err := lakehouse.OpenLake(ctx, store, s.name)
	if err != nil {
		return err
	}
	tables, err := chosenTables(lake, args)
	if err != nil {
		return err
	}
	n := newNarrator(c)
	defer n.close()
	source, err := s.open(ctx, n.log)
	if err != nil {
		return err
	}
	defer source.Close()
	options, err := tableOptions(s.conf, nil)
	if err != nil {
		return err
	}
	v := &verification{
		flags: f, source: lakehouse.MaskedSource(source, lake.State(), options), options: options, lake: lake, log: n.log, named: len(args) > 0,
	}
	if !f.atRest {
		v.engine = admin.NewClient(admin.SocketPath(first(f.cacheDir, cacheFolder(store.URL(), s.name))))
		defer v.engine.Close()
	}
	result, err := v.run(ctx, tables)
	if err != nil {
		return err
	}
	if err := c.print(result, func(w io.Writer) error { return result.write(w) }); err != nil {
		return err
	}
	return result.failure()
}

// readAudit reads the flags that say which rows are compared, and how.
func (f *verifyFlags) readAudit() (err error) {
	f.audit = lakehouse.Audit{Workers: f.workers, Differences: f.differences, Seed: f.seed}
	if f.where != "" {
		if f.audit.Where, err = parseWhere(f.where); err != nil {
			return err
		}
	}
	if f.sample != "" {
		share, ok := strings.CutSuffix(f.sample, "%")
		percent, err := strconv.ParseFloat(share, 64)
		if !ok || err != nil || !(percent > 0 && percent < 100) {
			return usageErrorf("write it as 1% or 0.5%", "--sample %q is no share between 0%% and 100%%", f.sample)
		}
		f.audit.Sample = percent / 100
	}
	if f.seed != "" && f.sample == "" {
		return usageErrorf("give --sample too, as --sample 1%", "--seed chooses a sample, and none is asked for")
	}
	if f.rate != "" {
		n, err := config.ParseSize(f.rate)
		if err != nil || n < 1024 || n > math.MaxInt32 {
			return usageErrorf("write it as 512KiB or 50MiB", "--rate %q is no number of bytes from 1KiB to 2047MiB", f.rate)
		}
		f.audit.Rate = rate.NewLimiter(rate.Limit(n), int(max(n/4, 1024)))
	}
	return nil
}

// parseWhere reads a condition of the command line.
func parseWhere(text string) (*where.Condition, error) {
	c, err := where.Parse(text)
	if err != nil {
		return nil, usageErrorf(`compare columns with literals, as in: id BETWEEN 5 AND 9 AND state <> 'done'`, "--where: %w", err)
	}
	return c, nil
}

// chosenTables are the mirrors that are meant.
func chosenTables(lake *lakehouse.Lake, names []string) (list []lakehouse.LakeTable, err error) {
	for _, name := range names {
		t, err := lake.Table(name)
		if err != nil {
			return nil, err
		}
		if t.Mode != lakehouse.ModeMirror {
			return nil, usageErrorf("name the mirror of the table, if it has one", "%s is a %s: it is not to equal the source", name, t.Mode)
		}
		list = append(list, t)
	}
	if len(names) > 0 {
		return list, nil
	}
	for _, t := range lake.Tables() {
		if t.Mode == lakehouse.ModeMirror && t.State.Followed() {
			list = append(list, t)
		}
	}
	return list, nil
}

// verification compares tables at one position.
type verification struct {
	flags  *verifyFlags
	source cdc.Source // masked, as the lake is
	lake   *lakehouse.Lake
	// options say how tables are kept, by the configuration.
	options func(*cdc.Relation) lakehouse.TableOptions
	engine  *admin.Client // nil: the lake is at rest
	log     *slog.Logger
	named   bool // the tables were
}

func (v *verification) run(ctx context.Context, tables []lakehouse.LakeTable) (*verifyJSON, error) {
	rels, err := v.source.Tables(ctx)
	if err != nil {
		return nil, err
	}
	snap, cut, err := v.cut(ctx)
	if err != nil {
		return nil, err
	}
	defer snap.Close()
	result := &verifyJSON{Pipeline: v.lake.State().Pipeline, LSN: snap.Point(), Epoch: cut.Epoch, Tables: []verifyTableJSON{}}
	for _, t := range tables {
		begun := time.Now()
		one := verifyTableJSON{Table: t.Name, Result: verifySkipped}
		i := slices.IndexFunc(rels, func(r *cdc.Relation) bool { return r.OID == t.State.OID })
		version, shown := cut.Tables[t.Name]
		switch {
		case i < 0:
			one.Reason = "the source has no such table, or this user may not see it"
		case !shown && v.engine != nil:
			one.Reason = "the lake does not show it: it is being copied, or has stopped; `lakeload status` says why"
		default:
			if err := lakehouse.CheckSalt(&t.State, rels[i], v.options); err != nil {
				return nil, err
			}
			one.Version = version
			if err := v.table(ctx, &one, t, rels[i], snap); err != nil {
				return nil, err
			}
		}
		one.ElapsedNS = time.Since(begun)
		v.log.Info("compared", "table", t.Name, "result", one.Result, "elapsed", one.ElapsedNS.Round(time.Millisecond))
		if one.Reason == insertOnlyReason && !v.named {
			continue
		}
		result.Tables = append(result.Tables, one)
	}
	return result, nil
}

const insertOnlyReason = "updates and deletes of it are not published: it has no key and no REPLICA IDENTITY FULL"

// cut takes a snapshot of the source, and what the lake shows at its point.
func (v *verification) cut(ctx context.Context) (snap cdc.Snapshot, cut lakehouse.Cut, err error) {
	take := func(ctx context.Context) (at cdc.LSN, err error) {
		if snap, err = v.source.Snapshot(ctx); err != nil {
			return 0, err
		}
		return snap.Point(), nil
	}
	if v.engine == nil {
		if _, err = take(ctx); err != nil {
			return nil, cut, err
		}
		last, err := v.lake.Epoch(ctx, lakehouse.At{})
		if err != nil {
			_ = snap.Close()
			return nil, cut, err
		}
		return snap, lakehouse.Cut{Epoch: last.Number, Tables: last.Tables}, nil
	}
	if cut, err = v.engine.Cut(ctx, take); err != nil {
		if snap != nil {
			_ = snap.Close()
		}
		if errors.Is(err, admin.ErrNoEngine) {
			return nil, cut, failedf("start `lakeload run` on this machine and try again; where nothing changes at the source, --at-rest compares without one",
				"the lake has to show what the source's snapshot shows, and needs its engine for that: %w", err)
		}
		return nil, cut, err
	}
	return snap, cut, nil
}

func (v *verification) table(ctx context.Context, one *verifyTableJSON, t lakehouse.LakeTable, rel *cdc.Relation, snap cdc.Snapshot) error {
	loc := v.lake.Location(t)
	lake, err := tablefmt.Load(ctx, loc)
	if err == nil && v.engine == nil {
		one.Version = lake.Version()
	} else if err == nil {
		if one.Reason, err = v.foreign(ctx, t, lake, one.Version); err == nil && lake.Version() != one.Version {
			lake, err = tablefmt.LoadAt(ctx, loc, one.Version)
		}
	}
	if errors.Is(err, tablefmt.ErrNoTable) {
		one.Reason = "it is still being copied"
		return nil
	}
	if err != nil {
		return explainTable(err, t.Name)
	}
	var told atomic.Int64
	told.Store(time.Now().UnixNano())
	a := v.flags.audit
	a.Relation, a.Source, a.Lake = rel, snap, lake
	a.Progress = func(source, lake int64) {
		now, last := time.Now(), told.Load()
		if now.Sub(time.Unix(0, last)) > 5*time.Second && told.CompareAndSwap(last, now.UnixNano()) {
			v.log.Info("comparing", "table", t.Name, "source_rows", source, "lake_rows", lake)
		}
	}
	result, err := a.Run(ctx)
	switch {
	case errors.Is(err, lakehouse.ErrNotAudited):
		one.Reason = insertOnlyReason
		return nil
	case errors.Is(err, lakehouse.ErrCondition) && !v.named:
		one.Reason = "the condition does not fit its columns"
		return nil
	case errors.Is(err, lakehouse.ErrCondition):
		return usageErrorf("name the tables that have the columns, and see `lakeload describe TABLE`", "--where: %w", err)
	case errors.Is(err, cdc.ErrTableChanged):
		one.Reason = "it was altered while it was compared; try again"
		return nil
	case err != nil:
		return err
	}
	one.AuditResult, one.Result = result, verifyDiffers
	if result.Equal && one.Reason == "" {
		one.Result = verifyEqual
	}
	return nil
}

// foreign says what another program has made of a table after the version that
// is compared, which readers see and the comparison does not; "" for nothing.
func (v *verification) foreign(ctx context.Context, t lakehouse.LakeTable, newest *tablefmt.Snapshot, version int64) (string, error) {
	since := newest.Version() - version
	if since <= 0 {
		return "", nil
	}
	commits, err := tablefmt.History(ctx, newest.Location(), int(since))
	if err != nil {
		return "", err
	}
	ours := fmt.Sprintf("%s/%d/", v.lake.State().Incarnation, t.State.OID)
	for _, c := range commits {
		if c.Version > version && c.DataChange && !slices.ContainsFunc(c.Txns, func(x tablefmt.Txn) bool { return strings.HasPrefix(x.AppID, ours) }) {
			return fmt.Sprintf("another program has changed it since, in version %d", c.Version), nil
		}
	}
	return "", nil
}

func (r *verifyJSON) write(w io.Writer) error {
	g := newGrid("TABLE", "RESULT", "SOURCE ROWS", "LAKE ROWS", "TOOK").number(2, 3, 4)
	for _, t := range r.Tables {
		source, lake := "", ""
		if t.AuditResult != nil {
			source, lake = fmt.Sprint(t.SourceRows), fmt.Sprint(t.LakeRows)
		}
		g.add(t.Table, t.Result, source, lake, t.ElapsedNS.Round(time.Millisecond).String())
	}
	if err := g.write(w); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "at %s, epoch %d\n", r.LSN, r.Epoch)
	for _, t := range r.Tables {
		switch {
		case t.Reason != "" && t.Result == verifySkipped:
			fmt.Fprintf(&b, "\n%s was not compared: %s\n", t.Table, t.Reason)
		case t.Reason != "":
			fmt.Fprintf(&b, "\n%s: %s\n", t.Table, t.Reason)
		}
		if t.AuditResult == nil || t.Equal {
			continue
		}
		fmt.Fprintf(&b, "\n%s:\n", t.Table)
		for _, d := range t.Differences {
			b.WriteString(differenceText(&d))
		}
		if t.More {
			b.WriteString("  and more; --differences says how many are told\n")
		}
	}
	for _, t := range r.Tables {
		if t.AuditResult != nil && t.Seed != "" {
			fmt.Fprintf(&b, "%s: a sample, the same again with --seed %s\n", t.Table, t.Seed)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func differenceText(d *lakehouse.Difference) string {
	what := "differs in " + strings.Join(d.Columns, ", ")
	switch {
	case len(d.Lake) == 0:
		what = "is missing in the lake"
	case len(d.Source) == 0 && len(d.Columns) == 0:
		what = "is in the lake and not in the source, or more often"
	case len(d.Columns) == 0:
		what = "differs"
	}
	s := fmt.Sprintf("  %s %s\n", d.Key, what)
	for _, row := range d.Source {
		s += "    source: " + row + "\n"
	}
	for _, row := range d.Lake {
		s += "    lake:   " + row + "\n"
	}
	return s
}

func tablesAre(n int, one, many string) string {
	if n == 1 {
		many = one
	}
	return human.Plural(int64(n), "table") + " " + many
}

// failure says that not all tables are equal; nil where they are.
func (r *verifyJSON) failure() error {
	var differ, skipped []string
	for _, t := range r.Tables {
		switch t.Result {
		case verifyDiffers:
			differ = append(differ, t.Table)
		case verifySkipped:
			skipped = append(skipped, t.Table)
		}
	}
	switch {
	case len(differ) > 0:
		return &failure{
			code: exitDamaged, err: fmt.Errorf("comparing source and lake: %s not equal: %s", tablesAre(len(differ), "is", "are"), strings.Join(differ, ", ")),
			remedy: "find out who wrote to the tables; `lakeload repair TABLE` writes the rows anew that differ, `lakeload resync TABLE` copies it again",
		}
	case len(skipped) > 0:
		return failedf("see the reasons above; when the tables are live, try again", "comparing source and lake: %s not compared: %s", tablesAre(len(skipped), "was", "were"), strings.Join(skipped, ", "))
	}
	return nil
}
