package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The counts of several runs add up in one file, and one that cannot be read is no zero.
func TestCountsOfSeveralRunsAddUp(t *testing.T) {
	file := filepath.Join(t.TempDir(), "counts")
	require.NoError(t, addCounts(file, 7, 1, 2))
	require.NoError(t, addCounts(file, 3, 0, 1))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "10 passed, 1 failed, 3 skipped\n", string(text))
	require.NoError(t, os.WriteFile(file, []byte("many passed\n"), 0o644))
	require.ErrorContains(t, addCounts(file, 1, 0, 0), "the earlier run")
}
