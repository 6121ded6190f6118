package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/spf13/cobra"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cmd/lakeload/rows"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt"
)

// The formats of cat beside formatTable.
const (
	formatJSONLines format = "jsonl"
	formatCSV       format = "csv"
	formatParquet   format = "parquet"
)

// catFlags say which rows, and how.
type catFlags struct {
	lake      lakeFlags
	version   int64
	timestamp string
	asOf      string
	lsn       string
	epoch     int64
	columns   []string
	limit     int64
	format    format
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
			at, err := f.at(cmd)
			if err != nil {
				return err
			}
			return f.run(cmd.Context(), c, args[0], at)
		},
	}
	flags := cmd.Flags()
	f.lake.register(flags)
	flags.Int64Var(&f.version, "version", 0, "the table's version")
	flags.StringVar(&f.timestamp, "timestamp", "", "the version that was the newest at this time of the lake")
	flags.StringVar(&f.asOf, "as-of", "", "the source's state at this commit time")
	flags.StringVar(&f.lsn, "lsn", "", "the source's state at this position, as 0/1A2B3C8")
	flags.Int64Var(&f.epoch, "epoch", 0, "the source's state at this epoch")
	flags.StringSliceVar(&f.columns, "columns", nil, "these columns only, in this order")
	flags.Int64Var(&f.limit, "limit", -1, "at most this many rows; -1 is all")
	flags.Var(newChoice(&f.format, formatTable, formatJSONLines, formatCSV, formatParquet), "format", "how the rows are written")
	return cmd
}

// at reads the flags about the moment, of which one may be given.
func (f *catFlags) at(cmd *cobra.Command) (lakehouse.At, error) {
	var at lakehouse.At
	given := ""
	for _, moment := range []struct {
		flag string
		read func() (lakehouse.At, error)
	}{
		{"version", func() (lakehouse.At, error) { return lakehouse.AtVersion(f.version), nil }},
		{"timestamp", func() (lakehouse.At, error) { t, err := parseTime(f.timestamp); return lakehouse.AtTimestamp(t), err }},
		{"as-of", func() (lakehouse.At, error) { t, err := parseTime(f.asOf); return lakehouse.AsOf(t), err }},
		{"lsn", func() (lakehouse.At, error) { l, err := cdc.ParseLSN(f.lsn); return lakehouse.AtLSN(l), err }},
		{"epoch", func() (lakehouse.At, error) { return lakehouse.AtEpoch(f.epoch), nil }},
	} {
		if !cmd.Flags().Changed(moment.flag) {
			continue
		}
		if given != "" {
			return at, usageErrorf("give one of them", "--%s and --%s contradict each other", given, moment.flag)
		}
		given = moment.flag
		var err error
		if at, err = moment.read(); err != nil {
			return at, usageErrorf("`lakeload cat --help` shows how it is written", "--%s: %w", moment.flag, err)
		}
	}
	return at, nil
}

// timeLayouts are what a moment may be written in; without a zone it is UTC.
var timeLayouts = []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02"}

func parseTime(s string) (time.Time, error) {
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time such as 2026-11-23T18:04:32Z", s)
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
	w, err := f.writer(c, schema)
	if err != nil {
		return err
	}
	err = scan(ctx, snap, f.columns, f.limit, w.Write)
	if err = errors.Join(err, w.Close()); err != nil {
		return explainTable(fmt.Errorf("printing the rows of %s: %w", t.name, err), t.name)
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

func (f *catFlags) writer(c *console, schema *arrow.Schema) (rows.Writer, error) {
	switch f.format {
	case formatJSONLines:
		return rows.JSONLines(c.out, schema), nil
	case formatCSV:
		return rows.CSV(c.out, schema), nil
	case formatParquet:
		if c.outIsTerm {
			return nil, usageErrorf("send it to a file or a program: lakeload cat ... --format parquet > rows.parquet", "Parquet is not written to a terminal")
		}
		return newParquetOutput(c.out, schema)
	}
	return rows.Table(c.out, schema), nil
}
