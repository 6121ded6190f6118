package lakehouse

import (
	"context"
	"fmt"
	"sync"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/internal/crashpoint"
	"github.com/lakeload/lakeload/lakehouse/keyindex"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// copyTarget is one table of the lake that is being copied into under one
// snapshot of the source. Its files are named by the copy's log.
type copyTarget struct {
	*copyLog
	point cdc.LSN
	rel   *cdc.Relation
	base  *tablefmt.Snapshot // the table as it is; nil: it is new
	md    *tablefmt.Metadata // as it will be published

	mu     sync.Mutex         // guards what follows; the workers share it
	schema *tablefmt.Schema   // gains the column of exact texts when a value needs it
	log    *tablefmt.Snapshot // of the copy's log
	index  keyindex.Index     // nil: the table has no key
	change keyindex.Change
}

func newCopyTarget(ctx context.Context, lake objstore.Store, spec tableSpec, rel *cdc.Relation, point cdc.LSN, rows int64) (*copyTarget, error) {
	c := &copyTarget{copyLog: newCopyLog(lake, spec), point: point, rel: rel}
	var err error
	if c.base, err = loadExisting(ctx, &c.spec); err != nil {
		return nil, err
	}
	if c.schema, c.md, err = describeCopy(&c.spec, rel, c.base); err != nil {
		return nil, err
	}
	if c.log, err = c.begin(ctx, c.base, c.md, c.schema, nil); err != nil {
		return nil, err
	}
	if spec.mode == ModeMirror && (len(rel.Key) > 0 || isBag(rel)) {
		if c.index, err = createIndex(ctx, &c.spec, rows); err != nil {
			return nil, err
		}
		c.change = c.index.Change()
	}
	return c, nil
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
		n, ok := add.NumRecords()
		if !ok {
			return 0, fmt.Errorf("publishing the copy of %s: %s does not tell its rows: %w", &c.spec, add.Path, tablefmt.ErrCorrupt)
		}
		staged += n
	}
	if staged != rows {
		return 0, fmt.Errorf("publishing the copy of %s: %d rows were read and %d are in its files: %w", &c.spec, rows, staged, tablefmt.ErrCorrupt)
	}
	base, err := loadExisting(ctx, &c.spec) // others may have committed to it since
	if err != nil {
		return 0, err
	}
	c.base = base
	if err := c.carryOver(ctx); err != nil {
		return 0, err
	}
	// The index follows in two steps, so that a kill in between costs none of it:
	// once the table is the copy, an index that shows the copy fits, see indexed.
	if err := c.follow(ctx, c.log); err != nil {
		return 0, err
	}
	snap, err := c.swapIn(ctx, c.base, c.log, c.point)
	if err != nil {
		return 0, err
	}
	if err := c.follow(ctx, snap); err != nil {
		return 0, err
	}
	return snap.Version(), c.clear(ctx)
}

// follow lets the index show a state of the copy, or of the table that it is.
func (c *copyTarget) follow(ctx context.Context, snap *tablefmt.Snapshot) error {
	if c.index == nil {
		return nil
	}
	if c.change == nil {
		c.change = c.index.Change()
	}
	err := c.change.Commit(ctx, stampOf(snap))
	c.change = nil
	if err != nil {
		return fmt.Errorf("the key index of %s: %w", &c.spec, err)
	}
	return nil
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

// put notes where the keys of some rows are. The index shows them when the
// copy is published.
func (c *copyTarget) put(ctx context.Context, run keyRun, scratch []keyindex.Entry) ([]keyindex.Entry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	if isBag(c.rel) {
		id := c.index.FileID(run.at.path)
		rows := rowHasher{hasher: newHasher(c.md)}
		err = rows.put(ctx, c.change, run.hashes, func(i int) keyindex.Loc {
			return keyindex.Loc{File: id, Row: uint32(run.at.first) + uint32(i)}
		})
	} else {
		scratch = appendEntries(scratch[:0], c.index, run)
		err = c.change.Put(ctx, scratch)
	}
	if err != nil {
		return scratch, fmt.Errorf("the key index of %s: %w", &c.spec, err)
	}
	return scratch, nil
}

// appendEntries makes index entries of a run of keys.
func appendEntries(to []keyindex.Entry, index keyindex.Index, run keyRun) []keyindex.Entry {
	id := index.FileID(run.at.path)
	for i, h := range run.hashes {
		to = append(to, keyindex.Entry{Hash: h, Loc: keyindex.Loc{File: id, Row: uint32(run.at.first) + uint32(i)}})
	}
	return to
}

// copyWorker writes what one reader reads into files of its own, one set for
// each target.
type copyWorker struct {
	ctx context.Context //nolint:containedctx // lives within one copy
	out []*targetOutput
}

// targetOutput is a worker's part of a target.
type targetOutput struct {
	*copyOutput
	target  *copyTarget
	logged  int // of stager.done
	entries []keyindex.Entry
}

func newCopyWorker(ctx context.Context, targets []*copyTarget) (*copyWorker, error) {
	w := &copyWorker{ctx: ctx}
	for _, c := range targets {
		c.mu.Lock()
		schema, log := c.schema, c.log
		c.mu.Unlock()
		out, err := newCopyOutput(ctx, c.spec, c.rel, schema, log, c.point)
		if err != nil {
			return nil, err
		}
		w.out = append(w.out, &targetOutput{copyOutput: out, target: c})
	}
	return w, nil
}

func (w *copyWorker) write(b *cdc.Batch) error {
	if err := faultError(b, 0); err != nil {
		return err
	}
	for _, o := range w.out {
		before := o.table.schema
		err := o.write(b, func(run keyRun) (err error) {
			o.entries, err = o.target.put(w.ctx, run, o.entries)
			return err
		})
		if err != nil {
			return err
		}
		if o.table.schema != before {
			o.target.mu.Lock()
			o.target.schema = o.table.schema
			o.target.mu.Unlock()
		}
	}
	return nil
}

// log names the files that are finished in the copy's log.
func (w *copyWorker) log() error {
	for _, o := range w.out {
		done := o.stager.done
		if err := o.target.append(w.ctx, done[o.logged:]); err != nil {
			return err
		}
		o.logged = len(done)
	}
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
