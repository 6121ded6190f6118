package colfile

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lakeload/lakeload/tablefmt/variant"
)

// TestDamagedShreddedFiles changes bytes of files with shredded variants that
// Spark wrote: there are rows or an error that says what the matter is, and no
// panic.
func TestDamagedShreddedFiles(t *testing.T) {
	var files [][]byte
	for _, table := range []string{"shredded", "shredded_object", "inferred"} {
		paths, err := filepath.Glob(filepath.Join("..", "testdata", "variant", table, "delta", "*.parquet"))
		require.NoError(t, err)
		mapped, err := filepath.Glob(filepath.Join("..", "testdata", "variant", table, "delta", "*", "*.parquet"))
		require.NoError(t, err)
		for _, p := range append(paths, mapped...) {
			b, err := os.ReadFile(p)
			require.NoError(t, err)
			files = append(files, b)
		}
	}
	require.Greater(t, len(files), 20)
	read := func(b []byte) (rows int, err error) {
		f, err := OpenFile(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return 0, err
		}
		var want []arrow.Field
		for _, c := range f.Schema().Fields() {
			if s, ok := c.Type.(*arrow.StructType); ok && s.Field(0).Name == variantMetadata {
				c.Type, c.Metadata = variant.NewType(), arrow.Metadata{}
				want = append(want, c)
			}
		}
		if len(want) == 0 {
			return 0, nil
		}
		err = f.Read(context.Background(), ReadOptions{Schema: arrow.NewSchema(want, nil)}, func(rec arrow.RecordBatch, _ int64) error {
			rows += int(rec.NumRows())
			for i := range int(rec.NumRows()) {
				if v := rec.Column(0).(*variant.Array); v.IsValid(i) {
					metadata, value := v.Parts(i)
					require.NoError(t, variant.Check(metadata, value))
				}
			}
			return nil
		})
		return rows, err
	}
	total := 0
	for _, b := range files {
		n, err := read(b)
		require.NoError(t, err)
		total += n
	}
	require.Greater(t, total, 1000)
	rapid.Check(t, func(t *rapid.T) {
		b := bytes.Clone(rapid.SampledFrom(files).Draw(t, "file"))
		for range rapid.IntRange(1, 4).Draw(t, "faults") {
			b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= byte(1 << rapid.IntRange(0, 7).Draw(t, "bit"))
		}
		_, _ = read(b)
	})
}
