package main

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/lakeload/lakeload/cmd/lakeload/human"
	"github.com/lakeload/lakeload/tablefmt"
)

// fsckJSON is what `fsck -o json` prints.
type fsckJSON struct {
	Table       string      `json:"table"`
	Version     int64       `json:"version"`
	Oldest      int64       `json:"oldest_version"`
	Commits     int         `json:"commits"`
	Checkpoints int         `json:"checkpoints"`
	Compactions int         `json:"compactions"`
	Checksums   int         `json:"checksums"`
	Files       int         `json:"files"`
	Vectors     int         `json:"deletion_vectors"`
	Outside     int         `json:"outside"`
	Rows        int64       `json:"rows"`
	Bytes       int64       `json:"bytes"`
	RowsRead    bool        `json:"rows_read"`
	Sound       bool        `json:"sound"`
	Faults      []faultJSON `json:"faults"`
	More        int         `json:"more_faults"`
}

type faultJSON struct {
	Kind    tablefmt.FaultKind `json:"kind"`
	Path    string             `json:"path"`
	Version int64              `json:"version"`
	What    string             `json:"what"`
}

// fsckFlags say how thoroughly a table is checked.
type fsckFlags struct {
	lake    lakeFlags
	rows    bool
	workers int
	most    int
}

func newFsckCommand(c *console) *cobra.Command {
	f := &fsckFlags{lake: lakeFlags{c: c}}
	cmd := &cobra.Command{
		Use:   "fsck TABLE",
		Short: "Look for damage in a table: its log, its data files, its deletion vectors",
		Long: `TABLE is schema.table of the lake, or the path of any Delta table.

The whole log is replayed, and every checkpoint and checksum held against what the
commits lead to; of each data file of the newest version the size, the footer and the
deletion vector are looked at. --rows reads every row besides, and holds the statistics
against them. Nothing is changed. Whether the rows are those of the source, ` + "`verify`" + `
tells.`,
		Example: "  lakeload fsck ./lake/public/orders\n  lakeload fsck public.orders --lake ./lake --rows",
		Args:    exactly("TABLE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.workers < 1 || f.most < 0 {
				return usageErrorf("give a number of at least 1, and of at least 0", "--workers %d or --faults %d is too small", f.workers, f.most)
			}
			return f.run(cmd.Context(), c, args[0])
		},
	}
	flags := cmd.Flags()
	f.lake.register(flags)
	f.lake.registerClones(flags)
	flags.BoolVar(&f.rows, "rows", false, "read every row, too")
	flags.IntVar(&f.workers, "workers", 8, "files that are looked at at a time")
	flags.IntVar(&f.most, "faults", 100, "how many faults are listed; all are counted")
	return cmd
}

func (f *fsckFlags) run(ctx context.Context, c *console, name string) error {
	t, err := f.lake.target(ctx, name)
	if err != nil {
		return err
	}
	defer t.close()
	out := &fsckJSON{Table: t.name, RowsRead: f.rows, Faults: []faultJSON{}}
	o := tablefmt.CheckOptions{Rows: f.rows, Workers: f.workers}
	if c.errIsTerm {
		o.Progress = filesProgress(c.err)
	}
	report, err := tablefmt.Check(ctx, t.loc, o, func(fault tablefmt.Fault) error {
		if len(out.Faults) < f.most {
			out.Faults = append(out.Faults, faultJSON{fault.Kind, fault.Path, fault.Version, fault.Err.Error()})
		} else {
			out.More++
		}
		return nil
	})
	if err != nil {
		return explainTable(err, t.name)
	}
	out.Version, out.Oldest, out.Commits, out.Checkpoints, out.Checksums = report.Version, report.Oldest, report.Commits, report.Checkpoints, report.Checksums
	out.Compactions, out.Outside = report.Compactions, report.Outside
	out.Files, out.Vectors, out.Rows, out.Bytes, out.Sound = report.Files, report.Vectors, report.Rows, report.Bytes, report.Faults == 0
	if err := c.print(out, out.write); err != nil {
		return err
	}
	if !out.Sound {
		return &failure{
			code: exitDamaged, err: fmt.Errorf("%s is damaged: %s", t.name, human.Plural(int64(report.Faults), "fault")),
			remedy: "bring the files named back from a backup; or `lakeload resync` a table that a pipeline feeds; or `lakeload restore` an older version",
		}
	}
	return nil
}

// filesProgress shows now and then how many files have been looked at.
func filesProgress(w io.Writer) func(done, of int) {
	var last atomic.Int64
	return func(done, of int) {
		now := time.Now().UnixMilli()
		if was := last.Load(); (now-was > 200 || done == of) && last.CompareAndSwap(was, now) {
			fmt.Fprintf(w, "\r%d of %d files", done, of)
			if done == of {
				fmt.Fprintln(w)
			}
		}
	}
}

func (r *fsckJSON) write(w io.Writer) error {
	if len(r.Faults) > 0 {
		g := newGrid("FAULT", "VERSION", "FILE", "WHAT").number(1)
		for _, f := range r.Faults {
			g.add(string(f.Kind), fmt.Sprint(f.Version), f.Path, f.What)
		}
		if err := g.write(w); err != nil {
			return err
		}
		if r.More > 0 {
			fmt.Fprintf(w, "and %d more\n", r.More)
		}
		return nil
	}
	depth := "footers and deletion vectors"
	if r.RowsRead {
		depth = "every row"
	}
	_, err := fmt.Fprintf(w, "%s is sound: versions %d to %d of its log with %s and %s, and of version %d %s, %s, %s, by %s\n",
		r.Table, r.Oldest, r.Version, human.Plural(int64(r.Checkpoints), "checkpoint"), human.Plural(int64(r.Checksums), "checksum"), r.Version,
		human.Plural(int64(r.Files), "file"), human.Bytes(r.Bytes), human.Plural(r.Rows, "row"), depth)
	if err == nil && r.Outside > 0 {
		_, err = fmt.Fprintf(w, "%s outside of the table's folder were not looked at: see --follow-clones\n", human.Plural(int64(r.Outside), "file"))
	}
	return err
}
