package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/postgres"
	"github.com/lakeload/lakeload/cmd/lakeload/config"
	"github.com/lakeload/lakeload/lakehouse"
)

// statusJSON is what `status -o json` prints. What is asked of the source is
// null where no source was named.
type statusJSON struct {
	Pipeline    string               `json:"pipeline"`
	Phase       string               `json:"phase"`
	Source      cdc.Identity         `json:"source"`
	Slot        string               `json:"slot"`
	Publication string               `json:"publication"`
	Position    cdc.LSN              `json:"lsn"` // up to which the lake holds everything
	Epoch       *epochJSON           `json:"epoch"`
	Tables      []tableStatusJSON    `json:"tables"`
	Halt        *lakehouse.Halt      `json:"halt"`
	Adoptions   []lakehouse.Adoption `json:"adoptions"`
	SlotState   *cdc.SlotState       `json:"slot_state"`
	LagBytes    *int64               `json:"lag_bytes"`      // between the source's newest position and the lake's
	LagSeconds  *float64             `json:"lag_seconds"`    // since the lake's last transaction, 0 where no lag
	HeldBytes   *int64               `json:"wal_held_bytes"` // of write-ahead log that the slot keeps
	// WALRate and WALLasts are of a short look: bytes a second, and the seconds
	// after which the slot would be lost if nobody read it.
	WALRate  *float64 `json:"wal_bytes_per_second"`
	WALLasts *float64 `json:"wal_lasts_seconds"`
	// UnacknowledgedBytes and UnacknowledgedSince are of what the server keeps
	// for us: the second is a time before which everything is acknowledged.
	UnacknowledgedBytes *int64                   `json:"unacknowledged_bytes"`
	UnacknowledgedSince *time.Time               `json:"unacknowledged_since"`
	Stream              *postgres.StreamReport   `json:"stream"`
	Decoding            *postgres.DecodingReport `json:"decoding"`
	Reading             *postgres.ReadingReport  `json:"reading"` // who copies tables
	Health              healthJSON               `json:"health"`
	Healthy             bool                     `json:"healthy"`
	Problems            []string                 `json:"problems"`

	report *postgres.SlotReport
}

// tableStatusJSON is a table as the lake records it, and how far its copy is.
type tableStatusJSON struct {
	lakehouse.TableState
	Copy *lakehouse.CopyState `json:"copy,omitempty"`
}

// statusFlags are the flags of status.
type statusFlags struct {
	lake     lakeFlags
	cacheDir string
	source   string
	exitCode bool
	maxLag   time.Duration
	maxHeld  string
}

func newStatusCommand(c *console) *cobra.Command {
	f := &statusFlags{lake: lakeFlags{c: c}}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how far the lake is, and what its tables do",
		Long: `Shows what the lake records: position, last epoch, and the tables with what is
wrong with them. Where an engine runs on this machine, what its last minutes were
like. Where the source is named, the slot too, who reads it, what it holds and for
how long that lasts, and how far the lake is behind.

With --exit-code it ends with 1 where something is wrong, for probes: the pipeline was
halted, a table has stopped, the slot is lost or missing, nobody reads it, its log runs
out (wal_status unreserved), or a limit that was given is passed.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), c) },
	}
	f.register(cmd.Flags())
	return cmd
}

func (f *statusFlags) register(flags *pflag.FlagSet) {
	f.lake.register(flags)
	flags.StringVar(&f.cacheDir, "cache-dir", "", "the engine's --cache-dir, where it has one: its socket lies there")
	flags.StringVar(&f.source, "source", "", "the database, to ask it about the slot; else "+sourceEnv)
	flags.BoolVar(&f.exitCode, "exit-code", false, "end with 1 where something is wrong")
	flags.DurationVar(&f.maxLag, "max-lag", 0, "the lag, as 5m, beyond which something is wrong")
	flags.StringVar(&f.maxHeld, "max-held", "", "the log held, as 5GiB, beyond which something is wrong")
}

func (f *statusFlags) run(ctx context.Context, c *console) error {
	conf, err := f.lake.load()
	if err != nil {
		return err
	}
	var maxHeld int64
	if f.maxHeld != "" {
		if maxHeld, err = config.ParseSize(f.maxHeld); err != nil {
			return usageErrorf("write it as 500MiB or 5GiB", "--max-held: %w", err)
		}
	}
	dsn, err := c.sourceDSN(f.source, conf.Source.URL)
	if err != nil {
		return err
	}
	lake, closeStore, err := f.lake.open(ctx)
	if err != nil {
		return err
	}
	defer closeStore()
	s, err := lakeStatus(ctx, lake)
	if err != nil {
		return err
	}
	if s.Health, err = f.health(ctx, s.Pipeline); err != nil {
		return err
	}
	if dsn != "" {
		state := lake.State()
		conf := postgres.Config{
			DSN: dsn, PasswordFile: conf.Source.PasswordFile, PasswordCommand: conf.Source.PasswordCommand, Slot: state.Slot, Publication: state.Publication,
			All: true, AllowStandby: true, Logger: slog.New(slog.DiscardHandler),
		}
		if err := s.ask(ctx, lake, c.now(), conf); err != nil {
			return err
		}
	}
	s.limits(f.maxLag, maxHeld)
	s.Healthy = len(s.Problems) == 0
	if err := c.print(s, func(w io.Writer) error { return s.write(w, c.now()) }); err != nil {
		return err
	}
	if f.exitCode && !s.Healthy {
		return &failure{code: exitFailed, err: fmt.Errorf("something is wrong: %s", strings.Join(s.Problems, "; ")), remedy: "it is told above, with what to do"}
	}
	return nil
}

func lakeStatus(ctx context.Context, lake *lakehouse.Lake) (*statusJSON, error) {
	state := lake.State()
	s := &statusJSON{
		Pipeline: state.Pipeline, Phase: state.Phase, Source: state.Source, Slot: state.Slot, Publication: state.Publication,
		Position: lake.Position(), Tables: []tableStatusJSON{}, Halt: state.Halt, Adoptions: state.Adoptions, Problems: []string{},
	}
	for i := range state.Tables {
		progress, err := lake.CopyState(ctx, &state.Tables[i])
		if err != nil {
			return nil, err
		}
		s.Tables = append(s.Tables, tableStatusJSON{TableState: state.Tables[i], Copy: progress})
	}
	if s.Adoptions == nil {
		s.Adoptions = []lakehouse.Adoption{}
	}
	if last, err := lake.Epoch(ctx, lakehouse.At{}); err == nil {
		j := asEpochJSON(last)
		s.Epoch = &j
	}
	if s.Halt != nil {
		s.problem("the pipeline was halted: %s", s.Halt.Reason)
	}
	for _, t := range s.Tables {
		if t.Phase == lakehouse.PhaseStopped {
			s.problem("%s has stopped", t.Name())
		}
	}
	return s, nil
}

func (s *statusJSON) problem(format string, args ...any) {
	s.Problems = append(s.Problems, fmt.Sprintf(format, args...))
}

// ask adds what the source tells.
func (s *statusJSON) ask(ctx context.Context, lake *lakehouse.Lake, now time.Time, conf postgres.Config) error {
	source, err := postgres.Open(ctx, conf)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }() // it was only read
	who, err := source.Identify(ctx)
	if err != nil {
		return err
	}
	if who.SystemID != s.Source.SystemID || who.Database != s.Source.Database {
		return failedf("name the database that the lake was made from; after a pg_upgrade or a restore: `lakeload adopt`", "the source is database %s of cluster %s, the lake was made from database %s of cluster %s",
			who.Database, who.SystemID, s.Source.Database, s.Source.SystemID)
	}
	if who.Timeline != s.Source.Timeline {
		s.problem("the source is on timeline %d, the lake was fed from timeline %d: it was promoted or restored", who.Timeline, s.Source.Timeline)
	}
	report, err := source.Report(ctx, walSample)
	if errors.Is(err, cdc.ErrNoSlot) {
		s.problem("the source has no slot %s", s.Slot)
		return nil
	}
	if err != nil {
		return err
	}
	s.take(report, lake, now)
	return nil
}

// take fills in what a report says.
func (s *statusJSON) take(r *postgres.SlotReport, lake *lakehouse.Lake, now time.Time) {
	slot := r.Slot
	lag := int64(slot.Current - min(slot.Current, max(s.Position, slot.ConfirmedFlush)))
	unacknowledged := int64(slot.Current - min(slot.Current, slot.ConfirmedFlush))
	s.report, s.SlotState, s.LagBytes, s.HeldBytes, s.UnacknowledgedBytes = r, &slot, &lag, &r.HeldBytes, &unacknowledged
	s.WALRate, s.WALLasts, s.Stream, s.Decoding, s.Reading = r.WALRate, r.LastsSeconds, r.Stream, r.Decoding, r.Reading
	seconds := 0.0
	if age, ok := lake.Freshness(now); ok && lag > 0 {
		seconds = max(0, age.Seconds()) // the clocks are two
	}
	s.LagSeconds = &seconds
	if s.Epoch != nil && s.Epoch.CommitTime != nil && unacknowledged > 0 {
		s.UnacknowledgedSince = s.Epoch.CommitTime
	}
	switch {
	case slot.Lost:
		s.problem("the slot is lost: %s", first(slot.Reason, slot.WALStatus))
	case !slot.Active:
		s.problem("nobody reads the slot")
	}
	if !slot.Lost && slot.WALStatus == "unreserved" {
		s.problem("the slot is about to be lost: the server may remove its log at the next checkpoint")
	}
}

// limits holds what was found to what was given.
func (s *statusJSON) limits(maxLag time.Duration, maxHeld int64) {
	if maxLag > 0 && s.LagSeconds != nil && *s.LagSeconds > maxLag.Seconds() {
		s.problem("the lake is %.0f s behind, more than %s", *s.LagSeconds, maxLag)
	}
	if maxHeld > 0 && s.HeldBytes != nil && *s.HeldBytes > maxHeld {
		s.problem("the slot holds %d bytes of log, more than %d", *s.HeldBytes, maxHeld)
	}
}
