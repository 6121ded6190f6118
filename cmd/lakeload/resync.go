package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/lakeload/lakeload/lakehouse"
)

func newResyncCommand(c *console) *cobra.Command {
	flags := lakeFlags{c: c}
	cmd := &cobra.Command{
		Use:   "resync TABLE",
		Short: "Have a table copied again at the next start",
		Long: `TABLE is schema.table of the source. The engine must not be running. What the table
holds stays readable until the new copy is complete, and is then replaced in one commit.
It is the remedy for a table that has stopped (lakeload status says why).`,
		Args: exactly("TABLE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			lake, closeStore, err := flags.open(cmd.Context())
			if err != nil {
				return err
			}
			defer closeStore()
			pipeline := lake.State().Pipeline
			store, err := flags.store()
			if err != nil {
				return err
			}
			defer store.Close()
			if err := lakehouse.Resync(cmd.Context(), store, pipeline, args[0]); err != nil {
				return err
			}
			out := map[string]any{"pipeline": pipeline, "table": args[0], "phase": lakehouse.PhaseCopying}
			return c.print(out, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s will be copied again when `lakeload run` of pipeline %s starts\n", args[0], pipeline)
				return err
			})
		},
	}
	flags.register(cmd.Flags())
	return cmd
}
