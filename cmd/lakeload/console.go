package main

import (
	"context"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// format is how something is written.
type format string

// The formats of --output and --log-format.
const (
	formatAuto  format = "auto"
	formatText  format = "text"
	formatTable format = "table"
	formatJSON  format = "json"
)

// console is everything of the process that a command may touch, so that
// tests can give it another one: standard output is for results, standard
// error for what happens.
type console struct {
	in         io.Reader // answers to questions; nil: there is nobody to ask
	out, err   io.Writer
	inIsTerm   bool
	outIsTerm  bool
	errIsTerm  bool
	getenv     func(string) (string, bool)
	now        func() time.Time
	executable func() (string, error)

	// Of the flags that every command has.
	output    format
	logFormat format
	quiet     bool

	signals context.Context // ended by the first signal
}

func systemConsole() *console {
	return &console{
		in:         os.Stdin,
		inIsTerm:   term.IsTerminal(int(os.Stdin.Fd())),
		out:        os.Stdout,
		err:        os.Stderr,
		outIsTerm:  term.IsTerminal(int(os.Stdout.Fd())),
		errIsTerm:  term.IsTerminal(int(os.Stderr.Fd())),
		getenv:     os.LookupEnv,
		now:        time.Now,
		executable: os.Executable,
	}
}

// interrupted reports whether a signal asked us to end.
func (c *console) interrupted() bool { return c.signals != nil && c.signals.Err() != nil }

// env is an environment variable's value, "" where it is not set.
func (c *console) env(name string) string {
	v, _ := c.getenv(name)
	return v
}
