package crashes

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/internal/crashpoint"
)

// envTable has TestEveryCrashPoint write the table into docs/EXACTLY_ONCE.md. With "add" it adds what it counted to what stands there.
const envTable = "LAKELOAD_CRASH_TABLE"

// The table stands between these lines, and each cell has been killed at least so often.
const (
	tableBegin = "<!-- The table is written by `make crash-table`. -->"
	tableEnd   = "<!-- end of the table -->"
	leastKills = 10
)

var page = filepath.Join("..", "..", "docs", "EXACTLY_ONCE.md")

// table is what was counted, in Markdown: in each cell how often the program was killed, and how often the lake was not the source afterwards.
// Modes that were not run to their end keep what the page says of them.
func (c *tally) table(old map[string][]string) string {
	var b, notes strings.Builder
	b.WriteString("| point |")
	for _, m := range modes {
		b.WriteString(" " + m.name + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(modes)) + "\n")
	for _, p := range crashpoint.All() {
		fmt.Fprintf(&b, "| `%s` |", p)
		for i, m := range modes {
			text := "-"
			if row := old[fmt.Sprintf("`%s`", p)]; len(row) == len(modes) {
				text = row[i]
			}
			if c.ended[m.name] {
				o := c.cells[cell{m.name, p}]
				if os.Getenv(envTable) == "add" {
					var had outcome
					if _, err := fmt.Sscanf(text, "%d / %d", &had.kills, &had.differences); err == nil {
						o.kills, o.differences = o.kills+had.kills, o.differences+had.differences
					}
				}
				text = fmt.Sprintf("%d / %d", o.kills, o.differences)
			}
			if why := m.never[p]; why != "" {
				text = "n/a"
				fmt.Fprintf(&notes, "* `%s`, %s: not passed, as %s.\n", p, m.name, why)
			}
			b.WriteString(" " + text + " |")
		}
		b.WriteString("\n")
	}
	b.WriteString("\nKills / differences.\n\n")
	for _, m := range modes {
		fmt.Fprintf(&b, "* **%s**: %s.\n", m.name, m.says)
	}
	b.WriteString(notes.String())
	return b.String()
}

var between = regexp.MustCompile(`(?s)` + regexp.QuoteMeta(tableBegin) + `\n(.*)` + regexp.QuoteMeta(tableEnd))

func writeTable(t *testing.T, c *tally) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	at := between.FindSubmatchIndex(text)
	require.NotNil(t, at, "%s has no place for the table", page)
	text = slices.Concat(text[:at[2]], []byte("\n"+c.table(cellsOf(string(text[at[2]:at[3]])))+"\n"), text[at[3]:])
	require.NoError(t, os.WriteFile(page, text, 0o644))
}

// cellsOf reads a table: the cells of each row by the first of them.
func cellsOf(text string) map[string][]string {
	rows := map[string][]string{}
	for line := range strings.Lines(text) {
		if cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|"); len(cells) > 1 {
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows[cells[0]] = cells[1:]
		}
	}
	return rows
}

// TestCrashTableIsWhole holds that the table in docs/EXACTLY_ONCE.md has every crash point that there is, in every mode, killed often enough and
// without a difference. It runs without real parts.
func TestCrashTableIsWhole(t *testing.T) {
	const remedy = "make crash-table writes it anew"
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	found := between.FindSubmatch(text)
	require.NotNil(t, found, "%s has no table; %s", page, remedy)
	rows := cellsOf(string(found[1]))
	var names []string
	for _, m := range modes {
		names = append(names, m.name)
	}
	require.Equal(t, names, rows["point"], "the modes of the table; %s", remedy)
	require.Len(t, rows, len(crashpoint.All())+2, "a row for each crash point and two of the head; %s", remedy)
	for _, p := range crashpoint.All() {
		row := rows[fmt.Sprintf("`%s`", p)]
		require.Len(t, row, len(modes), "the crash point %s in the table; %s", p, remedy)
		for i, m := range modes {
			if m.never[p] != "" {
				require.Equal(t, "n/a", row[i], "%s, %s; %s", p, m.name, remedy)
				continue
			}
			kills, differences, _ := strings.Cut(row[i], " / ")
			n, err := strconv.Atoi(kills)
			require.NoError(t, err, "%s, %s; %s", p, m.name, remedy)
			require.GreaterOrEqual(t, n, leastKills, "%s, %s; %s", p, m.name, remedy)
			require.Equal(t, "0", differences, "%s, %s", p, m.name)
		}
	}
}
