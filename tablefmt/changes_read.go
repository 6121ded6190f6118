package tablefmt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/tablefmt/dv"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// Read gives the changes as record batches of p's Schema: version after
// version; within one that is derived, the rows that went before those that
// came. A version that has cdc files is told by them alone; in others the rows
// of files that came were inserted, those of files that went deleted, and of a
// file that got another deletion vector those in which the two differ. (Reader
// Requirements for AddCDCFile) What only rearranges rows is no change.
//
// A batch is released when emit returns; who keeps it retains it. An error of
// emit ends the reading and is returned as it is. A *[FileGoneError] says that
// vacuum has removed what is needed. Memory is that of one commit's actions and
// a few batches.
func (p *ChangePlan) Read(ctx context.Context, emit func(rec arrow.RecordBatch) error) error {
	if p.to < p.from {
		return nil
	}
	err := readCommits(ctx, p.loc.log(), p.from, p.to, func(v int64, data []byte) error {
		actions, err := collectActions(data, v)
		if err != nil {
			return err
		}
		return p.readVersion(ctx, v, actions, func(rec arrow.RecordBatch) error {
			if err := emit(rec); err != nil {
				return &emitError{err}
			}
			return nil
		})
	})
	var emitted *emitError
	var gone *FileGoneError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &emitted):
		return emitted.err
	case errors.Is(err, objstore.ErrNotFound) && !errors.As(err, &gone):
		if commits, lerr := listCommits(ctx, p.loc.log()); lerr == nil && commits[0].version > p.from {
			err = &VersionGoneError{Version: p.from, Oldest: commits[0].version} // cleanup went past us
		}
	}
	return fmt.Errorf("reading the changes of table %s: %w", p.loc, err)
}

// versionChanges reads the changes of one version.
type versionChanges struct {
	p       *ChangePlan
	version int64
	at      time.Time
	snap    *Snapshot // shows the files of the version in the columns of p; it has no files itself
	before  *Snapshot // the version before; nil until it is needed
	emit    func(rec arrow.RecordBatch) error
}

func (p *ChangePlan) readVersion(ctx context.Context, version int64, actions []Action, emit func(rec arrow.RecordBatch) error) error {
	c := &versionChanges{p: p, version: version, at: p.commits[version-p.from].modified, emit: emit}
	info := infoOf(actions)
	if info != nil && info.InCommitTimestamp != nil {
		c.at = time.UnixMilli(*info.InCommitTimestamp)
	}
	var cdcs []*CDCFile
	adds, removes := map[string]*AddFile{}, []*RemoveFile{}
	var order []string
	for i := range actions {
		switch a := &actions[i]; {
		case a.CDC != nil:
			cdcs = append(cdcs, a.CDC)
		case a.Add != nil && a.Add.DataChange:
			path := canonicalPath(a.Add.Path)
			adds[path] = a.Add
			order = append(order, path)
		case a.Remove != nil && a.Remove.DataChange:
			removes = append(removes, a.Remove)
		}
	}
	if len(cdcs) > 0 {
		return c.readCDC(ctx, cdcs)
	}
	if info.rearranges() {
		return nil
	}
	var err error
	if c.snap, err = p.show(version, p.schema); err != nil {
		return err
	}
	again := map[string]*RemoveFile{} // files that are in the table still, with another vector
	for _, r := range removes {
		path := canonicalPath(r.Path)
		if a := adds[path]; a != nil {
			again[path] = r
		}
		if err := c.removed(ctx, r, adds[path]); err != nil {
			return err
		}
	}
	for _, path := range order {
		if err := c.added(ctx, adds[path], again[path]); err != nil {
			return err
		}
	}
	return nil
}

// rearranges reports whether a commit is a MERGE of Spark's that matched no row
// and yet wrote files anew, and says that data changed: its readers leave it
// out by these figures.
func (info *CommitInfo) rearranges() bool {
	if info == nil || info.Operation != "MERGE" {
		return false
	}
	for _, figure := range []string{"numTargetRowsInserted", "numTargetRowsUpdated", "numTargetRowsDeleted"} {
		if info.OperationMetrics[figure] != "0" {
			return false
		}
	}
	return true
}

// show gives a snapshot without files that reads files of a version as rows of
// a schema.
func (p *ChangePlan) show(version int64, schema *Schema) (*Snapshot, error) {
	return newSnapshot(p.loc, &state{version: version, metadata: p.meta(version), schema: schema, mapping: p.mapping}, nil)
}

// readCDC gives the rows of a version's cdc files, which tell what they are.
func (c *versionChanges) readCDC(ctx context.Context, files []*CDCFile) error {
	schema := &Schema{Fields: append(append([]Field{}, c.p.schema.Fields...), Field{
		Name: ColChangeType, Type: String, Nullable: true,
		Metadata: map[string]any{MetaPhysicalName: ColChangeType},
	})} // it has no id, and its name in all files
	var err error
	if c.snap, err = c.p.show(c.version, schema); err != nil {
		return err
	}
	columns := append(append([]string{}, c.p.columns...), ColChangeType)
	for _, f := range files {
		if !c.keeps(f.PartitionValues) {
			continue
		}
		a := &AddFile{Path: f.Path, PartitionValues: f.PartitionValues, Size: f.Size}
		err := c.snap.readFile(ctx, a, ReadOptions{Columns: columns, BatchRows: c.p.opt.BatchRows}, func(rec arrow.RecordBatch, _ int64, _ []span) error {
			types := rec.Column(len(columns) - 1)
			if types.NullN() > 0 {
				return corrupt(f.Path, c.version, fmt.Errorf("its column %s is null in some row, or missing", ColChangeType))
			}
			return c.give(rec, types)
		})
		if err != nil {
			return c.explain(f.Path, err)
		}
	}
	return nil
}

func (c *versionChanges) keeps(partition map[string]*string) bool {
	return c.p.opt.Keep == nil || c.p.opt.Keep(partition)
}

// removed gives the rows that a removal took away. now is what became of the
// file, nil where it has gone.
func (c *versionChanges) removed(ctx context.Context, r *RemoveFile, now *AddFile) error {
	a := &AddFile{Path: r.Path, PartitionValues: c.withNulls(r.PartitionValues), DeletionVector: r.DeletionVector}
	if now != nil {
		a.PartitionValues = now.PartitionValues
	} else if len(c.snap.PartitionColumns()) > 0 && !r.ExtendedFileMetadata && r.PartitionValues == nil {
		var err error
		if a.PartitionValues, err = c.partitionBefore(ctx, r.Path); err != nil {
			return err
		}
	}
	if !c.keeps(a.PartitionValues) {
		return nil
	}
	if now == nil {
		return c.explain(r.Path, c.readLive(ctx, a, ChangeDelete))
	}
	return c.explain(r.Path, c.readBetween(ctx, a, now, ChangeDelete))
}

// withNulls gives the partition values of a remove with those that are null:
// Spark leaves them out there, though not in an add.
func (c *versionChanges) withNulls(values map[string]*string) map[string]*string {
	if len(values) == len(c.snap.PartitionColumns()) {
		return values
	}
	all := map[string]*string{}
	for _, name := range c.snap.PartitionColumns() {
		physical, _ := c.snap.PhysicalName(name)
		all[physical] = nil
	}
	for k, v := range values { // under another name it is no column's, and the file's reader says so
		if _, ok := all[k]; !ok {
			return values
		}
		all[k] = v
	}
	return all
}

// added gives the rows that an add brought. was is what the file was, nil where
// it is new.
func (c *versionChanges) added(ctx context.Context, a *AddFile, was *RemoveFile) error {
	if !c.keeps(a.PartitionValues) {
		return nil
	}
	if was == nil {
		return c.explain(a.Path, c.readLive(ctx, a, ChangeInsert))
	}
	old := &AddFile{Path: a.Path, PartitionValues: a.PartitionValues, DeletionVector: was.DeletionVector}
	return c.explain(a.Path, c.readBetween(ctx, a, old, ChangeInsert))
}

// partitionBefore finds a file's partition in the version before, for a remove
// that does not tell it.
func (c *versionChanges) partitionBefore(ctx context.Context, path string) (map[string]*string, error) {
	if c.before == nil {
		var err error
		if c.before, err = LoadAt(ctx, c.p.loc, c.version-1); err != nil {
			return nil, fmt.Errorf("looking for the partition of %s, which version %d removes: %w", path, c.version, err)
		}
	}
	a, ok := c.before.File(path)
	if !ok {
		return nil, corrupt(commitName(c.version), c.version, fmt.Errorf("it removes %q, of which the version before knows nothing", path))
	}
	return a.PartitionValues, nil
}

// readLive gives the rows of a file that are not deleted.
func (c *versionChanges) readLive(ctx context.Context, a *AddFile, what string) error {
	return c.snap.readFile(ctx, a, ReadOptions{Columns: c.p.columns, BatchRows: c.p.opt.BatchRows}, func(rec arrow.RecordBatch, _ int64, live []span) error {
		part, err := pick(rec, live)
		if err != nil {
			return err
		}
		defer part.Release()
		return c.giveAll(part, what)
	})
}

// betweenRows bounds the numbers of rows that are held at a time.
const betweenRows = 1 << 17

// readBetween gives the rows that a file has and that it has not with another
// deletion vector.
func (c *versionChanges) readBetween(ctx context.Context, has, not *AddFile, what string) error {
	rows, err := readVector(ctx, c.p.loc, not)
	if err != nil || rows == nil {
		return err
	}
	mine, err := readVector(ctx, c.p.loc, has)
	if err != nil {
		return err
	}
	if mine != nil {
		rows.AndNot(mine)
	}
	if rows.IsEmpty() {
		return nil
	}
	stored := false // a column that is wanted is not a partition's
	for _, name := range c.p.columns {
		stored = stored || c.snap.DataArrow().HasField(name)
	}
	if !stored {
		return c.readMarked(ctx, has, rows, what)
	}
	some := make([]int64, 0, min(rows.Cardinality(), betweenRows))
	read := func() error {
		err := c.snap.readFile(ctx, has, ReadOptions{Columns: c.p.columns, IncludeDeleted: true, Rows: some, BatchRows: c.p.opt.BatchRows}, func(rec arrow.RecordBatch, _ int64, _ []span) error {
			return c.giveAll(rec, what)
		})
		some = some[:0]
		return err
	}
	for row := range rows.All() {
		if some = append(some, int64(row)); len(some) == betweenRows {
			if err := read(); err != nil {
				return err
			}
		}
	}
	if len(some) == 0 {
		return nil
	}
	return read()
}

// readMarked gives the marked rows of a file of which no column is read.
func (c *versionChanges) readMarked(ctx context.Context, a *AddFile, rows *dv.Bitmap, what string) error {
	return c.snap.readFile(ctx, a, ReadOptions{Columns: c.p.columns, IncludeDeleted: true}, func(rec arrow.RecordBatch, first int64, _ []span) error {
		n := int64(0)
		for range rows.Rows(uint64(first), uint64(first+rec.NumRows())) {
			n++
		}
		if n == 0 {
			return nil
		}
		part := rec.NewSlice(0, n) // its rows are all alike
		defer part.Release()
		return c.giveAll(part, what)
	})
}

// giveAll gives rows to all of which the same happened.
func (c *versionChanges) giveAll(rec arrow.RecordBatch, what string) error {
	types := repeatText(what, int(rec.NumRows()))
	defer types.Release()
	return c.give(rec, types)
}

// give gives rows, the first columns of a record, with what happened to each.
func (c *versionChanges) give(rec arrow.RecordBatch, types arrow.Array) error {
	n := int(rec.NumRows())
	versions, times := array.NewInt64Builder(memory.DefaultAllocator), array.NewTimestampBuilder(memory.DefaultAllocator, arrowPrimitives[Timestamp].(*arrow.TimestampType))
	defer versions.Release()
	defer times.Release()
	versions.Reserve(n)
	times.Reserve(n)
	for range n {
		versions.UnsafeAppend(c.version)
		times.UnsafeAppend(arrow.Timestamp(c.at.UnixMicro()))
	}
	v, at := versions.NewArray(), times.NewArray()
	defer v.Release()
	defer at.Release()
	cols := append(append([]arrow.Array{}, rec.Columns()[:len(c.p.columns)]...), types, v, at)
	out := array.NewRecordBatch(c.p.arrow, cols, rec.NumRows())
	defer out.Release()
	return c.emit(out)
}

func repeatText(text string, n int) arrow.Array {
	b := array.NewStringBuilder(memory.DefaultAllocator)
	defer b.Release()
	b.Reserve(n)
	for range n {
		b.Append(text)
	}
	return b.NewArray()
}

// explain says of a file that is not there that it was removed.
func (c *versionChanges) explain(path string, err error) error {
	var emitted *emitError
	if err != nil && !errors.As(err, &emitted) && errors.Is(err, objstore.ErrNotFound) {
		return &FileGoneError{Version: c.version, Path: path, Err: err}
	}
	return err
}
