package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every check that a preflight makes is in docs/CLI.md, under a name that
// others rely on.
func TestChecksAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/CLI.md")
	require.NoError(t, err)
	files, err := filepath.Glob("../../cdc/postgres/check*.go")
	require.NoError(t, err)
	files = append(files, "../../lakehouse/preflight.go")
	call := regexp.MustCompile(`(?:\.(?:ok|warning|blocker|room)\(|cdc\.(?:Warning|Blocker), |Check: |refusal\()"([a-z_]+)"`)
	names := map[string]bool{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		for _, m := range call.FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
	}
	require.Greater(t, len(names), 40, "the pattern has not found the checks")
	for name := range names {
		require.Contains(t, string(doc), "`"+name+"`", "docs/CLI.md does not name the check")
	}
}
