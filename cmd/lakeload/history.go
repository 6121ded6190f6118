package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/lakeload/lakeload/cmd/lakeload/human"
	"github.com/lakeload/lakeload/tablefmt"
)

// commitJSON is a version as `history -o json` prints it.
type commitJSON struct {
	Version     int64          `json:"version"`
	Time        time.Time      `json:"timestamp"`
	Operation   string         `json:"operation,omitempty"`
	Parameters  map[string]any `json:"operation_parameters,omitempty"`
	LSN         string         `json:"lsn,omitempty"` // of the source, where lakeload wrote the version
	Engine      string         `json:"engine,omitempty"`
	FilesAdded  int            `json:"files_added"`
	FilesGone   int            `json:"files_removed"`
	BytesAdded  int64          `json:"bytes_added"`
	RowsAdded   *int64         `json:"rows_added"` // of the files added, their deleted rows not counted; null: not known
	DataChange  bool           `json:"data_change"`
	NewColumns  bool           `json:"metadata_changed"`
	NewProtocol bool           `json:"protocol_changed"`
}

func newHistoryCommand(c *console) *cobra.Command {
	flags := lakeFlags{c: c}
	var limit int
	cmd := &cobra.Command{
		Use:   "history TABLE",
		Short: "List a table's versions, newest first",
		Long:  "TABLE is schema.table of the lake, or the path of any Delta table.",
		Args:  exactly("TABLE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 0 {
				return usageErrorf("give the number of versions to list, or 0 for all", "--limit %d is negative", limit)
			}
			t, err := flags.target(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer t.close()
			commits, err := tablefmt.History(cmd.Context(), t.loc, limit)
			if err != nil {
				return explainTable(err, t.name)
			}
			return printHistory(c, commits)
		},
	}
	flags.register(cmd.Flags())
	cmd.Flags().IntVar(&limit, "limit", 50, "the newest N only; 0 lists all that the log still has")
	return cmd
}

func printHistory(c *console, commits []tablefmt.CommitSummary) error {
	list := make([]commitJSON, len(commits))
	for i, commit := range commits {
		list[i] = asCommitJSON(commit)
	}
	return c.print(map[string]any{"versions": list}, func(w io.Writer) error {
		g := newGrid("VERSION", "TIMESTAMP", "OPERATION", "LSN", "FILES", "BYTES ADDED", "BY").number(0, 3, 4, 5)
		for _, v := range list {
			g.add(fmt.Sprint(v.Version), clock(v.Time), v.Operation, v.LSN, fmt.Sprintf("+%d -%d", v.FilesAdded, v.FilesGone), human.Bytes(v.BytesAdded), v.Engine)
		}
		return g.write(w)
	})
}

func asCommitJSON(commit tablefmt.CommitSummary) commitJSON {
	v := commitJSON{
		Version: commit.Version, Time: commit.Time.UTC(), FilesAdded: commit.Adds, FilesGone: commit.Removes, BytesAdded: commit.AddedBytes,
		DataChange: commit.DataChange, NewColumns: commit.Metadata, NewProtocol: commit.Protocol,
	}
	if commit.RowsKnown {
		v.RowsAdded = &commit.AddedRows
	}
	if commit.Info != nil {
		v.Operation, v.Parameters, v.Engine = commit.Info.Operation, commit.Info.OperationParameters, commit.Info.EngineInfo
		v.LSN, _ = commit.Info.OperationParameters["lsn"].(string)
	}
	return v
}
