package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt"
)

func TestExitCodes(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name string
		err  error
		want exitCode
	}{
		{"nothing", nil, exitDone},
		{"anything", boom, exitFailed},
		{"usage", usageErrorf("", "bad flag"), exitUsage},
		{"usage, wrapped", fmt.Errorf("so: %w", usageErrorf("", "bad flag")), exitUsage},
		{"blockers", &preflightError{}, exitPreflight},
		{"blockers, joined with what came after", errors.Join(&preflightError{}, boom), exitPreflight},
		{"engine, preflight", &lakehouse.Error{Kind: lakehouse.KindPreflight}, exitPreflight},
		{"engine, conflict", fmt.Errorf("x: %w", &lakehouse.Error{Kind: lakehouse.KindConflict}), exitConflict},
		{"engine, damaged", &lakehouse.Error{Kind: lakehouse.KindDamaged}, exitDamaged},
		{"engine, failed", &lakehouse.Error{Err: boom}, exitFailed},
		{"engine, failed by damage below", &lakehouse.Error{Err: tablefmt.ErrCorrupt}, exitDamaged},
		{"table, conflict", fmt.Errorf("x: %w", &tablefmt.ConflictError{}), exitConflict},
		{"table, damaged", fmt.Errorf("x: %w", tablefmt.ErrCorrupt), exitDamaged},
		{"source", &cdc.Error{Class: cdc.ClassResync}, exitFailed},
	} {
		require.Equal(t, c.want, exitCodeOf(c.err), c.name)
	}
}

// The table in docs/CLI.md and in the help text is this program's.
func TestExitCodesAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/CLI.md")
	require.NoError(t, err)
	var table strings.Builder
	for i, e := range exitCodes {
		require.Equal(t, exitCode(i), e.code, "the numbers have no gap")
		require.Equal(t, e.name, e.code.String())
		fmt.Fprintf(&table, "| %d | %s | %s |\n", int(e.code), e.name, e.meaning)
	}
	require.Contains(t, string(doc), table.String())
	help := lakeload(t, nil, "--help")
	require.Equal(t, exitDone, help.code)
	require.Contains(t, help.out, exitCodeHelp())
}

func TestHintOfTheOutermostThatHasOne(t *testing.T) {
	inner := &cdc.Error{Op: "connecting", Remedy: "start the server"}
	require.Equal(t, "start the server", hintOf(fmt.Errorf("x: %w", inner)))
	require.Equal(t, "start the server", hintOf(&lakehouse.Error{Err: inner}), "one without a remedy is passed over")
	require.Equal(t, "no", hintOf(&lakehouse.Error{Err: inner, Remedy: "no"}))
	require.Empty(t, hintOf(errors.New("x")))
	require.Empty(t, hintOf(nil))
}
