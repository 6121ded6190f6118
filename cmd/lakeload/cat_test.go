package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCatWhere: the rows for which a condition holds, with or without the columns
// that it asks for.
func TestCatWhere(t *testing.T) {
	table := changedTable(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--where", "id >= 2"}, "id,v\n2,B\n3,c"},
		{[]string{"--where", "v like 'B%' or ID = 3", "--columns", "v"}, "v\nB\nc"},
		{[]string{"--where", "v = 'b'", "--version", "1"}, "id,v\n2,b"},
		{[]string{"--where", "id > 3"}, "id,v"},
		{[]string{"--where", "id > 0", "--limit", "1"}, "id,v\n1,a"},
		{[]string{"--limit", "2", "--columns", "id"}, "id\n1\n2"},
		{[]string{"--limit", "0"}, "id,v"},
	} {
		r := lakeload(t, nil, append([]string{"cat", table, "--format", "csv"}, c.args...)...)
		require.Equal(t, exitDone, r.code, r.err)
		require.Equal(t, c.want, strings.TrimSpace(r.out), c.args)
	}
	for where, says := range map[string]string{
		"id = 'two'":   "'two' is not a number",
		"nope = 1":     "no column nope",
		"v":            "no comparison",
		"id = 1; drop": "means nothing",
	} {
		r := lakeload(t, nil, "cat", table, "--where", where, "--format", "csv")
		require.Equal(t, exitUsage, r.code, where)
		require.Empty(t, r.out, "nothing is written before the condition is understood")
		require.Contains(t, r.err, says)
		require.Contains(t, r.err, "what to do: ")
	}
}
