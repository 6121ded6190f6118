package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/postgres"
	"github.com/lakeload/lakeload/cmd/lakeload/human"
	"github.com/lakeload/lakeload/lakehouse"
)

func newSlotCommand(c *console) *cobra.Command {
	return family("slot", "Show, make or drop the pipeline's replication slot",
		`run makes the slot itself. Made beforehand, it holds the changes from that moment on,
and run copies the tables later. A slot that nobody reads fills the server's disk.`,
		newSlotShow(c), newSlotCreate(c), newSlotDrop(c))
}

// withSource opens the source that flags name.
func withSource(ctx context.Context, f *sourceFlags, do func(*selection, *postgres.Source) error) error {
	s, err := f.resolve()
	if err != nil {
		return err
	}
	source, err := s.open(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	err = do(s, source)
	return errors.Join(err, source.Close())
}

func newSlotShow(c *console) *cobra.Command {
	flags := sourceFlags{c: c}
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show the slot, who reads it, and what it holds",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withSource(cmd.Context(), &flags, func(_ *selection, source *postgres.Source) error {
				report, err := source.Report(cmd.Context(), walSample)
				if errors.Is(err, cdc.ErrNoSlot) {
					return &failure{code: exitFailed, err: err, remedy: "`lakeload run` makes it, or `lakeload slot create`; if it has been there: `lakeload adopt`"}
				}
				if err != nil {
					return err
				}
				return c.print(report, func(w io.Writer) error {
					g := newGrid("slot", report.Slot.Name)
					addReport(g, report)
					return g.write(w)
				})
			})
		},
	}
	flags.registerSlot(cmd.Flags())
	return cmd
}

// addReport adds the lines about a slot.
func addReport(g *grid, r *postgres.SlotReport) {
	s := r.Slot
	state := "nobody reads it"
	if s.Active {
		state = fmt.Sprintf("read by the server process %d", s.ActivePID)
		if s.Holder != nil {
			state += fmt.Sprintf(" (%q, since %s)", s.Holder.Application, clock(s.Holder.Since))
		}
	} else if s.InactiveSince != nil {
		state += " since " + clock(*s.InactiveSince)
	}
	if s.Lost {
		state = "LOST: the server has removed changes that the lake does not have"
		if s.Reason != "" {
			state += " (" + s.Reason + ")"
		}
	}
	g.add("state", state)
	g.add("acknowledged", fmt.Sprintf("%s, %s behind the server's %s", s.ConfirmedFlush, human.Bytes(int64(s.Current-min(s.Current, s.ConfirmedFlush))), s.Current))
	held := fmt.Sprintf("%s from %s on, %s", human.Bytes(r.HeldBytes), s.Restart, s.WALStatus)
	if s.SafeWALSize != nil {
		held += fmt.Sprintf("; %s more until it is lost", human.Bytes(max(0, *s.SafeWALSize)))
	}
	if r.LastsSeconds != nil {
		held += fmt.Sprintf(", which lasts %s as the server writes just now", lasting(*r.LastsSeconds))
	}
	g.add("log held", held)
	if r.WALRate != nil {
		g.add("log written", human.Bytes(int64(*r.WALRate))+"/s")
	}
	if s.Failover || s.Synced {
		g.add("failover", map[bool]string{true: "kept on standbys", false: "taken over from a primary"}[s.Failover])
	}
	if st := r.Stream; st != nil {
		text := fmt.Sprintf("%s, sent up to %s", st.State, st.Sent)
		if st.SilentSeconds != nil {
			text += fmt.Sprintf(", last heard of us %.1f s ago", *st.SilentSeconds)
		}
		g.add("stream", text)
	}
	if rd := r.Reading; rd != nil {
		g.add("copying", fmt.Sprintf("%s with a snapshot, the oldest for %s: the server keeps what was deleted since", human.Plural(int64(rd.Sessions), "session"), lasting(rd.Seconds)))
	}
	if d := r.Decoding; d != nil {
		g.add("decoding", fmt.Sprintf("%s in %s; %s of them spilled, in %s", human.Bytes(d.TotalBytes), human.Plural(d.TotalTransactions, "transaction"), human.Bytes(d.SpillBytes), human.Plural(d.SpillTransactions, "transaction")))
	}
}

// lasting writes a length of time that may be long.
func lasting(seconds float64) string {
	switch {
	case seconds < 120:
		return fmt.Sprintf("%.0f s", seconds)
	case seconds < 7200:
		return fmt.Sprintf("%.0f min", seconds/60)
	case seconds < 48*3600:
		return fmt.Sprintf("%.0f h", seconds/3600)
	}
	return fmt.Sprintf("%.0f days", seconds/86400)
}

// newSlotCreate makes what run would make first, and copies nothing.
func newSlotCreate(c *console) *cobra.Command {
	f := &runFlags{source: sourceFlags{c: c}}
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make publication and slot now, and copy nothing yet",
		Long: `Does what run does first: the preflight, the publication, the slot, and the lake's
record of both. From then on the slot holds all changes for the lake. run copies the
tables and goes on.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.createSlot(cmd.Context(), c) },
	}
	f.source.register(cmd.Flags())
	cmd.Flags().StringVar(&f.lake, "lake", "", "the lake's folder; it is made when missing")
	cmd.Flags().StringSliceVar(&f.mode, "mode", nil, "what a table is kept as: mirror (default), changelog, or both")
	return cmd
}

func (f *runFlags) createSlot(ctx context.Context, c *console) error {
	s, err := f.source.resolve()
	if err != nil {
		return err
	}
	o, err := f.options(s)
	if err != nil {
		return err
	}
	location := first(f.lake, s.conf.Lake.URL)
	if location == "" {
		return usageErrorf("name it with --lake ./lake, or in a configuration file with -c", "which lake the slot is for is not said")
	}
	store, err := openStore(location)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }() // what was written is durable
	o.Lake = store
	source, err := s.open(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	if err := preflight(ctx, s.conf, source, nil, slog.New(slog.DiscardHandler)); err != nil {
		return errors.Join(err, source.Close())
	}
	o.Source = source
	engine, err := lakehouse.Open(ctx, o)
	if err != nil {
		return errors.Join(err, source.Close())
	}
	point, err := engine.Create(ctx)
	if err := errors.Join(err, engine.Close()); err != nil {
		return err
	}
	out := map[string]any{"pipeline": s.name, "slot": s.postgres.Slot, "publication": s.postgres.Publication, "lsn": point}
	return c.print(out, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "the slot %s holds all changes from %s on, for the lake %s; `lakeload run` copies the tables and goes on\n", s.postgres.Slot, point, location)
		return err
	})
}

func newSlotDrop(c *console) *cobra.Command {
	flags := sourceFlags{c: c}
	var yes bool
	cmd := &cobra.Command{
		Use:   "drop",
		Short: "Drop the slot, after asking",
		Long: `The changes that the lake does not have yet are lost with it, and the server's disk is
freed. The lake can go on only by lakeload adopt, which copies every table again. A slot
that is being read is not dropped.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withSource(cmd.Context(), &flags, func(s *selection, source *postgres.Source) error {
				return dropSlot(cmd.Context(), c, s.postgres.Slot, source, yes)
			})
		},
	}
	flags.registerSlot(cmd.Flags())
	yesFlag(cmd.Flags(), &yes)
	return cmd
}

func yesFlag(flags *pflag.FlagSet, yes *bool) {
	flags.BoolVarP(yes, "yes", "y", false, "do it without asking")
}

func dropSlot(ctx context.Context, c *console, name string, source *postgres.Source, yes bool) error {
	report, err := source.Report(ctx, 0)
	if errors.Is(err, cdc.ErrNoSlot) {
		return c.print(map[string]any{"slot": name, "dropped": false}, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "there is no slot %s\n", name)
			return err
		})
	}
	if err != nil {
		return err
	}
	if report.Slot.Active {
		return failedf("stop the engine, or whatever reads it", "dropping the slot %s: it is being read by the server process %d", name, report.Slot.ActivePID)
	}
	behind := int64(report.Slot.Current - min(report.Slot.Current, report.Slot.ConfirmedFlush))
	do, err := c.ask(fmt.Sprintf("the slot %s is at %s, %s of log behind the server: what of that the lake lacks is lost. Drop it?", name, report.Slot.ConfirmedFlush, human.Bytes(behind)), yes)
	if err == nil && do {
		err = source.DropSlot(ctx)
	}
	if err != nil {
		return err
	}
	return c.print(map[string]any{"slot": name, "dropped": do}, func(w io.Writer) error {
		text := "nothing was changed; add -y to drop the slot\n"
		if do {
			text = "the slot " + name + " was dropped\n"
		}
		_, err := io.WriteString(w, text)
		return err
	})
}
