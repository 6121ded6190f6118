package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/spf13/cobra"

	"github.com/lakeload/lakeload/cmd/lakeload/rows"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/predicate"
)

// The formats of rows beside formatTable.
const (
	formatJSONLines format = "jsonl"
	formatCSV       format = "csv"
	formatParquet   format = "parquet"
)

// catFlags say which rows, and how.
type catFlags struct {
	lake    lakeFlags
	moment  atFlags
	columns []string
	where   string
	limit   int64
	format  format
}

func newCatCommand(c *console) *cobra.Command {
	f := &catFlags{lake: lakeFlags{c: c}, format: formatTable}
	cmd := &cobra.Command{
		Use:   "cat TABLE",
		Short: "Print a table's rows, now or at an earlier moment",
		Long: `TABLE is schema.table of the lake, or the path of any Delta table.

--as-of, --lsn and --epoch are moments of the source: all tables read at the
same one show the same state that the source had. --version and --timestamp are
the table's own.

--where 'status = ''open'' AND total > 5' prints some rows only: comparisons of
columns with literals, BETWEEN, IN, LIKE 'prefix%', IS NULL, AND, OR, NOT.
A field of a struct is written with points. Files that cannot have such rows, by
their partition and their statistics, are not read.

Times are RFC 3339, as 2026-11-23T18:04:32Z, or 2026-11-23 18:04:32 in UTC.`,
		Args: exactly("TABLE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := f.moment.at(cmd)
			if err != nil {
				return err
			}
			return f.run(cmd.Context(), c, args[0], at)
		},
	}
	flags := cmd.Flags()
	f.lake.register(flags)
	f.lake.registerClones(flags)
	f.moment.register(flags)
	flags.StringSliceVar(&f.columns, "columns", nil, "these columns only, in this order")
	flags.StringVar(&f.where, "where", "", "only the rows for which this holds, as \"id BETWEEN 5 AND 9 AND state <> 'done'\"")
	flags.Int64Var(&f.limit, "limit", -1, "at most this many rows; -1 is all")
	flags.Var(newChoice(&f.format, formatTable, formatJSONLines, formatCSV, formatParquet), "format", "how the rows are written")
	return cmd
}

func (f *catFlags) run(ctx context.Context, c *console, name string, at lakehouse.At) error {
	o := tablefmt.ScanOptions{Limit: max(f.limit, 0)}
	if len(f.columns) > 0 {
		o.Columns = f.columns
	}
	if f.where != "" {
		var err error
		if o.Where, err = predicate.Parse(f.where); err != nil {
			return wrongWhere(err)
		}
	}
	t, err := f.lake.target(ctx, name)
	if err != nil {
		return err
	}
	defer t.close()
	snap, err := t.load(ctx, at)
	if err != nil {
		return err
	}
	schema, err := projected(snap, f.columns)
	if err != nil {
		return err
	}
	if o.Where != nil { // said before anything is written
		if _, err := predicate.Bind(o.Where, snap.Arrow()); err != nil {
			return wrongWhere(err)
		}
	}
	w, err := rowsWriter(c, "cat", f.format, schema)
	if err != nil {
		return err
	}
	if f.limit != 0 {
		err = snap.Scan(ctx, o, w.Write)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return t.explain(ctx, snap, fmt.Errorf("printing the rows of %s: %w", t.name, err))
	}
	return nil
}

func wrongWhere(err error) error {
	return usageErrorf("compare columns, as `lakeload describe` lists them, with literals, as in: id BETWEEN 5 AND 9 AND state <> 'done'", "--where: %w", err)
}

// projected is the schema of the columns asked for.
func projected(snap *tablefmt.Snapshot, columns []string) (*arrow.Schema, error) {
	if len(columns) == 0 {
		return snap.Arrow(), nil
	}
	var fields []arrow.Field
	for _, name := range columns {
		i := snap.Arrow().FieldIndices(name)
		if len(i) == 0 {
			return nil, usageErrorf("`lakeload describe` lists the columns; case counts", "the table has no column %q", name)
		}
		fields = append(fields, snap.Arrow().Field(i[0]))
	}
	return arrow.NewSchema(fields, nil), nil
}

// rowsWriter writes rows to standard output in a format. command is who asks.
func rowsWriter(c *console, command string, as format, schema *arrow.Schema) (rows.Writer, error) {
	switch as {
	case formatJSONLines:
		return rows.JSONLines(c.out, schema), nil
	case formatCSV:
		return rows.CSV(c.out, schema), nil
	case formatParquet:
		if c.outIsTerm {
			return nil, usageErrorf("send it to a file or a program: lakeload "+command+" ... --format parquet > rows.parquet", "Parquet is not written to a terminal")
		}
		return newParquetOutput(c.out, schema)
	}
	return rows.Table(c.out, schema), nil
}
