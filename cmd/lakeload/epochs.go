package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
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

// epochsListed is how many epochs a person gets to see who does not ask for
// more, and after how many lines the head is repeated.
const epochsListed = 1000

func newEpochsCommand(c *console) *cobra.Command {
	flags := lakeFlags{c: c}
	var limit int64
	var all bool
	cmd := &cobra.Command{
		Use:   "epochs",
		Short: "List the cuts through all tables that show a moment of the source",
		Long: `Each epoch is one moment of the source, with the version of every table that
shows it. A table that was being copied or had stopped is named as incomplete.

For people the newest thousand are listed, as JSON all, unless --limit or --all says
otherwise. How long epochs are kept is said to run.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch given := cmd.Flags().Changed("limit") || cmd.Flags().Changed("last"); {
			case given && all:
				return usageErrorf("give one of them", "--limit and --all contradict each other")
			case limit < 0:
				return usageErrorf("give the number of epochs to list, or 0 for all", "--limit %d is negative", limit)
			case !given && !all && c.output != formatJSON:
				limit = epochsListed
			}
			lake, closeStore, err := flags.open(cmd.Context())
			if err != nil {
				return err
			}
			defer closeStore()
			return listEpochs(c, lake.Epochs(cmd.Context(), limit))
		},
	}
	flags.register(cmd.Flags())
	cmd.Flags().Int64Var(&limit, "limit", 0, "list the newest N only; 0 lists all")
	cmd.Flags().BoolVar(&all, "all", false, "list all, however many")
	cmd.Flags().Int64Var(&limit, "last", 0, "the same as --limit")
	return cmd
}

// listEpochs writes epochs as they come: there may be millions.
func listEpochs(c *console, epochs iter.Seq2[epoch.Epoch, error]) error {
	out := bufio.NewWriter(c.out)
	write := writeEpochs
	if c.output == formatJSON {
		write = writeEpochsJSON
	}
	if err := errors.Join(write(out, epochs), out.Flush()); err != nil {
		return fmt.Errorf("listing the epochs: %w", err)
	}
	return nil
}

func writeEpochsJSON(w *bufio.Writer, epochs iter.Seq2[epoch.Epoch, error]) error {
	_, _ = w.WriteString(`{"epochs":[`) // Flush tells
	comma := ""
	for e, err := range epochs {
		if err != nil {
			return err
		}
		line, err := json.Marshal(asEpochJSON(e))
		if err != nil {
			return fmt.Errorf("writing epoch %d as JSON: %w", e.Number, err)
		}
		_, _ = w.WriteString(comma)
		_, _ = w.Write(line)
		comma = ","
	}
	_, err := w.WriteString("]}\n")
	return err
}

func writeEpochs(w *bufio.Writer, epochs iter.Seq2[epoch.Epoch, error]) error {
	head := func() *grid {
		return newGrid("EPOCH", "LSN", "COMMIT TIME", "TABLES", "INCOMPLETE").number(0, 1, 3)
	}
	g := head()
	for e, err := range epochs {
		if err != nil {
			return err
		}
		if len(g.rows) == epochsListed {
			if err := g.write(w); err != nil {
				return err
			}
			g = head()
		}
		g.add(fmt.Sprint(e.Number), e.LSN.String(), clock(e.CommitTime), fmt.Sprint(len(e.Tables)), strings.Join(e.Incomplete, ", "))
	}
	return g.write(w)
}
