package arch

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// edgeCases is how many cases docs/EDGE_CASES.md has.
const edgeCases = 62

var (
	edgeTest = regexp.MustCompile(`(?m)^func (TestEdge[0-9]{2}\w*)\(`)
	edgeName = regexp.MustCompile("`(TestEdge[0-9]{2}\\w*)`")
	edgeNums = regexp.MustCompile(`^TestEdge([0-9]{2})(?:And([0-9]{2}))?`)
)

// casesOf gives the numbers that a test is named by.
func casesOf(t *testing.T, test string) []int {
	t.Helper()
	var cases []int
	for _, text := range edgeNums.FindStringSubmatch(test)[1:] {
		if text != "" {
			n, err := strconv.Atoi(text)
			require.NoError(t, err)
			cases = append(cases, n)
		}
	}
	return cases
}

// TestEdgeCasesAreDocumented holds that the table of edge cases and the tests that are named by them say the same: each case has a row, each
// row has a test, and each test is in its rows.
func TestEdgeCasesAreDocumented(t *testing.T) {
	root := filepath.Join("..", "..")
	have := make([][]string, edgeCases+1)
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range edgeTest.FindAllStringSubmatch(string(text), -1) {
			for _, n := range casesOf(t, m[1]) {
				require.LessOrEqual(t, n, edgeCases, m[1])
				have[n] = append(have[n], m[1])
			}
		}
		return nil
	}))
	doc, err := os.ReadFile(filepath.Join(root, "docs", "EDGE_CASES.md"))
	require.NoError(t, err)
	told := make([][]string, edgeCases+1)
	for line := range strings.Lines(string(doc)) {
		number, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " ")
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || n > edgeCases {
			continue
		}
		require.Nil(t, told[n], "case %d stands twice", n)
		for _, m := range edgeName.FindAllStringSubmatch(line, -1) {
			told[n] = append(told[n], m[1])
		}
	}
	for n := 1; n <= edgeCases; n++ {
		require.NotEmpty(t, have[n], "case %d has no test", n)
		slices.Sort(have[n])
		slices.Sort(told[n])
		require.Equal(t, have[n], told[n], "the tests of case %d in docs/EDGE_CASES.md", n)
	}
}
