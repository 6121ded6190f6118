package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"

	"github.com/spf13/cobra"

	"github.com/lakeload/lakeload/lakehouse"
)

// adoptFlags are the flags of adopt beside those about the source.
type adoptFlags struct {
	source     sourceFlags
	lake       string
	continuous bool
	repair     bool
	yes        bool
	note       string
}

func newAdoptCommand(c *console) *cobra.Command {
	f := &adoptFlags{source: sourceFlags{c: c}}
	cmd := &cobra.Command{
		Use:   "adopt",
		Short: "Take a lake over to a source that is not the one it was fed from",
		Long: `For after a pg_upgrade, a restore, a failover without the slot, or a slot that was
lost: shows what has changed and what would be done, then asks. Without -y, and
where nobody can be asked, nothing is done.

The engine must not be running. The next run makes a new slot and copies every
table again; what the lake holds stays readable until then.

With --repair, after a slot was lost, tables are compared with the source instead,
and only the rows that differ are written anew, deleted ones taken out: for a table
that has hardly changed since, little is written, and both are read. Tables with a
changelog, without a key or REPLICA IDENTITY FULL, or with other columns than the
lake's are copied again.

With --continuous it is your word, recorded with your name in the lake, that the
slot gives every change that the lake lacks, and nothing is copied. It has to fit:
the slot is there, is of this database, is not past the lake, and the lake is not
past the server. After pg_upgrade (from 17 on it keeps slots, made anew) it may be
past the lake: pg_upgrade runs only where the old slot had been read to its end.`,
		Example: `  lakeload adopt --source postgres://loader@db/shop --lake ./lake
  lakeload adopt -c lakeload.yaml --continuous --note "pg_upgrade to 18" -y`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), c) },
	}
	flags := cmd.Flags()
	f.source.register(flags)
	flags.StringVar(&f.lake, "lake", "", "the lake's folder")
	flags.BoolVar(&f.continuous, "continuous", false, "your word that the slot gives every change that the lake lacks: nothing is copied")
	flags.BoolVar(&f.repair, "repair", false, "compare the tables with the source, and write only the rows anew that differ")
	flags.BoolVarP(&f.yes, "yes", "y", false, "do it without asking")
	flags.StringVar(&f.note, "note", "", "what is recorded beside who did it and when")
	return cmd
}

func (f *adoptFlags) run(ctx context.Context, c *console) error {
	if f.continuous && f.repair {
		return usageErrorf("say one of the two: --continuous copies nothing, as nothing is missing", "--continuous and --repair exclude each other")
	}
	if len(f.source.tables) == 0 && f.source.config == "" {
		f.source.all = true
	}
	s, err := f.source.resolve()
	if err != nil {
		return err
	}
	location := first(f.lake, s.conf.Lake.URL)
	if location == "" {
		return usageErrorf("name it with --lake ./lake, or in a configuration file with -c", "which lake is meant is not said")
	}
	store, err := openStore(location)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }() // what was written is durable
	source, err := s.open(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }() // it was only read
	plan, err := lakehouse.PlanAdoption(ctx, lakehouse.AdoptOptions{
		Source: source, Continuous: f.continuous, Repair: f.repair, By: whoAmI(), Note: f.note,
		Engine: lakehouse.Options{Name: s.name, Lake: store, Slot: s.postgres.Slot, Publication: s.postgres.Publication},
	})
	if err != nil {
		return err
	}
	if c.output != formatJSON {
		if err := writePlan(c.out, plan); err != nil {
			return err
		}
	}
	done := false
	if len(plan.Obstacles) == 0 {
		if done, err = c.ask("take the lake over?", f.yes); err != nil {
			return err
		}
	}
	if done {
		if err := plan.Do(ctx); err != nil {
			return err
		}
	}
	return f.tell(c, plan, done)
}

// tell says how it ended.
func (f *adoptFlags) tell(c *console, plan *lakehouse.Takeover, done bool) error {
	err := c.print(struct {
		*lakehouse.Takeover
		Done bool `json:"done"`
	}{plan, done}, func(w io.Writer) error {
		text := "\nnothing was changed; add -y to do it\n"
		switch {
		case len(plan.Obstacles) > 0:
			text = ""
		case done && f.continuous:
			text = "\ntaken over: `lakeload run` goes on where the lake is\n"
		case done && f.repair:
			text = "\ntaken over: `lakeload run` makes a new slot and compares the tables with the source\n"
		case done:
			text = "\ntaken over: `lakeload run` makes a new slot and copies every table again\n"
		}
		_, err := io.WriteString(w, text)
		return err
	})
	if err == nil && len(plan.Obstacles) > 0 {
		err = &failure{code: exitPreflight, err: fmt.Errorf("the lake cannot be taken over like this: %s", plan.Obstacles[0]), remedy: first(plan.Remedy, "mend what is listed, then try again")}
	}
	return err
}

// writePlan shows what was found, for people.
func writePlan(w io.Writer, p *lakehouse.Takeover) error {
	g := newGrid("pipeline", p.Pipeline)
	g.add("was fed from", sourceText(p.Was))
	g.add("is to be fed from", sourceText(p.Is))
	for _, t := range p.Timelines {
		g.add("", fmt.Sprintf("timeline %d ended at %s", t.Timeline, t.At))
	}
	switch {
	case p.Slot == nil:
		g.add("slot", "there is none")
	case p.Slot.Lost:
		g.add("slot", p.Slot.Name+", LOST")
	default:
		g.add("slot", fmt.Sprintf("%s at %s, the server at %s", p.Slot.Name, p.Slot.ConfirmedFlush, p.Slot.Current))
	}
	g.add("lake", fmt.Sprintf("at %s, its tables show everything before %s", p.Position, p.Shown))
	again, compared := 0, 0
	for _, t := range p.Tables {
		if t.Copied {
			again++
		}
		if t.Repaired {
			compared++
		}
	}
	text := fmt.Sprintf("%d, of which %d are copied again", len(p.Tables), again)
	if compared > 0 {
		text += fmt.Sprintf(", and %d compared with the source and repaired", compared)
	}
	g.add("tables", text)
	if err := g.write(w); err != nil {
		return err
	}
	for _, n := range p.Notes {
		if _, err := fmt.Fprintf(w, "\nnote: %s\n", n); err != nil {
			return err
		}
	}
	for _, o := range p.Obstacles {
		if _, err := fmt.Fprintf(w, "\nOBSTACLE: %s\n", o); err != nil {
			return err
		}
	}
	return nil
}

// whoAmI is the user and the machine, for the record.
func whoAmI() string {
	name, host := "?", "?"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}
