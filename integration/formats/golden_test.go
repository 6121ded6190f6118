package formats_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/tablefmt"
)

// TestGoldenTables has Spark make the tables of tablefmt/testdata/golden/make.py anew, all of them, and reads every version of each; what is
// checked in of them the tests of tablefmt read in any case.
func TestGoldenTables(t *testing.T) {
	script, err := os.ReadFile(filepath.Join("..", "..", "tablefmt", "testdata", "golden", "make.py"))
	require.NoError(t, err)
	names := regexp.MustCompile(`"([\w-]+)": \(`).FindAllStringSubmatch(string(script), -1)
	require.Greater(t, len(names), 20)
	for _, m := range names {
		name := m[1]
		if !wanted(name, "v2-checkpoint-parquet") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), name)
			_, err := readers.Get(t, readers.Spark).Python(t.Context(), string(script)+"\nTABLES[args[1]][0](spark, args[0])\n", []string{path, name})
			require.NoError(t, err)
			sameAsSpark(t, path, 0)
			_, err = tablefmt.Check(t.Context(), location(t, path), tablefmt.CheckOptions{Rows: true}, func(f tablefmt.Fault) error { return fmt.Errorf("%s", f) })
			require.NoError(t, err)
		})
	}
}
