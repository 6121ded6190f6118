package main

import (
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/lakeload/lakeload/tablefmt/colfile"
)

// parquetOutput writes rows as one Parquet file. It streams: a file that was
// cut short has no footer, so no reader takes it for whole.
type parquetOutput struct{ w *colfile.Writer }

func newParquetOutput(to io.Writer, schema *arrow.Schema) (*parquetOutput, error) {
	w, err := colfile.NewWriter(to, schema, colfile.WriterOptions{})
	if err != nil {
		return nil, fmt.Errorf("beginning the Parquet file: %w", err)
	}
	return &parquetOutput{w}, nil
}

// Write writes the rows of a batch.
func (p *parquetOutput) Write(rec arrow.RecordBatch) error { return p.w.Write(rec) }

// Close writes the footer.
func (p *parquetOutput) Close() error {
	_, err := p.w.Close()
	return err
}
