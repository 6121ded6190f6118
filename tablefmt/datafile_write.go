package tablefmt

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/google/uuid"

	"github.com/lakeload/lakeload/tablefmt/colfile"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// FileOptions says how a data file is written. The zero value is a file of a
// table without partitions, compressed with zstd.
type FileOptions struct {
	// PartitionValues has one entry for each partition column of the table, by
	// its physical name ([Snapshot.PhysicalName]), which is the column's own
	// unless the table's columns are mapped; nil for null. See
	// [FormatPartitionValue]. It is kept.
	PartitionValues map[string]*string
	// PartitionColumns is the order of the partition folders; nil is by name.
	// Readers do not look at folders.
	PartitionColumns []string
	Codec            colfile.Codec
	// StatsColumns is as in colfile.WriterOptions: 0 is the first 32.
	StatsColumns int
	// RowGroupRows and RowGroupBytes are as in colfile.WriterOptions.
	RowGroupRows  int
	RowGroupBytes int64
	// Prefix is a folder that comes before the partition folders, as
	// ChangeDataFolder; "" for none.
	Prefix string
	// Rearranges says that the rows were in the table already: DataChange of
	// the action is false.
	Rearranges bool
	// RowIDs says that the rows come with two more columns, the last ones, as
	// ReadOptions.RowIDs gives them: they keep their ids. A null there makes the
	// row a new one, or one that is written anew. Only [Snapshot.NewFileWriter]
	// knows of them.
	RowIDs bool
	// Computed says that the caller has computed the values of generated columns
	// as their expressions say, and answers for them: they are not looked at.
	Computed bool
	Tags     map[string]string // of the action; kept

	random int // characters of a folder by chance; 0 for none
}

// FileWriter writes one data file of a table. It is used by one goroutine.
// The file is invisible until Close, and no part of the table until a commit
// adds it.
type FileWriter struct {
	path string // in the store
	out  objstore.Writer
	w    *colfile.Writer
	opts FileOptions
	done bool
	plan writerPlan
}

// NewFileWriter begins a data file in the table's folder, of the given
// columns, which are the table's without its partition columns
// ([Snapshot.DataArrow]). ctx covers the whole of the writing.
//
// It knows of no table: rules of one that every row must keep are not looked
// at, and a table that has such rules does not take the file. Values of
// generated columns are the caller's to compute.
func NewFileWriter(ctx context.Context, loc Location, schema *arrow.Schema, o FileOptions) (*FileWriter, error) {
	if o.RowIDs {
		return nil, fmt.Errorf("creating a data file of table %s: %w", loc, invalidf("row ids are written by the table's own writer (Snapshot.NewFileWriter)"))
	}
	return newFileWriter(ctx, loc, writerPlan{schema: schema}, o)
}

func newFileWriter(ctx context.Context, loc Location, plan writerPlan, o FileOptions) (*FileWriter, error) {
	path := dataFilePath(o)
	out, err := loc.Data.Create(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("creating data file %s of table %s: %w", path, loc, err)
	}
	w, err := colfile.NewWriter(out, plan.schema, colfile.WriterOptions{
		Codec: o.Codec, StatsColumns: o.StatsColumns, StatsOf: plan.statsOf, RowGroupRows: o.RowGroupRows, RowGroupBytes: o.RowGroupBytes,
	})
	if err != nil {
		out.Abort()
		return nil, fmt.Errorf("creating data file %s of table %s: %w", path, loc, err)
	}
	return &FileWriter{path: path, out: out, w: w, opts: o, plan: plan}, nil
}

// dataFilePath makes a unique path as Spark's are, folders included.
func dataFilePath(o FileOptions) string {
	columns := o.PartitionColumns
	if columns == nil {
		columns = slices.Sorted(maps.Keys(o.PartitionValues))
	}
	var parts []string
	if o.Prefix != "" {
		parts = append(parts, o.Prefix)
	}
	if o.random > 0 { // as Spark does: instead of the partition's folders
		parts, columns = append(parts, randomPrefix(o.random)), nil
	}
	for _, c := range columns {
		parts = append(parts, partitionFolder(c, o.PartitionValues[c]))
	}
	ext := map[colfile.Codec]string{
		colfile.Zstd: ".zstd", colfile.Snappy: ".snappy", colfile.Gzip: ".gz",
	}[o.Codec]
	name := "part"
	if o.Prefix == ChangeDataFolder {
		name = "cdc"
	}
	parts = append(parts, fmt.Sprintf("%s-00000-%s.c000%s.parquet", name, uuid.NewString(), ext))
	return strings.Join(parts, "/")
}

// Write appends all rows of a record batch and gives the physical number of
// the first. The batch is not kept.
func (f *FileWriter) Write(rec arrow.RecordBatch) (firstRow int64, err error) {
	return f.write(rec, func(rec arrow.RecordBatch) error { return f.w.Write(rec) }, nil)
}

// WriteRows appends the given rows of a record batch in the given order, and
// gives the physical number of the first. Nothing is kept.
func (f *FileWriter) WriteRows(rec arrow.RecordBatch, rows []int32) (firstRow int64, err error) {
	if rows == nil {
		return f.w.Rows(), nil
	}
	return f.write(rec, func(rec arrow.RecordBatch) error { return f.w.WriteRows(rec, rows) }, rows)
}

// write holds rows against the table's rules before it writes them.
func (f *FileWriter) write(rec arrow.RecordBatch, put func(arrow.RecordBatch) error, rows []int32) (firstRow int64, err error) {
	firstRow = f.w.Rows()
	full, err := f.plan.complete(rec)
	if err == nil {
		defer full.Release()
		if f.plan.check != nil {
			if err = f.w.Fits(full); err == nil {
				err = f.plan.check.check(rec, rows)
			}
		}
	}
	if err == nil {
		err = put(full)
	}
	if err != nil {
		return 0, fmt.Errorf("writing data file %s: %w", f.path, err)
	}
	return firstRow, nil
}

// Rows is the number of rows written so far.
func (f *FileWriter) Rows() int64 { return f.w.Rows() }

// Bytes is about the size that the file would have if it were closed now.
func (f *FileWriter) Bytes() int64 { return f.w.Bytes() }

// Path is the AddFile.Path that the file will have.
func (f *FileWriter) Path() string { return encodePath(f.path) }

// Close makes the file durable and gives the action that adds it, with exact
// statistics. After an error the file is gone.
func (f *FileWriter) Close() (*AddFile, error) {
	f.done = true
	defer f.out.Abort() // nothing after a Close that succeeded
	st, err := f.w.Close()
	if err == nil {
		err = f.out.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("finishing data file %s: %w", f.path, err)
	}
	a := &AddFile{
		Path: encodePath(f.path), PartitionValues: f.opts.PartitionValues, Size: st.Bytes,
		ModificationTime: time.Now().UnixMilli(), DataChange: !f.opts.Rearranges,
		Stats: statsJSON(st), Tags: f.opts.Tags, made: f.plan.made(),
	}
	if a.PartitionValues == nil {
		a.PartitionValues = map[string]*string{}
	}
	return a, nil
}

// Abort gives the file up. After Close it does nothing, so it can be
// deferred.
func (f *FileWriter) Abort() {
	if f.done {
		return
	}
	f.done = true
	f.out.Abort()
	_, _ = f.w.Close() // gives its memory back; the file is gone already
}
