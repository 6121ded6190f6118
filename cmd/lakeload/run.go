package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/postgres"
	"github.com/lakeload/lakeload/cmd/lakeload/admin"
	"github.com/lakeload/lakeload/cmd/lakeload/config"
	"github.com/lakeload/lakeload/cmd/lakeload/metrics"
	"github.com/lakeload/lakeload/internal/crashpoint"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// runFlags are the flags of run beside those about the source.
type runFlags struct {
	source       sourceFlags
	lake         string
	mode         []string
	freshness    time.Duration
	memory       string
	untilCurrent bool
	cacheDir     string
	copyWorkers  int
	takeOver     bool
	listen       string
}

func newRunCommand(c *console) *cobra.Command {
	f := &runFlags{source: sourceFlags{c: c}}
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Copy the tables into the lake, then keep them current until stopped",
		Long: `Copies the tables, then follows their changes. It can be stopped and killed at
any time: the next run goes on where the lake is.

The first SIGINT or SIGTERM flushes what was received and ends with 0; the
second ends at once. SIGHUP reads the configuration file again: what has come is
flushed, and the engine goes on by what it says now (lakeload plan tells beforehand
what that means); a file that is not right changes nothing. Preflight comes first: where something stands in the way
nothing is changed and the exit code is 3.

Events are told on standard output as JSON lines, unless it is a terminal or
--log-format says text; logs go to standard error.`,
		Example: `  lakeload run --source postgres://loader@db/shop --lake ./lake --all
  lakeload run --source postgres://loader@db/shop --lake ./lake --tables 'public.*' --exclude 'public.tmp_*'
  lakeload run -c lakeload.yaml --until-current`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), c) },
	}
	f.register(cmd.Flags())
	return cmd
}

func (f *runFlags) register(flags *pflag.FlagSet) {
	f.source.register(flags)
	flags.StringVar(&f.lake, "lake", "", "the lake's folder; it is made when missing")
	flags.StringSliceVar(&f.mode, "mode", nil, "what a table is kept as: mirror (default), changelog, or both")
	flags.DurationVar(&f.freshness, "freshness", 0, "how old a change may become before it is flushed (default 1s)")
	flags.StringVar(&f.memory, "memory", "", "the budget for changes in flight and key indexes (default 512MiB)")
	flags.BoolVar(&f.untilCurrent, "until-current", false, "end once everything is in the lake that was committed at the start")
	flags.StringVar(&f.cacheDir, "cache-dir", "", "local folder for what can be rebuilt (default: LAKE/_lakeload/NAME/cache)")
	flags.IntVar(&f.copyWorkers, "copy-workers", 0, "ranges of the initial copy at a time (default 2)")
	flags.StringVar(&f.listen, "listen", "", "serve metrics and health over HTTP there, as 127.0.0.1:9187 (default: not at all)")
	flags.BoolVar(&f.takeOver, "take-over", false, "end the session that holds the slot, once, at the start: only for one that is known to be dead")
}

// prepared is a run that is known to be right on our side.
type prepared struct {
	selection *selection
	options   lakehouse.Options
	lake      string           // where it is
	address   *metrics.Address // where it is watched; nil: nowhere
}

func (p *prepared) watchedAt() string {
	if p.address == nil {
		return "none"
	}
	return p.address.HostPort
}

// prepare makes sure of everything that can be wrong on our side before anything
// is reached for.
func (f *runFlags) prepare() (*prepared, error) {
	s, err := f.source.resolve()
	if err != nil {
		return nil, err
	}
	p := &prepared{selection: s, lake: first(f.lake, s.conf.Lake.URL)}
	if p.options, err = f.options(s); err != nil {
		return nil, err
	}
	if p.address, err = f.address(s.conf); err != nil {
		return nil, err
	}
	if p.lake == "" {
		return nil, usageErrorf("name it with --lake ./lake, or in a configuration file with -c", "where the lake is to be is not said")
	}
	return p, nil
}

func (f *runFlags) run(ctx context.Context, c *console) (err error) {
	if err := crashpoint.FromEnv(); err != nil {
		return usageErrorf("leave "+crashpoint.EnvVar+" unset: it is for tests", "%w", err)
	}
	p, err := f.prepare()
	if err != nil {
		return err
	}
	p.selection.postgres.TakeOver = f.takeOver
	store, err := openStore(p.lake)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	n := newNarrator(c)
	defer n.close()
	shown, err := show(p.address, p.selection.name, n.log)
	if err != nil {
		return err
	}
	defer shown.close()
	r := &reloader{flags: f, store: store, n: n, shown: shown}
	err = r.run(ctx, p)
	stopped := pipelineStopped{Pipeline: p.selection.name, Code: int(exitCodeOf(err))}
	if err != nil {
		stopped.Error, stopped.Remedy = err.Error(), hintOf(err)
	}
	n.tell(eventPipelineStopped, stopped)
	return err
}

// cacheFolder is where a pipeline keeps what can be rebuilt, if nobody says
// otherwise.
func cacheFolder(lake, pipeline string) string {
	return filepath.Join(lake, "_lakeload", pipeline, "cache")
}

// limitMemory lets the runtime collect garbage more often when the process comes
// near what its budget leads to: buffers, indexes of files and the program
// itself come on top of it. GOMEMLIMIT wins.
func limitMemory(budget int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(budget + budget/2 + 48<<20)
	}
}

// mirror runs the engine over a source that has passed its preflight. begun is
// called once the pipeline has started.
func mirror(ctx context.Context, s *selection, o lakehouse.Options, log *slog.Logger, shown *display, begun func()) error {
	source, err := s.open(ctx, log)
	if err != nil {
		return err
	}
	if err := preflight(ctx, s.conf, source, followed(ctx, o), log); err != nil {
		return errors.Join(err, source.Close())
	}
	o.Source = source
	var (
		engine *lakehouse.Engine
		server *admin.Server
		once   sync.Once
	)
	started := o.Events.PipelineStarted
	o.Events.PipelineStarted = func(e lakehouse.PipelineStarted) {
		started(e)
		once.Do(func() {
			begun()
			server = answerOthers(o.CacheDir, engine, log)
		})
	}
	if engine, err = lakehouse.Open(ctx, o); err != nil {
		return errors.Join(err, source.Close())
	}
	shown.engine(engine)
	err = engine.Run(ctx)
	if server != nil {
		_ = server.Close() // nobody is left to tell
	}
	return errors.Join(err, engine.Close())
}

// answerOthers lets other commands talk to an engine: from when its pipeline has
// started, as one that is refused changes nothing. It works without, and so do
// those that have nothing to ask it: nil where that cannot be.
func answerOthers(cache string, engine *lakehouse.Engine, log *slog.Logger) *admin.Server {
	server, err := admin.Start(admin.SocketPath(cache), engine)
	if err != nil {
		log.Warn("other commands cannot talk to this engine", "error", err, "what_to_do", "end the engine that listens there, or choose another --cache-dir")
		return nil
	}
	return server
}

// followed tells which tables the lake holds already and follows: what is
// missing to copy them does not stand in their way.
func followed(ctx context.Context, o lakehouse.Options) map[string]bool {
	names := map[string]bool{}
	state, err := lakehouse.ReadState(ctx, o.Lake, o.Name)
	if err != nil {
		return names // the engine reads it too, and says what is wrong with it
	}
	for _, t := range state.Tables {
		if state.Phase == lakehouse.PipelineReady && t.Phase == lakehouse.PhaseLive {
			names[t.Name()] = true
		}
	}
	return names
}

// copyOnly are the checks whose findings matter to a copy alone.
var copyOnly = map[string]bool{"select": true, "row_security": true, "table_owner": true}

// preflight refuses a source that is not ready, and says loudly what will not
// be followed.
func preflight(ctx context.Context, conf *config.Config, source *postgres.Source, followed map[string]bool, log *slog.Logger) error {
	findings, err := source.Check(ctx)
	if err != nil {
		return err
	}
	tables, err := source.Tables(ctx)
	if err != nil {
		return err
	}
	masks, err := maskFindings(conf, tables)
	if err != nil {
		return err
	}
	findings = append(findings, masks...)
	for i := range findings {
		f := &findings[i]
		switch {
		case f.Severity != cdc.Blocker || len(followed) == 0:
		case f.Check == "create_publication":
			f.Severity = cdc.Warning
		case f.Check == "column_mask" && followed[f.Table]: // that table stops, and no other
			f.Severity = cdc.Warning
		case copyOnly[f.Check] && followed[f.Table]:
			f.Severity, f.Need = cdc.Warning, f.Need+", should the table have to be copied again"
		case copyOnly[f.Check]: // a new one: the engine leaves it out, and goes on with the others
			f.Severity = cdc.Warning
		}
	}
	if err := blocked(findings); err != nil {
		return err
	}
	for _, f := range findings {
		if f.Severity == cdc.Warning {
			log.Warn("preflight", "check", f.Check, "object", f.Object, "have", f.Have, "need", f.Need, "what_to_do", f.Remedy)
		}
	}
	if names := insertOnly(tables); len(names) > 0 {
		log.Warn("INSERT ONLY: these tables have no key, their updates and deletes are not mirrored",
			"tables", strings.Join(names, ", "), "what_to_do", "give them a primary key, or ALTER TABLE ... REPLICA IDENTITY FULL")
	}
	return nil
}

// options turns flags and configuration into the engine's options.
func (f *runFlags) options(s *selection) (lakehouse.Options, error) {
	o := lakehouse.Options{
		Name: s.name, Slot: s.postgres.Slot, Publication: s.postgres.Publication,
		Freshness: s.conf.Lake.Freshness, Memory: s.conf.Limits.Memory, CopyWorkers: f.copyWorkers, UntilCurrent: f.untilCurrent,
	}
	o.WatchInterval = s.conf.Source.WatchInterval
	o.OnNewTable = lakehouse.NewTablePolicy(s.conf.OnNewTable)
	o.OnSchemaChange, o.OnUntold = changePolicies(&s.conf.OnSchemaChange)
	o.OnLakeChange = typemap.Action(s.conf.OnLakeChange)
	o.WALGuard = walGuard(&s.conf.WALGuard)
	o.EpochRetention = s.conf.Epochs.Keep
	if f.freshness != 0 {
		o.Freshness = f.freshness
	}
	if f.memory != "" {
		n, err := config.ParseSize(f.memory)
		if err != nil {
			return o, usageErrorf("write it as 512MiB or 2GiB", "--memory: %w", err)
		}
		o.Memory = n
	}
	var err error
	if o.Table, err = f.tableOptions(s.conf); err != nil {
		return o, err
	}
	// What Validate says of source and lake is not about the flags.
	probe := o
	probe.Source, probe.Lake = placeholderSource{}, placeholderStore{}
	probe.EnsureDefaults()
	if err := probe.Validate(); err != nil {
		return o, usageErrorf("`lakeload run --help` says what each flag means", "%w", err)
	}
	return o, nil
}

// changePolicies are what the configuration says of changes of tables. Most of
// its words are the engine's own; the others say what following comes to.
func changePolicies(c *config.SchemaChange) (typemap.Policy, lakehouse.UntoldPolicy) {
	action := func(word string) typemap.Action {
		switch word {
		case config.Evolve, config.Drop, config.Rename, config.Cast:
			return typemap.Follow
		}
		return typemap.Action(word)
	}
	return typemap.Policy{Add: action(c.Add), Drop: action(c.Drop), Rename: action(c.Rename), Type: action(c.Type)},
		lakehouse.UntoldPolicy{Partition: action(c.Partition), Rewrite: action(c.Rewrite)}
}

// walGuard is what the configuration says of the source's log.
func walGuard(c *config.WALGuard) lakehouse.WALGuard {
	g := lakehouse.WALGuard{Warn: c.Warn, Act: c.Act, WarnAfter: c.WarnAfter, ActAfter: c.ActAfter}
	for _, word := range c.Do {
		if word == config.None {
			g.Do = []lakehouse.WALAction{}
			break
		}
		g.Do = append(g.Do, lakehouse.WALAction(word))
	}
	return g
}

// placeholders stand for what is opened after the options are known to be right.
type (
	placeholderSource struct{ cdc.Source }
	placeholderStore  struct{ objstore.Store }
)
