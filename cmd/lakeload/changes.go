package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lakeload/lakeload/tablefmt"
)

// changesFlags say which changes, and how they are written.
type changesFlags struct {
	lake    lakeFlags
	span    spanFlags
	columns []string
	strict  bool
	format  format
}

// spanFlags say which versions are meant.
type spanFlags struct {
	fromVersion, toVersion int64
	fromTime, toTime       string
}

func newChangesCommand(c *console) *cobra.Command {
	f := &changesFlags{lake: lakeFlags{c: c}, format: formatTable}
	cmd := &cobra.Command{
		Use:   "changes TABLE",
		Short: "Print the rows that changed between two versions of a table",
		Long: `TABLE is schema.table of the lake, or the path of any Delta table.
Each row comes with _change_type (insert, delete, update_preimage,
update_postimage), _commit_version and _commit_timestamp, in the order of the
versions. Both ends of the range are included; by time they are the first
version that is not older, and the last that is not newer. Without them all
versions are told that the log still has.
Where a version has a change feed (delta.enableChangeDataFeed) it is told by
that. Otherwise its changes are derived from the files that came and went, and
standard error says so: an update is then a delete and an insert, and rows of a
file that was written anew may appear as both though they are the same.
Times are RFC 3339, as 2026-11-23T18:04:32Z, or 2026-11-23 18:04:32 in UTC.`,
		Args: exactly("TABLE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := f.span.span(cmd)
			if err != nil {
				return err
			}
			return f.run(cmd.Context(), c, args[0], r)
		},
	}
	flags := cmd.Flags()
	f.lake.register(flags)
	f.lake.registerClones(flags)
	f.span.register(flags)
	flags.StringSliceVar(&f.columns, "columns", nil, "these columns only, in this order, before those of the change")
	flags.BoolVar(&f.strict, "strict", false, "refuse versions without a change feed, as Spark does, instead of deriving their changes")
	flags.Var(newChoice(&f.format, formatTable, formatJSONLines, formatCSV, formatParquet), "format", "how the rows are written")
	return cmd
}

func (f *spanFlags) register(flags *pflag.FlagSet) {
	flags.Int64Var(&f.fromVersion, "from-version", 0, "the first version")
	flags.StringVar(&f.fromTime, "from-time", "", "the first version that was made at this time or later")
	flags.Int64Var(&f.toVersion, "to-version", 0, "the last version")
	flags.StringVar(&f.toTime, "to-time", "", "the last version that was made at this time or before")
}

// span reads the flags about the range.
func (f *spanFlags) span(cmd *cobra.Command) (tablefmt.ChangeRange, error) {
	r := tablefmt.ChangeRange{From: tablefmt.EarliestVersion, To: tablefmt.NewestVersion}
	for _, end := range []struct {
		version, time string // names of flags
		number        int64
		text          string
		to            *int64
		at            *time.Time
	}{
		{"from-version", "from-time", f.fromVersion, f.fromTime, &r.From, &r.FromTime},
		{"to-version", "to-time", f.toVersion, f.toTime, &r.To, &r.ToTime},
	} {
		number, at := cmd.Flags().Changed(end.version), cmd.Flags().Changed(end.time)
		switch {
		case number && at:
			return r, usageErrorf("give one of them", "--%s and --%s contradict each other", end.version, end.time)
		case number && end.number < 0:
			return r, usageErrorf("`lakeload history` lists the versions", "--%s: %d is no version of a table", end.version, end.number)
		case number:
			*end.to = end.number
		case at:
			var err error
			if *end.at, err = parseTime(end.text); err != nil {
				return r, usageErrorf("`"+cmd.CommandPath()+" --help` shows how it is written", "--%s: %w", end.time, err)
			}
		}
	}
	return r, nil
}

func (f *changesFlags) run(ctx context.Context, c *console, name string, r tablefmt.ChangeRange) error {
	t, err := f.lake.target(ctx, name)
	if err != nil {
		return err
	}
	defer t.close()
	plan, err := tablefmt.PlanChanges(ctx, t.loc, r, tablefmt.ChangeOptions{Columns: f.columns, Strict: f.strict})
	if err != nil {
		return explainChanges(err, t.name)
	}
	w, err := rowsWriter(c, "changes", f.format, plan.Schema())
	if err != nil {
		return err
	}
	f.tellDerived(c, plan)
	err = plan.Read(ctx, w.Write)
	if err = errors.Join(err, w.Close()); err != nil {
		return explainChanges(fmt.Errorf("printing the changes of %s: %w", t.name, err), t.name)
	}
	return nil
}

// tellDerived says of which versions the changes are not told by a feed.
func (f *changesFlags) tellDerived(c *console, plan *tablefmt.ChangePlan) {
	none := plan.WithoutFeed()
	if len(none) == 0 || c.quiet {
		return
	}
	which := fmt.Sprintf("version %d has", none[0])
	if n := len(none); n > 1 {
		which = fmt.Sprintf("%d of the versions %d to %d have", n, none[0], none[n-1])
	}
	text := which + " no change feed: the changes are derived from the files that came and went"
	if c.logFormat == formatJSON {
		slog.New(slog.NewJSONHandler(c.err, nil)).Warn(text, "first", none[0], "last", none[len(none)-1], "versions", len(none))
		return
	}
	fmt.Fprintf(c.err, "lakeload changes: %s (see `lakeload changes --help`)\n", text)
}

// explainChanges adds what to do about changes that cannot be told.
func explainChanges(err error, name string) error {
	var (
		gone    *tablefmt.VersionGoneError
		file    *tablefmt.FileGoneError
		none    *tablefmt.NoFeedError
		changed *tablefmt.SchemaChangedError
	)
	switch {
	case errors.As(err, &gone):
		return failedf(fmt.Sprintf("begin with --from-version %d; what is before cannot be told any more", gone.Oldest), "%w", err)
	case errors.As(err, &file):
		return failedf(fmt.Sprintf("begin with --from-version %d or later; read changes more often than vacuum removes files, or let it keep them longer (delta.deletedFileRetentionDuration)", file.Version+1), "%w", err)
	case errors.As(err, &none):
		return failedf("leave --strict out to have the changes derived, or begin with a later version; `change_feed: true` has a table of a pipeline keep a feed", "%w", err)
	case errors.As(err, &changed):
		return failedf(fmt.Sprintf("read the versions up to where its columns changed, and those after, each for itself: `lakeload history %s` shows where", name), "%w", err)
	case errors.Is(err, tablefmt.ErrInvalid):
		return usageErrorf("`lakeload describe "+name+"` lists the columns, `lakeload history "+name+"` the versions", "%w", err)
	}
	return explainTable(err, name)
}
