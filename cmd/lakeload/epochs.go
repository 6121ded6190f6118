package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/epoch"
)

// epochJSON is an epoch as `epochs -o json` prints it: a contract that others
// build on.
type epochJSON struct {
	Epoch      int64            `json:"epoch"`
	LSN        cdc.LSN          `json:"lsn"`
	CommitTime *time.Time       `json:"commit_time"` // null before the first commit
	Tables     map[string]int64 `json:"tables"`
	Incomplete []string         `json:"incomplete,omitempty"`
}

func asEpochJSON(e epoch.Epoch) epochJSON {
	out := epochJSON{Epoch: e.Number, LSN: e.LSN, Tables: e.Tables, Incomplete: e.Incomplete}
	if out.Tables == nil {
		out.Tables = map[string]int64{}
	}
	if !e.CommitTime.IsZero() {
		t := e.CommitTime.UTC()
		out.CommitTime = &t
	}
	return out
}

func newEpochsCommand(c *console) *cobra.Command {
	flags := lakeFlags{c: c}
	var last int
	cmd := &cobra.Command{
		Use:   "epochs",
		Short: "List the cuts through all tables that show a moment of the source",
		Long: `Each epoch is one moment of the source, with the version of every table that
shows it. A table that was being copied or had stopped is named as incomplete.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if last < 0 {
				return usageErrorf("give the number of epochs to list, or 0 for all", "--last %d is negative", last)
			}
			lake, closeStore, err := flags.open(cmd.Context())
			if err != nil {
				return err
			}
			defer closeStore()
			epochs := lake.Epochs()
			if last > 0 && len(epochs) > last {
				epochs = epochs[len(epochs)-last:]
			}
			return printEpochs(c, epochs)
		},
	}
	flags.register(cmd.Flags())
	cmd.Flags().IntVar(&last, "last", 0, "list the last N only; 0 lists all")
	return cmd
}

func printEpochs(c *console, epochs []epoch.Epoch) error {
	list := make([]epochJSON, len(epochs))
	for i, e := range epochs {
		list[i] = asEpochJSON(e)
	}
	return c.print(map[string]any{"epochs": list}, func(w io.Writer) error {
		g := newGrid("EPOCH", "LSN", "COMMIT TIME", "TABLES", "INCOMPLETE").number(0, 1, 3)
		for _, e := range epochs {
			g.add(fmt.Sprint(e.Number), e.LSN.String(), clock(e.CommitTime), fmt.Sprint(len(e.Tables)), strings.Join(e.Incomplete, ", "))
		}
		return g.write(w)
	})
}
