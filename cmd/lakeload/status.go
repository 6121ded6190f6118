package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/postgres"
	"github.com/lakeload/lakeload/cmd/lakeload/human"
	"github.com/lakeload/lakeload/lakehouse"
)

// statusJSON is what `status -o json` prints. What is asked of the source is
// null where no source was named.
type statusJSON struct {
	Pipeline    string                 `json:"pipeline"`
	Phase       string                 `json:"phase"`
	Source      cdc.Identity           `json:"source"`
	Slot        string                 `json:"slot"`
	Publication string                 `json:"publication"`
	Position    cdc.LSN                `json:"lsn"` // up to which the lake holds everything
	Epoch       *epochJSON             `json:"epoch"`
	Tables      []lakehouse.TableState `json:"tables"`
	SlotState   *cdc.SlotState         `json:"slot_state"`
	LagBytes    *int64                 `json:"lag_bytes"`      // between the source's newest position and the lake's
	LagSeconds  *float64               `json:"lag_seconds"`    // since the lake's last transaction, 0 where no lag
	HeldBytes   *int64                 `json:"wal_held_bytes"` // of write-ahead log that the slot keeps
}

func newStatusCommand(c *console) *cobra.Command {
	flags := lakeFlags{c: c}
	var source string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how far the lake is, and what its tables do",
		Long: `Shows what the lake records: position, last epoch, and the tables with what is
wrong with them. Where the source is named, the slot too, and how far the lake
is behind it.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			conf, err := flags.load()
			if err != nil {
				return err
			}
			dsn, err := c.sourceDSN(source, conf.Source.URL)
			if err != nil {
				return err
			}
			lake, closeStore, err := flags.open(cmd.Context())
			if err != nil {
				return err
			}
			defer closeStore()
			s := lakeStatus(lake)
			if dsn != "" {
				state := lake.State()
				err := s.ask(cmd.Context(), lake, c.now(), postgres.Config{
					DSN: dsn, PasswordFile: conf.Source.PasswordFile, Slot: state.Slot, Publication: state.Publication, All: true,
					Logger: slog.New(slog.DiscardHandler),
				})
				if err != nil {
					return err
				}
			}
			return c.print(s, func(w io.Writer) error { return s.write(w, c.now()) })
		},
	}
	flags.register(cmd.Flags())
	cmd.Flags().StringVar(&source, "source", "", "the database, to ask it about the slot; else "+sourceEnv)
	return cmd
}

func lakeStatus(lake *lakehouse.Lake) *statusJSON {
	state := lake.State()
	s := &statusJSON{
		Pipeline: state.Pipeline, Phase: state.Phase, Source: state.Source, Slot: state.Slot, Publication: state.Publication,
		Position: lake.Position(), Tables: state.Tables,
	}
	if s.Tables == nil {
		s.Tables = []lakehouse.TableState{}
	}
	if last, err := lake.Epoch(lakehouse.At{}); err == nil {
		j := asEpochJSON(last)
		s.Epoch = &j
	}
	return s
}

// ask adds what the source tells.
func (s *statusJSON) ask(ctx context.Context, lake *lakehouse.Lake, now time.Time, conf postgres.Config) error {
	source, err := postgres.Open(ctx, conf)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }() // it was only read
	who, err := source.Identify(ctx)
	if err != nil {
		return err
	}
	if who.SystemID != s.Source.SystemID || who.Database != s.Source.Database {
		return failedf("name the database that the lake was made from", "the source is database %s of cluster %s, the lake was made from database %s of cluster %s",
			who.Database, who.SystemID, s.Source.Database, s.Source.SystemID)
	}
	slot, err := source.Slot(ctx)
	if err != nil {
		return err
	}
	lag := max(0, int64(slot.Current)-int64(max(s.Position, slot.ConfirmedFlush)))
	held := max(0, int64(slot.Current)-int64(slot.Restart))
	s.SlotState, s.LagBytes, s.HeldBytes = &slot, &lag, &held
	seconds := 0.0
	if age, ok := lake.Freshness(now); ok && lag > 0 {
		seconds = max(0, age.Seconds())
	}
	s.LagSeconds = &seconds
	return nil
}

func (s *statusJSON) write(w io.Writer, now time.Time) error {
	g := newGrid("pipeline", s.Pipeline+", "+s.Phase)
	g.add("source", fmt.Sprintf("database %s, PostgreSQL %d, cluster %s, timeline %d", s.Source.Database, s.Source.ServerVersion/10000, s.Source.SystemID, s.Source.Timeline))
	if s.Epoch == nil {
		g.add("epoch", "none yet: the first comes when the initial copy is complete")
	} else {
		at := "-"
		if s.Epoch.CommitTime != nil {
			at = clock(*s.Epoch.CommitTime) + ", " + now.Sub(*s.Epoch.CommitTime).Round(time.Second).String() + " ago"
		}
		g.add("epoch", fmt.Sprintf("%d at %s, committed %s", s.Epoch.Epoch, s.Epoch.LSN, at))
	}
	g.add("position", s.Position.String())
	if s.SlotState == nil {
		g.add("slot", s.Slot+" (name the source with --source to see its state)")
	} else {
		active := "nobody reads it"
		if s.SlotState.Active {
			active = "being read"
		}
		if s.SlotState.Lost {
			active = "LOST: the server has removed changes that the lake does not have"
		}
		g.add("slot", fmt.Sprintf("%s, %s, %s of write-ahead log held", s.Slot, active, human.Bytes(*s.HeldBytes)))
		g.add("lag", fmt.Sprintf("%s, %.0f s", human.Bytes(*s.LagBytes), *s.LagSeconds))
	}
	if err := g.write(w); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	t := newGrid("TABLE", "PHASE", "SINCE", "NOTE")
	for _, table := range s.Tables {
		note := tableNote(tableJSON{InsertOnly: table.InsertOnly, Reason: table.Reason})
		if table.Remedy != "" {
			note += "; what to do: " + table.Remedy
		}
		t.add(table.Name(), string(table.Phase), clock(table.Since), note)
	}
	return t.write(w)
}
