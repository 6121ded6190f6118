package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// exitCode is what the process tells its caller. The numbers are a contract,
// see docs/CLI.md.
type exitCode int

// The exit codes.
const (
	exitDone      exitCode = 0
	exitFailed    exitCode = 1
	exitUsage     exitCode = 2
	exitPreflight exitCode = 3
	exitConflict  exitCode = 4
	exitDamaged   exitCode = 5
	exitQuality   exitCode = 6
)

// exitCodes is the one table of exit codes: the help text and a test of
// docs/CLI.md are made from it.
var exitCodes = []struct {
	code    exitCode
	name    string
	meaning string
}{
	{exitDone, "done", "what was asked for is done; run also when it was told to stop and has flushed"},
	{exitFailed, "failed", "it was tried and failed; the message says why and what to do"},
	{exitUsage, "usage", "the command line or the configuration is wrong; nothing was tried"},
	{exitPreflight, "preflight", "the source is not ready to be mirrored; nothing was changed"},
	{exitConflict, "conflict", "somebody else feeds this lake or changed this table"},
	{exitDamaged, "damaged", "data in the lake are missing, damaged or of a newer format"},
	{exitQuality, "quality", "data were found that break a rule of quality"},
}

func (c exitCode) String() string {
	for _, e := range exitCodes {
		if e.code == c {
			return e.name
		}
	}
	return fmt.Sprintf("exit code %d", int(c))
}

// exitCodeHelp is the table for the help text.
func exitCodeHelp() string {
	var b strings.Builder
	b.WriteString("Exit codes:\n")
	for _, e := range exitCodes {
		fmt.Fprintf(&b, "  %d  %-10s %s\n", int(e.code), e.name, e.meaning)
	}
	return b.String()
}

// exiter is an error that knows its exit code.
type exiter interface{ exitCode() exitCode }

// hinter is an error that knows what to do about it; cdc.Error,
// lakehouse.Error and our own are such.
type hinter interface{ Hint() string }

// exitCodeOf says how the process ends after err. The outermost error that
// knows a code decides.
func exitCodeOf(err error) exitCode {
	if err == nil {
		return exitDone
	}
	var e exiter
	if errors.As(err, &e) {
		return e.exitCode()
	}
	return exitCodeOfPackages(err)
}

// hintOf is what to do about err: of the outermost error that says so.
func hintOf(err error) string {
	var h hinter
	for err != nil && errors.As(err, &h) {
		if s := h.Hint(); s != "" {
			return s
		}
		under, ok := h.(error)
		if !ok {
			break
		}
		err = errors.Unwrap(under)
	}
	return ""
}

// failure is an error of a command: what was being done, why it failed, what
// to do and how the process ends.
type failure struct {
	code   exitCode
	err    error
	remedy string
}

func (f *failure) Error() string      { return f.err.Error() }
func (f *failure) Unwrap() error      { return f.err }
func (f *failure) Hint() string       { return f.remedy }
func (f *failure) exitCode() exitCode { return f.code }

// usageErrorf is a fault in the command line or the configuration.
func usageErrorf(remedy, format string, args ...any) error {
	return &failure{code: exitUsage, err: fmt.Errorf(format, args...), remedy: remedy}
}

// failedf is a failure of what was tried, with a remedy.
func failedf(remedy, format string, args ...any) error {
	return &failure{code: exitFailed, err: fmt.Errorf(format, args...), remedy: remedy}
}

// report writes an error to standard error: as text for people, or as one
// line of JSON where that was asked for.
func (c *console) report(err error, command string) {
	if err == nil {
		return
	}
	text, hint := err.Error(), hintOf(err)
	if errors.Is(err, context.Canceled) && c.interrupted() {
		text, hint = "interrupted", ""
	}
	if c.logFormat == formatJSON {
		line, _ := json.Marshal(struct {
			Time    time.Time `json:"time"`
			Event   string    `json:"event"`
			Command string    `json:"command,omitempty"`
			Error   string    `json:"error"`
			Remedy  string    `json:"remedy,omitempty"`
			Code    int       `json:"exit_code"`
		}{c.now().UTC(), "error", command, text, hint, int(exitCodeOf(err))})
		fmt.Fprintf(c.err, "%s\n", line)
		return
	}
	name := "lakeload"
	if command != "" {
		name += " " + command
	}
	fmt.Fprintf(c.err, "%s: %s\n", name, text)
	if hint != "" {
		fmt.Fprintf(c.err, "  what to do: %s\n", strings.ReplaceAll(hint, "\n", "\n    "))
	}
}
