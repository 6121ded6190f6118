package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/lakeload/lakeload/cmd/lakeload/admin"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// actionFlags are the flags of the commands that change a table's place.
type actionFlags struct {
	lake     lakeFlags
	cacheDir string
	wait     bool
	atRest   bool
	yes      bool
}

func newPauseCommand(c *console) *cobra.Command {
	return newActionCommand(c, lakehouse.ActionPause, "Have a table rest, while the others go on",
		`What the lake holds of the table stays readable. The source keeps its log for the
table from here on, so that nothing is lost: do not forget it. One that is being
copied begins its copy again when it is resumed, and the source keeps nothing for it.`)
}

func newResumeCommand(c *console) *cobra.Command {
	return newActionCommand(c, lakehouse.ActionResume, "Let a table go on that was paused, or has stopped",
		`It goes on from where it is, while the others skip what they have. A table that has
stopped stops again if what stopped it is still there (lakeload status says why);
where its rows are not right any more, only resync helps.`)
}

func newResyncCommand(c *console) *cobra.Command {
	return newActionCommand(c, lakehouse.ActionResync, "Have a table copied again, while the others go on",
		`What the table holds stays readable until the new copy is complete, and is then replaced
in one commit. It is the remedy for a table that has stopped (lakeload status says why),
and takes in one that was offered or dropped.`)
}

func newDropCommand(c *console) *cobra.Command {
	return newActionCommand(c, lakehouse.ActionDrop, "Let go of a table for good; the lake keeps what it holds",
		`The table is taken out of the publication and not taken in again by itself, whatever the
configuration selects. resync takes it in again, by a new copy.`)
}

// newActionCommand makes the command of one action.
func newActionCommand(c *console, action lakehouse.TableAction, short, long string) *cobra.Command {
	f := &actionFlags{lake: lakeFlags{c: c}}
	cmd := &cobra.Command{
		Use:   string(action) + " TABLE",
		Short: short,
		Long: `TABLE is schema.table of the lake. The running engine is asked through its socket, and
does it between two flushes; --wait waits until the table has got there. Where none
runs, it is recorded in the lake, and the next run begins with it.

` + long,
		Example: "  lakeload " + string(action) + " public.orders --lake ./lake\n  lakeload " + string(action) + " public.orders -c lakeload.yaml --wait",
		Args:    exactly("TABLE"),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), c, args[0], action) },
	}
	flags := cmd.Flags()
	f.lake.register(flags)
	flags.StringVar(&f.cacheDir, "cache-dir", "", "the engine's --cache-dir, where it has one: its socket lies there")
	flags.BoolVar(&f.wait, "wait", false, "return when the table has got there: it is live and current, paused or dropped")
	flags.BoolVar(&f.atRest, "at-rest", false, "no engine runs anywhere, though the last one was started on another machine")
	if action == lakehouse.ActionDrop {
		flags.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	}
	return cmd
}

// actionJSON is what these commands print.
type actionJSON struct {
	Pipeline string               `json:"pipeline"`
	Table    string               `json:"table"`
	Phase    lakehouse.TablePhase `json:"phase"`
	Engine   bool                 `json:"engine"` // one runs, and has done it
}

func (f *actionFlags) run(ctx context.Context, c *console, table string, action lakehouse.TableAction) error {
	lake, closeStore, err := f.lake.open(ctx)
	if err != nil {
		return err
	}
	defer closeStore()
	store, err := f.lake.store()
	if err != nil {
		return err
	}
	defer store.Close()
	if action == lakehouse.ActionDrop {
		if ok, err := c.ask(fmt.Sprintf("Let go of %s? Only a new copy brings it back.", table), f.yes); err != nil || !ok {
			return errors.Join(err, failedf("add -y to do it", "nothing was done: dropping %s was not confirmed", table))
		}
	}
	pipeline := lake.State().Pipeline
	engine := admin.NewClient(admin.SocketPath(first(f.cacheDir, cacheFolder(store.URL(), pipeline))))
	defer engine.Close()
	out := actionJSON{Pipeline: pipeline, Table: table, Engine: true}
	is, err := engine.Act(ctx, table, action)
	if errors.Is(err, admin.ErrNoEngine) {
		out.Engine = false
		is, err = f.record(ctx, store, lake.State(), table, action)
	} else if err == nil && f.wait {
		is, err = waitFor(ctx, engine, is)
	}
	if err != nil {
		return err
	}
	out.Table, out.Phase = is.Name(), is.Phase
	return c.print(out, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, out.text())
		return err
	})
}

// record does an action while no engine runs.
func (f *actionFlags) record(ctx context.Context, store objstore.Store, st *lakehouse.State, table string, action lakehouse.TableAction) (is lakehouse.TableState, err error) {
	if here, err := os.Hostname(); !f.atRest && st.Host != "" && (err != nil || here != st.Host) {
		return is, failedf("run this on "+st.Host+"; or name the engine's cache with --cache-dir; or, if none runs any more, add --at-rest",
			"no engine answers here, and the last one was started on the machine %s: one that works there would have to end", st.Host)
	}
	if f.wait {
		return is, failedf("start the engine with `lakeload run`, or leave --wait out", "there is nothing to wait for: no engine answers on this machine")
	}
	return lakehouse.ActOnTable(ctx, store, st.Pipeline, table, action)
}

func (a *actionJSON) text() string {
	when := ""
	if !a.Engine {
		when = " when `lakeload run` of pipeline " + a.Pipeline + " starts"
	}
	switch {
	case a.Phase == lakehouse.PhaseCopying && a.Engine:
		return a.Table + " is being copied"
	case a.Phase == lakehouse.PhaseCopying:
		return a.Table + " will be copied" + when
	case a.Phase == lakehouse.PhaseLive && a.Engine:
		return a.Table + " is live"
	case a.Phase == lakehouse.PhaseLive:
		return a.Table + " goes on" + when
	}
	return a.Table + " is " + string(a.Phase)
}

// waitLook is how often the engine is asked how far it is.
const waitLook = 200 * time.Millisecond

// waitFor asks the engine until a table has got to where an action leads.
func waitFor(ctx context.Context, engine *admin.Client, is lakehouse.TableState) (lakehouse.TableState, error) {
	for {
		switch {
		case is.Phase == lakehouse.PhaseStopped:
			return is, failedf(is.Remedy, "%s has stopped: %s", is.Name(), is.Reason)
		case is.Phase != lakehouse.PhaseCopying && (is.Phase != lakehouse.PhaseLive || is.StoppedAt == 0):
			return is, nil
		}
		select {
		case <-time.After(waitLook):
		case <-ctx.Done():
			return is, ctx.Err()
		}
		st, err := engine.Status(ctx)
		if err != nil {
			return is, err
		}
		found := false
		for _, t := range st.Tables {
			if t.OID == is.OID {
				is, found = t, true
			}
		}
		if !found {
			return is, failedf("`lakeload tables` lists those that there are", "the engine does not know %s any more", is.Name())
		}
	}
}
