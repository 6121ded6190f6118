package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
)

// TestUsage runs testdata/usage: what is wrong with a command line, and what
// it says to that. The lines below `lakeload` are arguments, one each; NAME=value
// beside it is the environment. `file` makes one in $DIR.
func TestUsage(t *testing.T) {
	dir := t.TempDir()
	datadriven.RunTest(t, "testdata/usage", func(t *testing.T, d *datadriven.TestData) string {
		if d.Cmd == "file" {
			require.NoError(t, os.WriteFile(filepath.Join(dir, d.CmdArgs[0].Key), []byte(d.Input), 0o600))
			return ""
		}
		require.Equal(t, "lakeload", d.Cmd)
		env := map[string]string{}
		for _, arg := range d.CmdArgs {
			env[arg.Key] = arg.Vals[0]
			require.NoError(t, os.Setenv(arg.Key, arg.Vals[0])) // some packages look there themselves
			defer func() { require.NoError(t, os.Unsetenv(arg.Key)) }()
		}
		var args []string
		for line := range strings.Lines(d.Input) {
			args = append(args, strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "$DIR", dir))
		}
		r := lakeload(t, env, args...)
		require.Empty(t, r.out, "results and complaints are kept apart")
		return strings.ReplaceAll(r.err, dir, "$DIR") + "exit " + r.code.String() + "\n"
	})
}

func TestErrorsAsJSON(t *testing.T) {
	r := lakeload(t, nil, "epochs", "--log-format", "json")
	require.Equal(t, exitUsage, r.code)
	require.Equal(t, `{"time":"2026-11-23T18:04:32.123456Z","event":"error","command":"epochs","error":"which lake is meant is not said",`+
		`"remedy":"name it with --lake ./lake, or in a configuration file with -c","exit_code":2}`+"\n", r.err)
}

func TestVersion(t *testing.T) {
	r := lakeload(t, nil, "version", "-o", "json")
	require.Equal(t, exitDone, r.code)
	var v versionInfo
	require.NoError(t, json.Unmarshal([]byte(r.out), &v))
	require.NotEmpty(t, v.Version)
	require.NotEmpty(t, v.Go)
	require.Contains(t, lakeload(t, nil, "version").out, "lakeload "+v.Version)
}

// Every command explains itself, and every flag has a word to it.
func TestHelp(t *testing.T) {
	for _, cmd := range commands(&console{}) {
		r := lakeload(t, nil, cmd.Name(), "--help")
		require.Equal(t, exitDone, r.code, cmd.Name())
		require.Contains(t, r.out, cmd.Short, cmd.Name())
		require.Empty(t, r.err)
	}
}

// Every command of the README exists, and the other way round.
func TestCommandsAreInTheReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	for _, cmd := range commands(&console{}) {
		require.Regexp(t, "(?m)^\\| .*`"+cmd.Name()+"[ `]", string(readme))
	}
}
