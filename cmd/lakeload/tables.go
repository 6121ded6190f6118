package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lakeload/lakeload/cmd/lakeload/human"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt"
)

// tableJSON is a table as `tables -o json` prints it.
type tableJSON struct {
	Name       string               `json:"name"`
	Mode       lakehouse.Mode       `json:"mode"`
	Phase      lakehouse.TablePhase `json:"phase"`
	Path       string               `json:"path"`
	Source     string               `json:"source"`
	InsertOnly bool                 `json:"insert_only"`
	Version    *int64               `json:"version"` // null: not published yet
	Rows       *int64               `json:"rows"`    // null: not known
	Files      int                  `json:"files"`
	Bytes      int64                `json:"bytes"`
	Reason     string               `json:"reason,omitempty"`
	Remedy     string               `json:"remedy,omitempty"`
}

func newTablesCommand(c *console) *cobra.Command {
	flags := lakeFlags{c: c}
	cmd := &cobra.Command{
		Use:   "tables",
		Short: "List the tables of a lake",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			lake, closeStore, err := flags.open(cmd.Context())
			if err != nil {
				return err
			}
			defer closeStore()
			tables, err := describeTables(cmd.Context(), lake)
			if err != nil {
				return err
			}
			return c.print(map[string]any{"tables": tables}, func(w io.Writer) error { return writeTables(w, tables) })
		},
	}
	flags.register(cmd.Flags())
	return cmd
}

func describeTables(ctx context.Context, lake *lakehouse.Lake) ([]tableJSON, error) {
	out := []tableJSON{}
	for _, t := range lake.Tables() {
		j := tableJSON{
			Name: t.Name, Mode: t.Mode, Phase: t.State.Phase, Path: t.Path, Source: t.State.Name(),
			InsertOnly: t.State.InsertOnly, Reason: t.State.Reason, Remedy: t.State.Remedy,
		}
		snap, err := tablefmt.Load(ctx, lake.Location(t))
		switch {
		case errors.Is(err, tablefmt.ErrNoTable): // not published yet
		case err != nil:
			return nil, explainTable(err, t.Name)
		default:
			version := snap.Version()
			j.Version, j.Rows, j.Files, j.Bytes = &version, rowCount(snap), snap.NumFiles(), snap.Size()
		}
		out = append(out, j)
	}
	return out, nil
}

// rowCount adds up what the log says of the live files; nil where one of them
// has no statistics.
func rowCount(snap *tablefmt.Snapshot) *int64 {
	var rows int64
	for f := range snap.Files() {
		n, ok := f.NumRecords()
		if !ok {
			return nil
		}
		rows += n - f.Deleted()
	}
	return &rows
}

func writeTables(w io.Writer, tables []tableJSON) error {
	g := newGrid("TABLE", "MODE", "PHASE", "VERSION", "ROWS", "FILES", "SIZE", "NOTE").number(3, 4, 5, 6)
	for _, t := range tables {
		version, rows := "-", "-"
		if t.Version != nil {
			version = fmt.Sprint(*t.Version)
		}
		if t.Rows != nil {
			rows = human.Count(*t.Rows)
		}
		g.add(t.Name, string(t.Mode), string(t.Phase), version, rows, human.Count(int64(t.Files)), human.Bytes(t.Bytes), tableNote(t))
	}
	return g.write(w)
}

func tableNote(t tableJSON) string {
	var notes []string
	if t.InsertOnly {
		notes = append(notes, "INSERT ONLY: it has no key, its updates and deletes are not mirrored")
	}
	if t.Reason != "" {
		notes = append(notes, t.Reason)
	}
	return strings.Join(notes, "; ")
}
