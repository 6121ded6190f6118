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
	flags.Int64Var(&f.limit, "limit", -1, "at most this many rows; -1 is all")
	flags.Var(newChoice(&f.format, formatTable, formatJSONLines, formatCSV, formatParquet), "format", "how the rows are written")
	return cmd
}

func (f *catFlags) run(ctx context.Context, c *console, name string, at lakehouse.At) error {
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
	w, err := rowsWriter(c, "cat", f.format, schema)
	if err != nil {
		return err
	}
	err = scan(ctx, snap, f.columns, f.limit, w.Write)
	if err = errors.Join(err, w.Close()); err != nil {
		return t.explain(ctx, snap, fmt.Errorf("printing the rows of %s: %w", t.name, err))
	}
	return nil
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

// errEnough ends a scan at its limit.
var errEnough = errors.New("enough rows")

// scan gives at most limit rows, all where it is negative.
func scan(ctx context.Context, snap *tablefmt.Snapshot, columns []string, limit int64, emit func(arrow.RecordBatch) error) error {
	if limit == 0 {
		return nil
	}
	left := limit
	err := snap.Scan(ctx, tablefmt.ScanOptions{Columns: columns}, func(rec arrow.RecordBatch) error {
		if limit < 0 {
			return emit(rec)
		}
		part := rec.NewSlice(0, min(left, rec.NumRows()))
		defer part.Release()
		if err := emit(part); err != nil {
			return err
		}
		if left -= part.NumRows(); left == 0 {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
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
