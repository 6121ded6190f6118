package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cmd/lakeload/human"
)

// sourceText names a source for people.
func sourceText(id cdc.Identity) string {
	s := fmt.Sprintf("database %s, PostgreSQL %d, cluster %s, timeline %d", id.Database, id.ServerVersion/10000, id.SystemID, id.Timeline)
	if id.Standby {
		s += ", a standby"
	}
	return s
}

// write tells a status for people.
func (s *statusJSON) write(w io.Writer, now time.Time) error {
	g := newGrid("pipeline", s.Pipeline+", "+s.Phase)
	g.add("source", sourceText(s.Source))
	if n := len(s.Adoptions); n > 0 {
		a := s.Adoptions[n-1]
		g.add("adopted", fmt.Sprintf("%s by %s, from cluster %s %s", clock(a.Time), a.By, a.From.SystemID, a.Note))
	}
	if s.Halt != nil {
		g.add("HALTED", clock(s.Halt.Since)+": "+s.Halt.Reason)
		g.add("what to do", s.Halt.Remedy)
	}
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
	if s.report == nil {
		g.add("slot", s.Slot+" (name the source with --source to see its state)")
	} else {
		g.add("slot", s.Slot)
		addReport(g, s.report)
		g.add("lag", fmt.Sprintf("%s, %.0f s", human.Bytes(*s.LagBytes), *s.LagSeconds))
	}
	g.add("engine", s.Health.text())
	for _, p := range s.Problems {
		g.add("PROBLEM", p)
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
		if p := table.Copy; p != nil {
			note = strings.TrimPrefix(note+fmt.Sprintf("; %d of %d ranges, %s", p.Done, p.Ranges, human.Plural(p.Rows, "row")), "; ")
		}
		if table.Remedy != "" {
			note += "; what to do: " + table.Remedy
		}
		t.add(table.Name(), string(table.Phase), clock(table.Since), note)
	}
	return t.write(w)
}
