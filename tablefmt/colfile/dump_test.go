package colfile

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDumpForOtherReaders writes the table of testdata/make_fixtures.py into
// $COLFILE_DUMP, for `make_fixtures.py check`.
func TestDumpForOtherReaders(t *testing.T) {
	dir := os.Getenv("COLFILE_DUMP")
	if dir == "" {
		t.Skip("COLFILE_DUMP is not set")
	}
	rec := fixtureBatch()
	for i, o := range []WriterOptions{
		{},
		{Codec: Snappy, RowGroupRows: 70},
		{Codec: Gzip, PageBytes: 1},
		{Codec: Uncompressed, NoDictionary: true},
	} {
		var buf bytes.Buffer
		w, err := NewWriter(&buf, rec.Schema(), o)
		require.NoError(t, err)
		require.NoError(t, w.Write(rec))
		_, err = w.Close()
		require.NoError(t, err)
		name := filepath.Join(dir, fmt.Sprintf("fixture-%d-%s.parquet", i, o.Codec))
		require.NoError(t, os.WriteFile(name, buf.Bytes(), 0o644))
	}
}
