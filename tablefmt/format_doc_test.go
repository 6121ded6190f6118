package tablefmt

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// docs/FORMAT.md says of every feature whether it is read and written, and names
// the tests that show it.
func TestFormatDocument(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "docs", "FORMAT.md"))
	require.NoError(t, err)
	rows := map[string][]string{}
	for _, m := range regexp.MustCompile(`(?m)^\| ([A-Za-z0-9-]+) \| (yes|no)[^|]* \| (yes|no)[^|]* \|(.*)\|$`).FindAllStringSubmatch(string(doc), -1) {
		rows[m[1]] = m[2:]
	}
	yes := map[bool]string{true: "yes", false: "no"}
	for _, f := range Features() {
		row := rows[f.Name]
		require.NotNil(t, row, f.Name)
		require.Equal(t, []string{yes[f.Read], yes[f.Write]}, row[:2], f.Name)
		require.True(t, !f.Write || strings.Contains(row[2], "Test"), "no test is named for %s", f.Name)
		delete(rows, f.Name)
	}
	require.Empty(t, rows, "features that nobody knows")

	there := map[string]bool{}
	test := regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9]+)\(`)
	require.NoError(t, filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		src, err := os.ReadFile(path)
		for _, m := range test.FindAllStringSubmatch(string(src), -1) {
			there[m[1]] = true
		}
		return err
	}))
	for _, name := range regexp.MustCompile(`\bTest[A-Za-z0-9]+`).FindAllString(string(doc), -1) {
		require.True(t, there[name], "%s is named, and there is no such test", name)
	}
}
