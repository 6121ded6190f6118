package tablefmt

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// ChangeDataFolder is where cdc files lie: the [FileOptions.Prefix] of one that
// is written like a data file, with the column ColChangeType besides. (Change
// Data Files)
const ChangeDataFolder = "_change_data"

// ChangeFileWriter writes a file of changed rows. (Change Data Files) It is
// used by one goroutine. The file is invisible until Close, and tells nothing
// until a commit names it with [Transaction.AddCDC]. Its rows are none of the
// table's.
type ChangeFileWriter struct {
	w      *FileWriter
	schema *arrow.Schema
}

// NewChangeFileWriter begins a file of changes in the table's folder for them,
// in folders of its partition. schema is that of the table's data files
// ([Snapshot.DataArrow]); the column of what happened is added to it.
func NewChangeFileWriter(ctx context.Context, loc Location, schema *arrow.Schema, o FileOptions) (*ChangeFileWriter, error) {
	o.Prefix, o.StatsColumns = ChangeDataFolder, -2
	fields := append(append([]arrow.Field{}, schema.Fields()...), arrow.Field{Name: ColChangeType, Type: arrow.BinaryTypes.String, Nullable: true})
	all := arrow.NewSchema(fields, nil)
	w, err := NewFileWriter(ctx, loc, all, o)
	if err != nil {
		return nil, err
	}
	return &ChangeFileWriter{w: w, schema: all}, nil
}

// Write appends the given rows of a record batch, to all of which the same
// happened: ChangeInsert and so on. nil are all rows. The batch is not kept.
func (f *ChangeFileWriter) Write(rec arrow.RecordBatch, rows []int32, what string) error {
	types := repeatText(what, int(rec.NumRows()))
	defer types.Release()
	all := array.NewRecordBatch(f.schema, append(append([]arrow.Array{}, rec.Columns()...), types), rec.NumRows())
	defer all.Release()
	if rows == nil {
		_, err := f.w.Write(all)
		return err
	}
	_, err := f.w.WriteRows(all, rows)
	return err
}

// Bytes is about the size that the file would have if it were closed now.
func (f *ChangeFileWriter) Bytes() int64 { return f.w.Bytes() }

// Close makes the file durable and gives the action that names it. After an
// error the file is gone.
func (f *ChangeFileWriter) Close() (*CDCFile, error) {
	a, err := f.w.Close()
	if err != nil {
		return nil, err
	}
	c := a.CDC()
	return &c, nil
}

// CDC gives the action that names a file as one of changes.
func (a *AddFile) CDC() CDCFile {
	return CDCFile{Path: a.Path, PartitionValues: a.PartitionValues, Size: a.Size, Tags: a.Tags}
}

// Abort gives the file up. After Close it does nothing, so it can be deferred.
func (f *ChangeFileWriter) Abort() { f.w.Abort() }
