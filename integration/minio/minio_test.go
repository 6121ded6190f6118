package minio_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lakeload/lakeload/integration/minio"
	"github.com/lakeload/lakeload/integration/readers"
)

func TestMain(m *testing.M) {
	code := m.Run()
	for _, err := range []error{readers.Close(), minio.Stop(), goleak.Find()} {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// TestReadersReadFromS3 writes a table to a bucket by delta-rs and reads it with every reader that can.
func TestReadersReadFromS3(t *testing.T) {
	s := minio.Get(t)
	path := "s3://" + s.Bucket(t) + "/some/table"
	writer := readers.Get(t, readers.DeltaRS)
	require.NoError(t, writer.UseS3(t.Context(), s.S3))
	_, err := writer.Python(t.Context(), `
for i in range(3):
    deltalake.write_deltalake(args, pa.table({"id": [i], "name": [None if i == 1 else f"n{i}"]}), mode="append", storage_options=reader.storage)
`, path)
	require.NoError(t, err)
	want := [][]string{{"0", "n0"}, {"1", readers.Null}, {"2", "n2"}}
	for _, kind := range []readers.Kind{readers.DuckDB, readers.DeltaRS, readers.Polars} {
		t.Run(string(kind), func(t *testing.T) {
			r := readers.Get(t, kind)
			require.NoError(t, r.UseS3(t.Context(), s.S3))
			got, err := r.Rows(t.Context(), path, nil, nil)
			require.NoError(t, err)
			readers.Same(t, got, want)
			var first int64
			got, err = r.Rows(t.Context(), path, &first, nil)
			require.NoError(t, err)
			readers.Same(t, got, want[:1])
		})
	}
}
