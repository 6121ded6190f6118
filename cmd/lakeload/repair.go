package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/lakeload/lakeload/cmd/lakeload/admin"
	"github.com/lakeload/lakeload/cmd/lakeload/human"
	"github.com/lakeload/lakeload/lakehouse"
)

// repairJSON is what `repair -o json` prints.
type repairJSON struct {
	Pipeline string `json:"pipeline"`
	*lakehouse.Repaired
}

func newRepairCommand(c *console) *cobra.Command {
	lake := lakeFlags{c: c}
	var condition, cacheDir string
	var workers int
	cmd := &cobra.Command{
		Use:   "repair TABLE",
		Short: "Compare a table with its source, and write only the rows anew that differ",
		Long: `TABLE is schema.table of the lake, a mirror that a running engine feeds. The engine
compares it with its source as ` + "`lakeload verify`" + ` does, puts the source's rows in place
of those that differ, and takes out those that the source does not have, in one commit;
what is equal is not written again. The table stands still meanwhile and catches up
afterwards, the others go on. A table that has stopped is repaired too, and goes on; if
too much of it differs it is copied again.

--where leaves alone the rows for which it holds neither in the source nor in the lake
(see ` + "`lakeload verify --help`" + `). Both are read once to find whether anything differs, twice
more to mend it. A changelog gets what was changed as rows of no transaction.`,
		Example: `  lakeload repair public.orders --lake ./lake
  lakeload repair public.orders --lake ./lake --where "placed_on BETWEEN '2026-11-01' AND '2026-11-07'"`,
		Args: exactly("TABLE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if workers < 1 {
				return usageErrorf("give a number of at least 1", "--workers cannot be less than 1")
			}
			if condition != "" {
				if _, err := parseWhere(condition); err != nil {
					return err
				}
			}
			return repairTable(cmd.Context(), c, &lake, args[0], condition, cacheDir, workers)
		},
	}
	flags := cmd.Flags()
	lake.register(flags)
	flags.StringVar(&cacheDir, "cache-dir", "", "the engine's --cache-dir, where it has one: its socket lies there")
	flags.StringVar(&condition, "where", "", "repair only the rows for which this holds, as \"id BETWEEN 5 AND 9\"")
	flags.IntVar(&workers, "workers", 2, "how many parts of the table are read at a time")
	return cmd
}

func repairTable(ctx context.Context, c *console, flags *lakeFlags, table, condition, cacheDir string, workers int) error {
	lake, closeStore, err := flags.open(ctx)
	if err != nil {
		return err
	}
	defer closeStore()
	if _, err := lake.Table(table); err != nil {
		return err
	}
	store, err := flags.store()
	if err != nil {
		return err
	}
	defer store.Close()
	pipeline := lake.State().Pipeline
	engine := admin.NewClient(admin.SocketPath(first(cacheDir, cacheFolder(store.URL(), pipeline))))
	defer engine.Close()
	done, err := engine.Repair(ctx, table, condition, workers)
	if errors.Is(err, admin.ErrNoEngine) {
		return failedf("start `lakeload run` on this machine and try again; without one, `lakeload resync "+table+"` has the next run copy the table", "%w", err)
	}
	if err != nil {
		return err
	}
	return c.print(repairJSON{pipeline, done}, func(w io.Writer) error {
		var text string
		switch {
		case done.Copied:
			text = table + " could not be repaired row by row, and was copied again\n"
		case done.Keys == 0:
			text = fmt.Sprintf("%s equals its source at %s: %s were compared, nothing was written\n", table, done.LSN, human.Plural(done.SourceRows, "row"))
		default:
			text = fmt.Sprintf("%s was repaired at %s: of %s rows %s differed; %s written (%d of the table's %d bytes), %s taken out, version %d\n",
				table, done.LSN, fmt.Sprint(done.SourceRows), human.Plural(done.Keys, "key"), human.Plural(done.Written, "row"), done.Bytes, done.TableBytes,
				human.Plural(done.Removed, "row"), done.Version)
		}
		_, err := io.WriteString(w, text)
		return err
	})
}
