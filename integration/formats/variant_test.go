package formats_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/tablefmt"
)

// variantScript is tablefmt/testdata/variant/make.py and a call of its functions.
func variantScript(t *testing.T, call string, args ...string) {
	t.Helper()
	script, err := os.ReadFile(filepath.Join("..", "..", "tablefmt", "testdata", "variant", "make.py"))
	require.NoError(t, err)
	_, err = readers.Get(t, readers.Spark).Python(t.Context(), string(script)+"\n"+call+"\n", args)
	require.NoError(t, err)
}

// sparkLines are a table's rows as Spark's to_json has them.
func sparkLines(t *testing.T, path string) []string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "lines")
	variantScript(t, "open(args[1], 'w').write('\\n'.join(texts(spark, args[0])))", path, out)
	data, err := os.ReadFile(out)
	require.NoError(t, err)
	return strings.Split(string(data), "\n")
}

// TestVariantsThatWeWrote: Spark reads the variants and voids of tables of its own that we have rewritten as it read them before. (What it made
// itself, tablefmt's own tests read.)
func TestVariantsThatWeWrote(t *testing.T) {
	for _, name := range []string{"variant", "shredded_object", "void", "void_mapped"} {
		if !wanted(name, "shredded_object", "void") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), name)
			require.NoError(t, os.CopyFS(path, os.DirFS(filepath.Join("..", "..", "tablefmt", "testdata", "variant", name, "delta"))))
			want := sparkLines(t, path)
			s := load(t, path)
			files, old := copyRows(t, s, true, "")
			x := tablefmt.Begin(s.Location(), s)
			for _, a := range old {
				x.Remove(*a.Remove(time.Now().UnixMilli(), false))
			}
			for _, a := range files {
				x.Add(*a)
			}
			s = commit(t, x)
			require.NoError(t, tablefmt.Checkpoint(t.Context(), s))
			require.Equal(t, len(want), len(rows(t, s)))
			got := sparkLines(t, path)
			if name == "shredded_object" { // Spark orders one object's names by UTF-16, and we by bytes
				for i := range want {
					want[i] = strings.ReplaceAll(want[i], "\"😀\":2,\"\ufffd\":1", "\"\ufffd\":1,\"😀\":2")
				}
			}
			require.Equal(t, want, got)
			exec(t, path, "DELETE FROM {t} WHERE id = 1")
			require.Len(t, rows(t, load(t, path)), len(want)-1)
		})
	}
}
