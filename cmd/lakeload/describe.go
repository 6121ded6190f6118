package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lakeload/lakeload/cmd/lakeload/human"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt"
)

// descriptionJSON is what `describe -o json` prints.
type descriptionJSON struct {
	Name       string             `json:"name"`
	Location   string             `json:"location"`
	Version    int64              `json:"version"`
	Rows       *int64             `json:"rows"`
	Files      int                `json:"files"`
	Bytes      int64              `json:"bytes"`
	Columns    []columnJSON       `json:"columns"`
	Partitions []string           `json:"partition_columns"`
	Protocol   *tablefmt.Protocol `json:"protocol"`
	Properties map[string]string  `json:"properties"`
	Source     *sourceTableJSON   `json:"source,omitempty"` // of a table of a lake
}

type columnJSON struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Nullable bool   `json:"nullable"`
}

type sourceTableJSON struct {
	Pipeline   string               `json:"pipeline"`
	Database   string               `json:"database"`
	Table      string               `json:"table"`
	Mode       lakehouse.Mode       `json:"mode"`
	Phase      lakehouse.TablePhase `json:"phase"`
	InsertOnly bool                 `json:"insert_only"`
	Reason     string               `json:"reason,omitempty"`
	Remedy     string               `json:"remedy,omitempty"`
}

func newDescribeCommand(c *console) *cobra.Command {
	flags := lakeFlags{c: c}
	cmd := &cobra.Command{
		Use:   "describe TABLE",
		Short: "Show a table's columns, properties and size",
		Long:  "TABLE is schema.table of the lake, or the path of any Delta table.",
		Args:  exactly("TABLE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := flags.target(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer t.close()
			snap, err := t.load(cmd.Context(), lakehouse.At{})
			if err != nil {
				return err
			}
			d := describe(t, snap)
			return c.print(d, d.write)
		},
	}
	flags.register(cmd.Flags())
	return cmd
}

func describe(t *target, snap *tablefmt.Snapshot) *descriptionJSON {
	d := &descriptionJSON{
		Name: t.name, Location: t.loc.String(), Version: snap.Version(), Rows: rowCount(snap), Files: snap.NumFiles(), Bytes: snap.Size(),
		Columns: []columnJSON{}, Partitions: slices.Concat([]string{}, snap.PartitionColumns()),
		Protocol: snap.Protocol(), Properties: snap.Metadata().Configuration,
	}
	for _, f := range snap.Schema().Fields {
		d.Columns = append(d.Columns, columnJSON{Name: f.Name, Type: f.Type.String(), Nullable: f.Nullable})
	}
	if d.Properties == nil {
		d.Properties = map[string]string{}
	}
	if t.table != nil {
		s := t.lake.State()
		d.Source = &sourceTableJSON{
			Pipeline: s.Pipeline, Database: s.Source.Database, Table: t.table.State.Name(), Mode: t.table.Mode, Phase: t.table.State.Phase,
			InsertOnly: t.table.State.InsertOnly, Reason: t.table.State.Reason, Remedy: t.table.State.Remedy,
		}
	}
	return d
}

func (d *descriptionJSON) write(w io.Writer) error {
	rows := "unknown"
	if d.Rows != nil {
		rows = human.Count(*d.Rows)
	}
	head := newGrid("table", d.Name)
	head.add("location", d.Location)
	if d.Source != nil {
		of := fmt.Sprintf("%s of table %s in database %s, pipeline %s, %s", d.Source.Mode, d.Source.Table, d.Source.Database, d.Source.Pipeline, d.Source.Phase)
		if d.Source.InsertOnly {
			of += ", INSERT ONLY"
		}
		head.add("source", of)
		if d.Source.Reason != "" {
			head.add("stopped", d.Source.Reason)
			head.add("what to do", d.Source.Remedy)
		}
	}
	head.add("version", fmt.Sprint(d.Version))
	head.add("size", fmt.Sprintf("%s rows in %s, %s", rows, human.Plural(int64(d.Files), "file"), human.Bytes(d.Bytes)))
	if len(d.Partitions) > 0 {
		head.add("partitioned by", strings.Join(d.Partitions, ", "))
	}
	protocol := fmt.Sprintf("reader %d, writer %d", d.Protocol.MinReaderVersion, d.Protocol.MinWriterVersion)
	if len(d.Protocol.WriterFeatures) > 0 {
		protocol += ": " + strings.Join(d.Protocol.WriterFeatures, ", ")
	}
	head.add("protocol", protocol)
	if err := head.write(w); err != nil {
		return err
	}
	columns := newGrid("COLUMN", "TYPE", "NULLABLE")
	for _, c := range d.Columns {
		columns.add(c.Name, c.Type, map[bool]string{true: "yes", false: "no"}[c.Nullable])
	}
	properties := newGrid("PROPERTY", "VALUE")
	for _, name := range slices.Sorted(maps.Keys(d.Properties)) {
		properties.add(name, d.Properties[name])
	}
	for _, g := range []*grid{columns, properties} {
		if len(g.rows) == 0 {
			continue
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
		if err := g.write(w); err != nil {
			return err
		}
	}
	return nil
}
