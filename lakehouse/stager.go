package lakehouse

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

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

// stager writes rows of one table into data files of bounded size. The rows of
// a table that is partitioned wait until there are many, so that those of a
// partition are written together.
type stager struct {
	t    *table
	ctx  context.Context //nolint:containedctx // a stager lives within one call
	file *openFile       // of a table without partitions; nil: none is begun
	held heldRows        // of one with partitions
	done []*stagedFile

	folder string // in the table's, of the files; "" for none
}

// openFile is a data file that is being written.
type openFile struct {
	w    *tablefmt.FileWriter
	rows int64
	most int64 // bytes at which it is closed
}

// place is where a run of rows was put: from row first of a file.
type place struct {
	path  string // AddFile.Path
	first int64
}

// placed is told where rows are that were given to a stager: those of the given
// numbers, one after the other from a place on. nil are all of them.
type placed func(part []int, at place) error

func (t *table) newStager(ctx context.Context) *stager { return &stager{t: t, ctx: ctx} }

// write takes the given rows of a record. told says where they are: before
// write returns, or, in several runs, by the time the stager is closed.
func (s *stager) write(rec arrow.RecordBatch, rows []int32, told placed) error {
	if len(s.t.added.partition) > 0 {
		return s.hold(rec, rows, told)
	}
	at, err := s.put(&s.file, rec, rows, tablefmt.FileOptions{})
	if err != nil {
		return err
	}
	return told(nil, at)
}

// put writes rows into an open file, or a new one.
func (s *stager) put(to **openFile, rec arrow.RecordBatch, rows []int32, o tablefmt.FileOptions) (place, error) {
	if *to == nil {
		o.Prefix = s.folder
		w, err := s.t.newFile(s.ctx, o)
		if err != nil {
			return place{}, fmt.Errorf("writing rows of %s: %w", &s.t.spec, err)
		}
		*to = &openFile{w: w, most: s.t.targetSize()}
	}
	f := *to
	data := s.dataOf(rec)
	defer data.Release()
	first, err := f.write(data, rows)
	if err != nil {
		return place{}, fmt.Errorf("writing rows of %s: %w", &s.t.spec, err)
	}
	f.rows += int64(len(rows))
	at := place{path: f.w.Path(), first: first}
	if f.w.Bytes() >= f.most {
		err = s.finishFile(to)
	}
	return at, err
}

// targetSize is the size in bytes at which a data file is closed: what somebody
// asked of the table counts more than what the engine was told.
func (t *table) targetSize() int64 {
	if t.snap != nil {
		if n, ok := t.snap.TargetFileSize(); ok {
			return n
		}
	}
	return t.spec.targetSize
}

// newFile begins a data file: by the table's own writer, which knows what others
// may have asked of the table, unless the file is none of the table's rows.
func (t *table) newFile(ctx context.Context, o tablefmt.FileOptions) (*tablefmt.FileWriter, error) {
	if t.snap == nil || o.Prefix != "" {
		return tablefmt.NewFileWriter(ctx, t.spec.loc, t.added.data, o)
	}
	as := t.snap
	if as.Schema() != t.schema { // columns are staged
		var err error
		if as, err = as.WithSchema(t.schema); err != nil {
			return nil, err
		}
	}
	o.Computed = true
	return as.NewFileWriter(ctx, o)
}

// dataOf gives the columns of rows that stand in files. The caller releases it.
func (s *stager) dataOf(rec arrow.RecordBatch) arrow.RecordBatch {
	x := &s.t.added
	if len(x.partition) == 0 {
		rec.Retain()
		return rec
	}
	cols := make([]arrow.Array, len(x.dataAt))
	for i, at := range x.dataAt {
		cols[i] = rec.Column(at)
	}
	return array.NewRecordBatch(x.data, cols, rec.NumRows())
}

// write writes rows that stand together as a whole, which is cheaper.
func (f *openFile) write(rec arrow.RecordBatch, rows []int32) (int64, error) {
	for i, row := range rows {
		if row != rows[0]+int32(i) {
			return f.w.WriteRows(rec, rows)
		}
	}
	if len(rows) == 0 {
		return f.w.Rows(), nil
	}
	part := rec.NewSlice(int64(rows[0]), int64(rows[0])+int64(len(rows)))
	defer part.Release()
	return f.w.Write(part)
}

func (s *stager) finishFile(f **openFile) error {
	if *f == nil {
		return nil
	}
	add, err := (*f).w.Close()
	if err != nil {
		return fmt.Errorf("writing rows of %s: %w", &s.t.spec, err)
	}
	crashpoint.At(crashpoint.DataFileWritten)
	s.t.spec.meter.wrote(add.Size)
	s.done = append(s.done, &stagedFile{add: add, rows: (*f).rows})
	*f = nil
	return nil
}

// finish makes every row that was given durable.
func (s *stager) finish() error {
	if err := s.drain(true); err != nil {
		return err
	}
	return s.finishFile(&s.file)
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

// abort gives up files that are not finished; after close it does nothing.
func (s *stager) abort() {
	s.abortHeld()
	if s.file != nil {
		s.file.w.Abort()
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

// chosen gives the elements of a list that placed was told of.
func chosen[T any](list []T, part []int) []T {
	if part == nil {
		return list
	}
	out := make([]T, len(part))
	for i, p := range part {
		out[i] = list[p]
	}
	return out
}

// partitionError makes a value that cannot be a partition's stop its table.
func (s *stager) partitionError(column string, err error) error {
	if errors.Is(err, tablefmt.ErrInvalid) {
		return &stopError{
			reason: fmt.Sprintf("a value of the partition column %q: %v", column, err),
			remedy: fmt.Sprintf("partition by a derived column instead, as in bucket(16, %s) or truncate(4, %s); the table is then copied again", column, column),
			recopy: true,
		}
	}
	return fmt.Errorf("the partition column %q of %s: %w", column, &s.t.spec, err)
}
