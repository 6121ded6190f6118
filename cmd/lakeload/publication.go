package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lakeload/lakeload/cdc/postgres"
)

func newPublicationCommand(c *console) *cobra.Command {
	return family("publication", "Show, make or drop the pipeline's publications",
		`There are two: one of the tables with a key, and one, called the same with _inserts
after it, of those without, of which inserts and truncates alone are published. run makes
them itself where it may.`,
		newPublicationShow(c), newPublicationCreate(c), newPublicationDrop(c))
}

func newPublicationShow(c *console) *cobra.Command {
	flags := sourceFlags{c: c}
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show the publications and their tables",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withSource(cmd.Context(), &flags, func(_ *selection, source *postgres.Source) error {
				list, err := source.Publications(cmd.Context())
				if err != nil {
					return err
				}
				return c.print(map[string]any{"publications": list}, func(w io.Writer) error { return writePublications(w, list) })
			})
		},
	}
	flags.registerSlot(cmd.Flags())
	return cmd
}

func writePublications(w io.Writer, list []postgres.Publication) error {
	g := newGrid("PUBLICATION", "TABLE", "PUBLISHES")
	for _, p := range list {
		switch {
		case !p.Exists:
			g.add(p.Name, "", "there is none")
		case len(p.Tables) == 0:
			g.add(p.Name, "", strings.Join(p.Actions, ", ")+" of no table")
		}
		for _, t := range p.Tables {
			what := strings.Join(p.Actions, ", ")
			if t.Filter != "" {
				what += " where " + t.Filter
			}
			if t.Columns != nil {
				what += " of " + strings.Join(t.Columns, ", ")
			}
			g.add(p.Name, t.Table, what)
		}
	}
	return g.write(w)
}

func newPublicationCreate(c *console) *cobra.Command {
	flags := sourceFlags{c: c}
	var dry bool
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make the publications of the selected tables, or add what is missing",
		Long: `With --dry-run the SQL is printed and nothing changed: for somebody who owns the tables,
or for the primary of a standby. What exists and is not what the pipeline needs is refused.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(flags.tables) == 0 && flags.config == "" {
				flags.all = true
			}
			return withSource(cmd.Context(), &flags, func(_ *selection, source *postgres.Source) error {
				return createPublications(cmd.Context(), c, source, dry)
			})
		},
	}
	flags.register(cmd.Flags())
	cmd.Flags().BoolVar(&dry, "dry-run", false, "print the SQL and change nothing")
	return cmd
}

func createPublications(ctx context.Context, c *console, source *postgres.Source, dry bool) error {
	sql, err := source.PublishSQL(ctx)
	if err != nil {
		return err
	}
	if !dry && len(sql) > 0 {
		tables, err := source.Tables(ctx)
		if err != nil {
			return err
		}
		if err := source.Publish(ctx, tables); err != nil {
			return err
		}
	}
	return printSQL(c, sql, !dry, "the publications are what they have to be")
}

// printSQL shows statements, and whether they were run.
func printSQL(c *console, sql []string, done bool, nothing string) error {
	if sql == nil {
		sql = []string{}
	}
	return c.print(map[string]any{"sql": sql, "done": done}, func(w io.Writer) error {
		for _, s := range sql {
			if _, err := fmt.Fprintln(w, s); err != nil {
				return err
			}
		}
		text := ""
		switch {
		case len(sql) == 0:
			text = nothing
		case done:
			text = "-- done"
		default:
			return nil // it is to be given to psql as it is
		}
		_, err := fmt.Fprintln(w, text)
		return err
	})
}

func newPublicationDrop(c *console) *cobra.Command {
	flags := sourceFlags{c: c}
	var yes, dry bool
	cmd := &cobra.Command{
		Use:   "drop",
		Short: "Drop the publications, after asking",
		Long: `A slot that has not been read to its end cannot be decoded afterwards: stop the engine
when the lake is current, and drop the slot first.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withSource(cmd.Context(), &flags, func(_ *selection, source *postgres.Source) error {
				do := false
				if !dry {
					var err error
					if do, err = c.ask("drop the publications? What a slot still holds of their tables cannot be read afterwards.", yes); err != nil {
						return err
					}
				}
				if do {
					if err := source.DropPublications(cmd.Context()); err != nil {
						return err
					}
				}
				return printSQL(c, source.DropPublicationsSQL(), do, "")
			})
		},
	}
	flags.registerSlot(cmd.Flags())
	yesFlag(cmd.Flags(), &yes)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "print the SQL and change nothing")
	return cmd
}
