package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// clonedTable makes a clone of changedTable: a log that names its files by absolute paths.
func clonedTable(t *testing.T) (clone, source string) {
	t.Helper()
	source = changedTable(t)
	clone = filepath.Join(t.TempDir(), "clone")
	require.NoError(t, os.MkdirAll(filepath.Join(clone, "_delta_log"), 0o700))
	names, err := filepath.Glob(filepath.Join(source, "_delta_log", "*.json"))
	require.NoError(t, err)
	for _, name := range names {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		text := strings.ReplaceAll(string(data), `"path":"`, `"path":"file:`+source+`/`)
		require.NoError(t, os.WriteFile(filepath.Join(clone, "_delta_log", filepath.Base(name)), []byte(text), 0o600))
	}
	return clone, source
}

func TestFollowClones(t *testing.T) {
	clone, source := clonedTable(t)
	r := lakeload(t, nil, "cat", clone, "--format", "csv")
	require.Equal(t, exitFailed, r.code)
	require.Contains(t, r.err, "file:"+source+"/")
	require.Contains(t, r.err, "what to do: name the folder of the table that it was cloned from with --follow-clones")
	r = lakeload(t, nil, "cat", clone, "--format", "csv", "--follow-clones", t.TempDir())
	require.Equal(t, exitFailed, r.code)
	require.Contains(t, r.err, "in none of the folders that may be read")

	r = lakeload(t, nil, "cat", clone, "--format", "csv", "--follow-clones", source)
	require.Equal(t, exitDone, r.code, r.err)
	require.Equal(t, lakeload(t, nil, "cat", source, "--format", "csv").out, r.out)
	r = lakeload(t, nil, "changes", clone, "--format", "csv", "--from-version", "3", "--follow-clones", filepath.Dir(source))
	require.Equal(t, exitDone, r.code, r.err)
	require.Contains(t, r.out, "update_preimage")

	r = lakeload(t, nil, "fsck", clone)
	require.Equal(t, exitDone, r.code, r.err)
	require.Contains(t, r.out, "outside of the table's folder were not looked at: see --follow-clones")
	r = lakeload(t, nil, "fsck", clone, "--follow-clones", source, "--rows")
	require.Equal(t, exitDone, r.code, r.err)
	require.NotContains(t, r.out, "outside")
	r = lakeload(t, nil, "restore", clone, "--version", "1", "--yes")
	require.Equal(t, exitFailed, r.code)
	require.Contains(t, r.err, "--follow-clones")
	r = lakeload(t, nil, "restore", clone, "--version", "1", "--yes", "--follow-clones", source)
	require.Equal(t, exitDone, r.code, r.err)
	require.Contains(t, lakeload(t, nil, "describe", clone).out, "clone")
}
