package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/lakeload/lakeload/cdc"
)

// Timelines implements [cdc.Source]. The history is that of the timeline on
// which the server is now.
func (s *Source) Timelines(ctx context.Context) ([]cdc.Switch, error) {
	const op = "reading the history of the server's timeline"
	conn, err := s.connector.connect(ctx, connWalsender)
	if err != nil {
		return nil, err
	}
	defer closeConn(conn)
	timeline := serverOf(conn).Timeline
	if timeline == 1 {
		return nil, nil // it has none, and the server has no file of it
	}
	rows, err := simple(ctx, conn, fmt.Sprintf("TIMELINE_HISTORY %d", timeline))
	if err == nil && (len(rows) != 1 || len(rows[0]) < 2) {
		err = fmt.Errorf("the server's answer is not one row of two columns")
	}
	if err != nil {
		return nil, failed(op, "timeline "+strconv.Itoa(int(timeline)), err)
	}
	history, err := parseHistory(rows[0].str(1))
	if err != nil {
		return nil, refused(op, "timeline "+strconv.Itoa(int(timeline)), "report this with the content of the server's file "+rows[0].str(0), err)
	}
	return history, nil
}

// parseHistory reads a timeline's history file: a line for each ancestor, with
// its number, where it ended, and why.
func parseHistory(text string) ([]cdc.Switch, error) {
	var history []cdc.Switch
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) < 2 {
			return nil, fmt.Errorf("the line %q has no position", strings.TrimSpace(line))
		}
		timeline, err := strconv.ParseUint(fields[0], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("the line %q begins with no timeline: %w", strings.TrimSpace(line), err)
		}
		at, err := cdc.ParseLSN(fields[1])
		if err != nil {
			return nil, err
		}
		if n := len(history); n > 0 && (uint32(timeline) <= history[n-1].Timeline || at < history[n-1].At) {
			return nil, fmt.Errorf("timeline %d at %s comes after timeline %d at %s", timeline, at, history[n-1].Timeline, history[n-1].At)
		}
		history = append(history, cdc.Switch{Timeline: uint32(timeline), At: at})
	}
	return history, nil
}
