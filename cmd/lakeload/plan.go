package main

import (
	"context"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/lakeload/lakeload/cmd/lakeload/human"
	"github.com/lakeload/lakeload/lakehouse"
)

// planJSON is what `plan -o json` prints.
type planJSON struct {
	Pipeline string                   `json:"pipeline"`
	Changes  bool                     `json:"changes"` // something other than to go on
	Tables   []lakehouse.PlannedTable `json:"tables"`
}

func newPlanCommand(c *console) *cobra.Command {
	f := &runFlags{source: sourceFlags{c: c}}
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what run would copy, resync or let go of, changing nothing",
		Long: `Takes the flags and the configuration of run, compares them with what the lake records
and the source has, and says what run would do about each table at its start: with a
changed configuration, before run or SIGHUP does it. The engine may be running.`,
		Example: "  lakeload plan -c lakeload.yaml\n  lakeload plan --source postgres://loader@db/shop --lake ./lake --tables 'public.*' -o json",
		Args:    exactly(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.plan(cmd.Context(), c) },
	}
	f.register(cmd.Flags())
	return cmd
}

func (f *runFlags) plan(ctx context.Context, c *console) error {
	p, err := f.prepare()
	if err != nil {
		return err
	}
	store, err := openStore(p.lake)
	if err != nil {
		return err
	}
	defer store.Close()
	source, err := p.selection.open(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }() // it was only read
	o := p.options
	o.Lake, o.Source = store, source
	tables, err := lakehouse.Plan(ctx, o)
	if err != nil {
		return err
	}
	out := planJSON{Pipeline: p.selection.name, Tables: []lakehouse.PlannedTable{}}
	out.Tables = append(out.Tables, tables...)
	for _, t := range tables {
		out.Changes = out.Changes || t.Action != lakehouse.PlanNone && t.Action != lakehouse.PlanOffer
	}
	return c.print(out, func(w io.Writer) error { return out.write(w) })
}

func (p *planJSON) write(w io.Writer) error {
	g := newGrid("TABLE", "NOW", "RUN WOULD", "ROWS", "BYTES", "WHY").number(3, 4)
	for _, t := range p.Tables {
		count, size := "", ""
		if t.Bytes > 0 {
			count, size = human.Count(t.Rows), human.Bytes(t.Bytes)
		}
		why := t.Reason
		if t.Remedy != "" && t.Action != lakehouse.PlanNone {
			why += " (" + t.Remedy + ")"
		}
		g.add(t.Table, string(t.Phase), string(t.Action), count, size, why)
	}
	return g.write(w)
}
