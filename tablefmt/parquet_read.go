package tablefmt

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/lakeload/lakeload/tablefmt/colfile"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// errBadParquet marks a file that is no valid Parquet file.
var errBadParquet = errors.New("the Parquet file is damaged")

// parquetRead says what to read of a Parquet file.
type parquetRead struct {
	want      *arrow.Schema // columns that the file lacks are null
	byID      bool          // columns are found by field ids
	batchRows int           // 0 is colfile's default
	rows      []int64       // nil is all; else first rows are indices into it
	// adapt, where it is not nil, makes want fit the file.
	adapt func(f *colfile.File, want *arrow.Schema) *arrow.Schema
}

// readParquet gives the rows of a Parquet file in a store, in batches, and
// the number of each batch's first row. A batch is released when emit
// returns. An error of emit ends the reading and is returned as it is.
func readParquet(ctx context.Context, store objstore.Store, path string, r parquetRead, emit func(rec arrow.RecordBatch, firstRow int64) error) error {
	in, err := store.Open(ctx, path)
	if err != nil {
		return err
	}
	defer in.Close()
	f, err := colfile.OpenFile(in, in.Size())
	if err == nil {
		if r.adapt != nil {
			r.want = r.adapt(f, r.want)
		}
		if r.want.NumFields() == 0 {
			return countRows(f.NumRows(), r, emit)
		}
		err = f.Read(ctx, colfile.ReadOptions{Schema: r.want, ByFieldID: r.byID, BatchRows: r.batchRows, Rows: r.rows}, emit)
	}
	return badParquet(err)
}

// badParquet adds errBadParquet to an error of package colfile that means it.
func badParquet(err error) error {
	if errors.Is(err, colfile.ErrCorrupt) || errors.Is(err, colfile.ErrNoFieldIDs) {
		return fmt.Errorf("%w: %w", errBadParquet, err)
	}
	return err
}

// countRows gives batches without columns.
func countRows(rows int64, r parquetRead, emit func(rec arrow.RecordBatch, firstRow int64) error) error {
	size := int64(r.batchRows)
	if size <= 0 {
		size = colfile.DefaultBatchRows
	}
	for first := int64(0); first < rows; first += size {
		rec := array.NewRecordBatch(r.want, nil, min(size, rows-first))
		err := emit(rec, first)
		rec.Release()
		if err != nil {
			return err
		}
	}
	return nil
}
