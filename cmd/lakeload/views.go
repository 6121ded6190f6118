package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse"
)

// The engines that views are written for.
const (
	engineDuckDB = "duckdb"
	engineSpark  = "spark"
)

// viewsJSON is what `views -o json` prints.
type viewsJSON struct {
	Pipeline   string     `json:"pipeline"`
	Engine     string     `json:"engine"`
	Epoch      int64      `json:"epoch"`
	LSN        cdc.LSN    `json:"lsn"`
	Views      []viewJSON `json:"views"`
	Incomplete []string   `json:"incomplete,omitempty"` // no version of these shows the epoch
}

type viewJSON struct {
	Table   string `json:"table"`
	Version int64  `json:"version"`
	SQL     string `json:"sql"`
}

func newViewsCommand(c *console) *cobra.Command {
	flags, moment := lakeFlags{c: c}, atFlags{}
	engine, schema := engineDuckDB, ""
	cmd := &cobra.Command{
		Use:   "views",
		Short: "Print SQL that shows every table at one epoch, for DuckDB or Spark",
		Long: `Every view is pinned to the version that shows one epoch, so that all of them together
show a state that the source had. Without a moment it is the last epoch: print them anew
for a newer one. Tables that were not complete then are named in a comment and have no
view. A view lives as long as the version that it is pinned to.`,
		Example: "  lakeload views --lake ./lake | duckdb -init /dev/stdin shop.duckdb\n  lakeload views --lake ./lake --engine spark --as-of 2026-11-30T09:00:00Z",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if engine != engineDuckDB && engine != engineSpark {
				return usageErrorf("use duckdb or spark", "--engine %q is not known", engine)
			}
			at, err := moment.at(cmd)
			if err != nil {
				return err
			}
			return printViews(cmd.Context(), c, &flags, at, engine, schema)
		},
	}
	flags.register(cmd.Flags())
	moment.registerSource(cmd.Flags())
	cmd.Flags().StringVar(&engine, "engine", engineDuckDB, "whose SQL: duckdb or spark")
	cmd.Flags().StringVar(&schema, "schema", "", "make all views in this schema, called SCHEMA_TABLE; else each in the schema of its table")
	return cmd
}

func printViews(ctx context.Context, c *console, flags *lakeFlags, at lakehouse.At, engine, schema string) error {
	lake, closeStore, err := flags.open(ctx)
	if err != nil {
		return err
	}
	defer closeStore()
	e, err := lake.Epoch(ctx, at)
	if err == nil && at.OfSource() { // a view says so only when somebody reads it
		err = lake.CheckReadable(ctx, &e)
	}
	if err != nil {
		return err
	}
	out := viewsJSON{Pipeline: lake.State().Pipeline, Engine: engine, Epoch: e.Number, LSN: e.LSN, Views: []viewJSON{}, Incomplete: e.Incomplete}
	var head []string
	schemas, taken := map[string]bool{}, map[string]bool{}
	for _, t := range lake.Tables() {
		version, ok := e.Tables[t.Name]
		if !ok {
			continue
		}
		folder, err := filepath.Abs(filepath.FromSlash(strings.TrimPrefix(lake.Location(t).Data.URL(), "file://")))
		if err != nil {
			return fmt.Errorf("finding the folder of %s: %w", t.Name, err)
		}
		into, name := t.State.Schema, strings.TrimPrefix(t.Name, t.State.Schema+".")
		if schema != "" {
			into, name = schema, into+"_"+name
		}
		if engine == engineSpark {
			into, name = sparkName(into), sparkName(name)
			for taken[into+"."+name] {
				name += "_"
			}
			taken[into+"."+name] = true
		}
		schemas[into] = true
		out.Views = append(out.Views, viewJSON{Table: t.Name, Version: version, SQL: viewSQL(engine, into, name, folder, version)})
	}
	for _, s := range slices.Sorted(maps.Keys(schemas)) {
		head = append(head, "CREATE SCHEMA IF NOT EXISTS "+quoteFor(engine, s)+";")
	}
	return c.print(out, func(w io.Writer) error {
		fmt.Fprintf(w, "-- epoch %d of pipeline %s, LSN %s\n", out.Epoch, out.Pipeline, out.LSN)
		if len(out.Incomplete) > 0 {
			fmt.Fprintf(w, "-- not complete then: %s\n", strings.Join(out.Incomplete, ", "))
		}
		if engine == engineDuckDB {
			head = append([]string{"INSTALL delta;", "LOAD delta;"}, head...)
		}
		for _, line := range head {
			fmt.Fprintln(w, line)
		}
		for _, v := range out.Views {
			if _, err := fmt.Fprintln(w, v.SQL); err != nil {
				return err
			}
		}
		return nil
	})
}

// sparkName makes a name of letters, digits and underscores, as Spark's catalogs
// have no others.
func sparkName(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '_'
	}, name)
}

// viewSQL makes one view. It is pure.
func viewSQL(engine, schema, name, folder string, version int64) string {
	view := quoteFor(engine, schema) + "." + quoteFor(engine, name)
	if engine == engineSpark {
		return fmt.Sprintf("CREATE OR REPLACE VIEW %s AS SELECT * FROM delta.%s VERSION AS OF %d;", view, quoteFor(engine, folder), version)
	}
	return fmt.Sprintf("CREATE OR REPLACE VIEW %s AS SELECT * FROM delta_scan('%s', version => %d);", view, strings.ReplaceAll(folder, "'", "''"), version)
}

// quoteFor quotes a name as an engine wants it.
func quoteFor(engine, name string) string {
	if engine == engineSpark {
		return "`" + strings.ReplaceAll(name, "`", "``") + "`"
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}
