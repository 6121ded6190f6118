package colfile

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDumpForOtherReaders writes files into $COLFILE_DUMP, for looking at
// them with other programs.
func TestDumpForOtherReaders(t *testing.T) {
	dir := os.Getenv("COLFILE_DUMP")
	if dir == "" {
		t.Skip("COLFILE_DUMP is not set")
	}
	for _, c := range []Codec{Zstd, Snappy, Gzip, Uncompressed} {
		var buf bytes.Buffer
		rec := orderBatch(20000, 1)
		w, err := NewWriter(&buf, rec.Schema(), WriterOptions{Codec: c, RowGroupRows: 7000, PageBytes: 8192})
		require.NoError(t, err)
		require.NoError(t, w.Write(rec))
		_, err = w.Close()
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "orders."+c.String()+".parquet"), buf.Bytes(), 0o644))
	}
}
