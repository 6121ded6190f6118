package main

import "log/slog"

// narrator tells what a long command does: events, and a log.
type narrator struct {
	log    *slog.Logger
	events func(name string, event any)
	finish func()
	quiet  bool
}

// newNarrator chooses by the console how things are told. JSON events go to
// standard output; logs, and events as text, to standard error, above the
// progress bars where that is a terminal.
func newNarrator(c *console) *narrator {
	n := &narrator{quiet: c.quiet, finish: func() {}}
	level := slog.LevelInfo
	if c.quiet {
		level = slog.LevelError
	}
	asJSON := c.logFormat == formatJSON || c.logFormat == formatAuto && !c.outIsTerm
	if asJSON {
		lines := &jsonLines{w: c.out, now: c.now}
		n.events = lines.tell
		n.log = slog.New(slog.NewJSONHandler(c.err, &slog.HandlerOptions{Level: level}))
		return n
	}
	to := c.err
	var bars *progress
	if c.errIsTerm && !c.quiet {
		bars = newProgress(c.err)
		to, n.finish = bars, bars.close
	}
	n.log = slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: level}))
	text := &textLines{log: n.log, now: c.now}
	n.events = func(name string, event any) {
		if bars != nil && bars.tell(event) {
			return
		}
		text.tell(event)
	}
	return n
}

// tell is safe for concurrent use.
func (n *narrator) tell(name string, event any) {
	if n.quiet && name != eventTableStopped {
		return
	}
	n.events(name, event)
}

// close takes the bars away. Nothing may be told after it.
func (n *narrator) close() { n.finish() }
