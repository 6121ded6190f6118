package lakehouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/internal/crashpoint"
	"github.com/lakeload/lakeload/lakehouse/keyindex"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// copyTarget is one table of the lake that is being copied into. Its files
// are written into the table's folder and named by a Delta log of the copy's
// own, so that the table shows nothing of the copy before it is complete.
type copyTarget struct {
	spec  tableSpec
	point cdc.LSN
	rel   *cdc.Relation
	base  *tablefmt.Snapshot // the table as it is; nil: it is new
	md    *tablefmt.Metadata // as it will be published
	store objstore.Store     // of the copy's log
	loc   tablefmt.Location  // of the copy's log

	mu     sync.Mutex         // guards what follows; the workers share it
	schema *tablefmt.Schema   // gains the column of exact texts when a value needs it
	log    *tablefmt.Snapshot // of the copy's log
	index  keyindex.Index     // nil: the table has no key
	change keyindex.Change
}

// paramGeneration is the parameter of the commit that publishes a copy.
const paramGeneration = "generation"

func loadExisting(ctx context.Context, spec *tableSpec) (*tablefmt.Snapshot, error) {
	snap, err := tablefmt.Load(ctx, spec.loc)
	if errors.Is(err, tablefmt.ErrNoTable) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", spec, err)
	}
	return snap, checkOwner(snap, spec)
}

func newCopyTarget(ctx context.Context, lake objstore.Store, spec tableSpec, rel *cdc.Relation, point cdc.LSN) (*copyTarget, error) {
	c := &copyTarget{spec: spec, point: point, rel: rel}
	var err error
	if c.base, err = loadExisting(ctx, &c.spec); err != nil {
		return nil, err
	}
	if err := c.describe(); err != nil {
		return nil, err
	}
	path := fmt.Sprintf("%s/%s/copies/%d-%s-%d", ownFolder, spec.pipeline, spec.state.OID, spec.mode, spec.state.Generation)
	c.store = objstore.Sub(lake, path)
	c.loc = tablefmt.Location{Data: spec.loc.Data, Log: objstore.Sub(c.store, "_delta_log")}
	if err := c.clear(ctx); err != nil { // of an attempt that crashed before it was recorded
		return nil, err
	}
	x := tablefmt.Begin(c.loc, nil)
	x.SetProtocol(protocol(spec.mode, c.schema))
	x.SetMetadata(c.md)
	x.SetInfo("CREATE TABLE", nil)
	if c.log, err = x.Commit(ctx); err != nil {
		return nil, fmt.Errorf("beginning the copy of %s: %w", &c.spec, err)
	}
	if spec.mode == ModeMirror && len(rel.Key) > 0 {
		if c.index, err = createIndex(ctx, &c.spec); err != nil {
			return nil, err
		}
		c.change = c.index.Change()
	}
	return c, nil
}

// describe makes the metadata that the table will have.
func (c *copyTarget) describe() error {
	s, err := typemap.Schema(c.rel, ownColumns(c.spec.mode)...)
	if err != nil {
		return &Error{
			Op: "copying a table", Object: c.rel.String(), Kind: KindPreflight, Err: err,
			Remedy: "exclude the table, or rename the column at the source",
		}
	}
	c.schema = s
	key, err := json.Marshal(keyNames(c.rel))
	if err != nil {
		return fmt.Errorf("encoding the key of %s: %w", c.rel, err)
	}
	created := time.Now().UnixMilli()
	c.md = &tablefmt.Metadata{ID: uuid.NewString(), Name: c.rel.Name, Configuration: map[string]string{
		propPipeline: c.spec.pipeline, propSource: c.spec.sourceProperty(), propKey: string(key), propMode: string(c.spec.mode),
	}, CreatedTime: &created}
	if c.spec.mode == ModeMirror {
		c.md.Configuration[tablefmt.PropDeletionVectors] = "true"
	} else {
		c.md.Configuration[tablefmt.PropAppendOnly] = "true"
	}
	if c.base != nil { // copied again: it stays the same table
		old := c.base.Metadata()
		c.md.ID, c.md.CreatedTime = old.ID, old.CreatedTime
		for k, v := range old.Configuration {
			if _, ours := c.md.Configuration[k]; !ours {
				c.md.Configuration[k] = v
			}
		}
	}
	c.md.SchemaString = c.schema.JSON()
	return nil
}

// clear removes the copy's log, not the files that it names.
func (c *copyTarget) clear(ctx context.Context) error {
	for info, err := range c.store.List(ctx, "", "") {
		if err == nil {
			err = c.store.Delete(ctx, info.Path)
		}
		if err != nil {
			return fmt.Errorf("removing the log of an old copy of %s: %w", &c.spec, err)
		}
	}
	return nil
}

// append names files in the copy's log.
func (c *copyTarget) append(ctx context.Context, files []*stagedFile) error {
	if len(files) == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	x := tablefmt.Begin(c.loc, c.log)
	if c.log.Metadata().SchemaString != c.schema.JSON() {
		md := c.md.Clone()
		md.SchemaString = c.schema.JSON()
		x.SetMetadata(md)
	}
	for _, f := range files {
		x.Add(*f.add)
	}
	x.SetInfo("WRITE", map[string]any{"mode": "Append"})
	snap, err := x.Commit(ctx)
	if err != nil {
		return fmt.Errorf("logging the copy of %s: %w", &c.spec, err)
	}
	c.log = snap
	crashpoint.At(crashpoint.CopyRangeLogged)
	return nil
}

// publish makes the copy the table's content, in one commit, and gives the
// table's version. rows is what was read; it has to be what is there.
func (c *copyTarget) publish(ctx context.Context, rows int64) (int64, error) {
	var staged int64
	for add := range c.log.Files() {
		path, err := add.DataPath()
		if err != nil {
			return 0, fmt.Errorf("publishing the copy of %s: %w", &c.spec, err)
		}
		info, err := c.spec.loc.Data.Stat(ctx, path)
		if err != nil {
			return 0, fmt.Errorf("publishing the copy of %s: a file that was written is not there: %w", &c.spec, err)
		}
		n, ok := add.NumRecords()
		if !ok || info.Size != add.Size {
			return 0, fmt.Errorf("publishing the copy of %s: %s is not as it was written: %w", &c.spec, path, tablefmt.ErrCorrupt)
		}
		staged += n
	}
	if staged != rows {
		return 0, fmt.Errorf("publishing the copy of %s: %d rows were read and %d are in its files: %w", &c.spec, rows, staged, tablefmt.ErrCorrupt)
	}
	crashpoint.At(crashpoint.CopyBeforeSwap)
	snap, err := c.swap(ctx)
	if err != nil {
		return 0, fmt.Errorf("publishing the copy of %s: %w", &c.spec, err)
	}
	crashpoint.At(crashpoint.CopyAfterSwap)
	if c.change != nil {
		if err := c.change.Commit(ctx, stampOf(snap)); err != nil {
			return 0, fmt.Errorf("the key index of %s: %w", &c.spec, err)
		}
	}
	return snap.Version(), c.clear(ctx)
}

func (c *copyTarget) swap(ctx context.Context) (*tablefmt.Snapshot, error) {
	x := tablefmt.Begin(c.spec.loc, c.base)
	md := c.md.Clone()
	md.SchemaString = c.schema.JSON()
	x.SetMetadata(md)
	x.SetProtocol(protocol(c.spec.mode, c.schema))
	x.SetReads(tablefmt.ReadsTable)
	if c.base != nil && c.spec.mode == ModeMirror {
		now := time.Now().UnixMilli()
		for add := range c.base.Files() {
			x.Remove(*add.Remove(now, true))
		}
	}
	for add := range c.log.Files() {
		x.Add(*add)
	}
	x.SetTxn(c.spec.appID(), int64(c.point))
	operation := "CREATE TABLE AS SELECT"
	if c.base != nil {
		operation = "REPLACE TABLE AS SELECT"
	}
	x.SetInfo(operation, map[string]any{"lsn": c.point.String(), paramGeneration: strconv.Itoa(c.spec.state.Generation)})
	return x.Commit(ctx)
}

func (c *copyTarget) close() {
	if c.change != nil {
		c.change.Rollback()
		c.change = nil
	}
	if c.index != nil {
		_ = c.index.Close() // a cache: it is checked when it is opened
		c.index = nil
	}
}

// copyWorker writes what one reader reads into files of its own, one set for
// each target.
type copyWorker struct {
	ctx context.Context //nolint:containedctx // lives within one copy
	out []*copyOutput
}

type copyOutput struct {
	target  *copyTarget
	table   *table
	stager  *stager
	logged  int // of stager.done
	hasher  keyHasher
	hashes  []keyindex.Hash
	entries []keyindex.Entry
}

func newCopyWorker(ctx context.Context, targets []*copyTarget) (*copyWorker, error) {
	w := &copyWorker{ctx: ctx}
	for _, c := range targets {
		o := &copyOutput{target: c, table: &table{spec: c.spec, key: keyNames(c.rel)}}
		c.mu.Lock()
		schema := c.schema
		c.mu.Unlock()
		if err := o.table.setSchema(schema); err != nil {
			return nil, err
		}
		o.stager = o.table.newStager(ctx)
		if c.index != nil {
			o.hasher.hasher = newHasher(c.md)
		}
		w.out = append(w.out, o)
	}
	return w, nil
}

func (w *copyWorker) write(b *cdc.Batch) error {
	if err := faultError(b, 0); err != nil {
		return err
	}
	for _, o := range w.out {
		if err := o.write(b); err != nil {
			var stop *stopError
			if errors.As(err, &stop) {
				return fmt.Errorf("%w: %w", cdc.ErrTableChanged, err)
			}
			return err
		}
	}
	return nil
}

func (o *copyOutput) write(b *cdc.Batch) error {
	if err := o.table.adapt(b.Relation); err != nil {
		return err
	}
	if len(b.Exact) > 0 && o.table.schema.Index(typemap.Exact) < 0 {
		if err := o.stager.finish(); err != nil {
			return err
		}
		if err := o.table.needExact([]*cdc.Batch{b}); err != nil {
			return err
		}
		o.target.mu.Lock()
		o.target.schema = o.table.schema
		o.target.mu.Unlock()
	}
	rows := *b // read, not committed: they stand at the snapshot's point
	rows.Txns, rows.Seqs = []cdc.TxnSpan{{Txn: cdc.Txn{Commit: o.target.point}}}, make([]int64, b.Len())
	rec := o.table.record(b, changeColumns(&rows, opSnapshot))
	defer rec.Release()
	at, err := o.stager.write(rec, rowsFrom(0, b.Len()))
	if err != nil || o.target.index == nil {
		return err
	}
	return o.index(b, at)
}

// index notes where the keys of a batch are. The index shows them when the
// copy is published.
func (o *copyOutput) index(b *cdc.Batch, at place) error {
	if cap(o.hashes) < b.Len() {
		o.hashes = make([]keyindex.Hash, b.Len())
	}
	o.hashes = o.hashes[:b.Len()]
	if err := o.hasher.hashRows(keyColumns(b), exactOf(b), 0, o.hashes); err != nil {
		return err
	}
	o.target.mu.Lock()
	defer o.target.mu.Unlock()
	id := o.target.index.FileID(at.path)
	o.entries = o.entries[:0]
	for i, h := range o.hashes {
		o.entries = append(o.entries, keyindex.Entry{Hash: h, Loc: keyindex.Loc{File: id, Row: uint32(at.first) + uint32(i)}})
	}
	if err := o.target.change.Put(o.stager.ctx, o.entries); err != nil {
		return fmt.Errorf("the key index of %s: %w", &o.table.spec, err)
	}
	return nil
}

// log names the files that are finished in the copy's log.
func (w *copyWorker) log() error {
	for _, o := range w.out {
		if err := o.log(w.ctx); err != nil {
			return err
		}
	}
	return nil
}

func (o *copyOutput) log(ctx context.Context) error {
	done := o.stager.done
	if err := o.target.append(ctx, done[o.logged:]); err != nil {
		return err
	}
	o.logged = len(done)
	return nil
}

func (w *copyWorker) finish() error {
	for _, o := range w.out {
		if err := o.stager.finish(); err != nil {
			return err
		}
	}
	return w.log()
}

func (w *copyWorker) abort() {
	for _, o := range w.out {
		o.stager.abort()
	}
}
