package lakehouse

import (
	"context"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/lakeload/lakeload/internal/crashpoint"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/dv"
)

// stagedFile is a data file that is durable and that no commit names yet.
type stagedFile struct {
	add  *tablefmt.AddFile
	rows int64
	dead *dv.Bitmap // rows that later changes of the same flush replaced; nil for none
}

// stager writes rows of one table into data files of bounded size.
type stager struct {
	t    *table
	ctx  context.Context //nolint:containedctx // a stager lives within one call
	file *tablefmt.FileWriter
	rows int64
	done []*stagedFile
}

// place is where a run of rows was put: from row first of a file.
type place struct {
	path  string // AddFile.Path
	first int64
}

func (t *table) newStager(ctx context.Context) *stager { return &stager{t: t, ctx: ctx} }

// write appends the given rows of a record, which all end up in one file.
func (s *stager) write(rec arrow.RecordBatch, rows []int32) (place, error) {
	if s.file == nil {
		w, err := tablefmt.NewFileWriter(s.ctx, s.t.spec.loc, s.t.arrow, tablefmt.FileOptions{})
		if err != nil {
			return place{}, fmt.Errorf("writing rows of %s: %w", &s.t.spec, err)
		}
		s.file, s.rows = w, 0
	}
	first, err := s.writeRows(rec, rows)
	if err != nil {
		return place{}, fmt.Errorf("writing rows of %s: %w", &s.t.spec, err)
	}
	s.rows += int64(len(rows))
	at := place{path: s.file.Path(), first: first}
	if s.file.Bytes() >= s.t.spec.targetSize {
		err = s.finish()
	}
	return at, err
}

// writeRows writes rows that stand together as a whole, which is cheaper.
func (s *stager) writeRows(rec arrow.RecordBatch, rows []int32) (int64, error) {
	for i, row := range rows {
		if row != rows[0]+int32(i) {
			return s.file.WriteRows(rec, rows)
		}
	}
	if len(rows) == 0 {
		return s.file.Rows(), nil
	}
	part := rec.NewSlice(int64(rows[0]), int64(rows[0])+int64(len(rows)))
	defer part.Release()
	return s.file.Write(part)
}

func (s *stager) finish() error {
	if s.file == nil {
		return nil
	}
	add, err := s.file.Close()
	if err != nil {
		return fmt.Errorf("writing rows of %s: %w", &s.t.spec, err)
	}
	s.file = nil
	crashpoint.At(crashpoint.DataFileWritten)
	s.t.spec.meter.wrote(add.Size)
	s.done = append(s.done, &stagedFile{add: add, rows: s.rows})
	return nil
}

// close makes the last file durable and hands all files to the table.
func (s *stager) close() error {
	if err := s.finish(); err != nil {
		return err
	}
	s.t.files = append(s.t.files, s.done...)
	s.t.staged = s.t.staged || len(s.done) > 0
	return nil
}

// abort gives up a file that is not finished; after close it does nothing.
func (s *stager) abort() {
	if s.file != nil {
		s.file.Abort()
		s.file = nil
	}
}

func rowsFrom(first, end int) []int32 {
	rows := make([]int32, 0, end-first)
	for r := first; r < end; r++ {
		rows = append(rows, int32(r))
	}
	return rows
}
