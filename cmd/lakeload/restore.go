package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/lakeload/lakeload/cmd/lakeload/human"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt"
)

// restoreJSON is what `restore -o json` prints.
type restoreJSON struct {
	Table         string `json:"table"`
	Was           int64  `json:"was_version"`
	Restored      int64  `json:"restored_version"`
	Version       int64  `json:"version"`
	FilesAdded    int    `json:"files_restored"`
	FilesGone     int    `json:"files_removed"`
	BytesAdded    int64  `json:"bytes_restored"`
	BytesGone     int64  `json:"bytes_removed"`
	Metadata      bool   `json:"metadata_changed"`
	Changed       bool   `json:"changed"`
	Done          bool   `json:"done"`
	stopsPipeline string // that feeds the table; "" for none
}

// restoreFlags say which moment a table is to go back to.
type restoreFlags struct {
	lake   lakeFlags
	moment atFlags
	dryRun bool
	yes    bool
}

func newRestoreCommand(c *console) *cobra.Command {
	f := &restoreFlags{lake: lakeFlags{c: c}}
	cmd := &cobra.Command{
		Use:   "restore TABLE",
		Short: "Have a table show again what it showed at an earlier moment",
		Long: `TABLE is schema.table of the lake, or the path of any Delta table. Rows, columns and
properties go back, in one commit that writes no rows; what was since stays in the
history, and a restore of a later version brings it back.

A version can be restored as long as its files are there: until vacuum.

A table that a pipeline feeds is fed no more from then on: the engine notices, stops the
table and says so. ` + "`lakeload resync`" + ` makes it show the source again.`,
		Example: "  lakeload restore ./lake/public/orders --version 41 --dry-run\n  lakeload restore public.orders --lake ./lake --as-of 2026-11-23T18:04:32Z",
		Args:    exactly("TABLE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := f.moment.at(cmd)
			if err != nil {
				return err
			}
			if at == (lakehouse.At{}) {
				return usageErrorf("`lakeload history "+args[0]+"` lists the versions: --version N", "what %s is to show again is not said", args[0])
			}
			return f.run(cmd.Context(), c, args[0], at)
		},
	}
	flags := cmd.Flags()
	f.lake.register(flags)
	f.lake.registerClones(flags)
	f.moment.register(flags)
	flags.BoolVar(&f.dryRun, "dry-run", false, "say what would be done, and whether it can be; write nothing")
	flags.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	return cmd
}

func (f *restoreFlags) run(ctx context.Context, c *console, name string, at lakehouse.At) error {
	t, err := f.lake.target(ctx, name)
	if err != nil {
		return err
	}
	defer t.close()
	then, err := t.load(ctx, at)
	if err != nil {
		return err
	}
	o := tablefmt.RestoreOptions{DryRun: f.dryRun || !f.yes} // the question says what would be done
	_, plan, err := tablefmt.Restore(ctx, then, o)
	if err != nil {
		return explainRestore(err, t)
	}
	out := restoreJSON{Table: t.name, stopsPipeline: t.fedBy()}
	if plan.Changes() && o.DryRun && !f.dryRun {
		question := fmt.Sprintf("Take %s from version %d back to what it showed at version %d?", t.name, plan.From, plan.To)
		if out.stopsPipeline != "" {
			question += fmt.Sprintf(" Pipeline %s will not feed it any more until it is copied again.", out.stopsPipeline)
		}
		if ok, err := c.ask(question, false); err != nil || !ok {
			return errors.Join(err, failedf("add -y to do it", "nothing was done: restoring %s was not confirmed", t.name))
		}
		o.DryRun = false
		if _, plan, err = tablefmt.Restore(ctx, then, o); err != nil {
			return explainRestore(err, t)
		}
	}
	out.Done = !o.DryRun && plan.Changes()
	out.Was, out.Restored, out.Version, out.Changed = plan.From, plan.To, plan.Version, plan.Changes()
	out.FilesAdded, out.FilesGone, out.BytesAdded, out.BytesGone = plan.FilesRestored, plan.FilesRemoved, plan.BytesRestored, plan.BytesRemoved
	out.Metadata = plan.MetadataChanged
	return c.print(out, out.write)
}

// fedBy names the pipeline that feeds the table; "" for none.
func (t *target) fedBy() string {
	if t.table == nil || !t.table.State.Followed() {
		return ""
	}
	return t.lake.State().Pipeline
}

func (r *restoreJSON) write(w io.Writer) error {
	text := ""
	switch {
	case !r.Changed:
		text = fmt.Sprintf("%s shows at version %d what it showed at version %d: there is nothing to do", r.Table, r.Version, r.Restored)
	case r.Done:
		text = fmt.Sprintf("%s shows at version %d what it showed at version %d", r.Table, r.Version, r.Restored)
	default:
		text = fmt.Sprintf("%s would go from version %d back to what it showed at version %d", r.Table, r.Was, r.Restored)
	}
	if r.Changed {
		text += fmt.Sprintf("; files that come back: %d (%s), that go: %d (%s)", r.FilesAdded, human.Bytes(r.BytesAdded), r.FilesGone, human.Bytes(r.BytesGone))
		if r.Metadata {
			text += "; columns or properties go back, too"
		}
	}
	if r.Done && r.stopsPipeline != "" {
		text += fmt.Sprintf("\npipeline %s does not feed it any more: `lakeload resync %s` makes it show the source again", r.stopsPipeline, r.Table)
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

// explainRestore adds what to do about a table that cannot be restored.
func explainRestore(err error, t *target) error {
	var missing *tablefmt.MissingFilesError
	switch {
	case errors.As(err, &missing):
		return failedf("choose a newer version (`lakeload history "+t.name+"`), or bring the files back from a backup", "%w", err)
	case errors.Is(err, tablefmt.ErrInvalid):
		return failedf("change the property named, or copy what you need with `lakeload cat --version`", "%w", err)
	case errors.Is(err, tablefmt.ErrConflict):
		return failedf("pause whoever writes to the table (`lakeload pause "+t.name+"`), and do it again", "%w", err)
	}
	return explainTable(err, t.name)
}
