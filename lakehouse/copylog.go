package lakehouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/internal/crashpoint"
	"github.com/lakeload/lakeload/lakehouse/keyindex"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// copyLog is the Delta log of a table's copy in progress: a log of its own
// over data files in the table's folder, so that the table shows nothing of
// the copy before it is complete.
type copyLog struct {
	spec  tableSpec         // of the table
	store objstore.Store    // the folder of the log
	loc   tablefmt.Location // of the copy as a table
}

func newCopyLog(lake objstore.Store, spec tableSpec) *copyLog {
	path := fmt.Sprintf("%s/%s/copies/%d-%s-%d", ownFolder, spec.pipeline, spec.state.OID, spec.mode, spec.state.Generation)
	c := &copyLog{spec: spec, store: objstore.Sub(lake, path)}
	c.loc = tablefmt.Location{Data: spec.loc.Data, Log: objstore.Sub(c.store, "_delta_log")}
	return c
}

// clear removes the log, not the files that it names, in the order of its
// listing.
func (c *copyLog) clear(ctx context.Context) error {
	for info, err := range c.store.List(ctx, "", "") {
		if err == nil {
			err = c.store.Delete(ctx, info.Path)
		}
		if err != nil {
			return fmt.Errorf("removing the log of an old copy of %s: %w", &c.spec, err)
		}
		crashpoint.At(crashpoint.CopyClearing)
	}
	return nil
}

// begin makes the log, without rows, in place of what an earlier attempt has
// left there. base is the table as it is, nil for a new one.
func (c *copyLog) begin(ctx context.Context, base *tablefmt.Snapshot, md *tablefmt.Metadata, schema *tablefmt.Schema, more func(x *tablefmt.Transaction)) (*tablefmt.Snapshot, error) {
	if err := c.clear(ctx); err != nil {
		return nil, err
	}
	x := tablefmt.Begin(c.loc, nil)
	p := protocol(md, schema)
	clustered, _, err := clusteredAs(base, md, schema)
	if err != nil {
		return nil, fmt.Errorf("beginning the copy of %s: %w", &c.spec, err)
	}
	if len(clustered) > 0 { // its files need statistics of those columns
		if p, err = p.With("domainMetadata", "clustering"); err != nil {
			return nil, fmt.Errorf("beginning the copy of %s: %w", &c.spec, err)
		}
		x.SetClustering(clustered)
	}
	x.SetProtocol(p)
	x.SetMetadata(md)
	x.SetInfo("CREATE TABLE", nil)
	if more != nil {
		more(x)
	}
	snap, err := x.Commit(ctx)
	if err != nil {
		return nil, fmt.Errorf("beginning the copy of %s: %w", &c.spec, err)
	}
	return snap, nil
}

// load opens the log as an earlier session left it; nil where there is none, it
// is of before the lake was taken over to another source, or clear was cut off
// in it. clear goes from the oldest version on, so what it leaves is the whole
// content until it is nothing that can be read, and never an older state, which
// would have the copy go on from before what was acknowledged. What clear has
// removed may be back after a crash, behind the beginning of a later log in its
// place: that one holds what others have marked.
func (c *copyLog) load(ctx context.Context) (*tablefmt.Snapshot, error) {
	snap, err := tablefmt.Load(ctx, c.loc)
	if errors.Is(err, tablefmt.ErrNoTable) || errors.Is(err, tablefmt.ErrCorrupt) {
		return nil, nil // the table shows nothing of it: it is copied again
	}
	if err != nil {
		return nil, fmt.Errorf("opening the copy of %s: %w", &c.spec, err)
	}
	if _, ours := snap.Txn(c.spec.appID()); !ours {
		return nil, nil
	}
	for t := range snap.Txns() {
		if t.AppID != c.spec.appID() && !strings.HasPrefix(t.AppID, markRange) && !strings.HasPrefix(t.AppID, markPoint) {
			return nil, nil
		}
	}
	return snap, nil
}

// loadExisting opens the table that a copy is to replace; nil where there is
// none yet.
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

// describeCopy makes the columns and the metadata that a table will have when
// its copy is published. base is the table as it is, nil for a new one: a table
// that is copied again stays the same table.
func describeCopy(spec *tableSpec, rel *cdc.Relation, base *tablefmt.Snapshot) (*tablefmt.Schema, *tablefmt.Metadata, error) {
	l, err := layOut(rel, spec.mode, &spec.state.TableOptions, base)
	if err != nil {
		return nil, nil, err
	}
	key, err := json.Marshal(keyNames(rel))
	if err != nil {
		return nil, nil, fmt.Errorf("encoding the key of %s: %w", rel, err)
	}
	created := time.Now().UnixMilli()
	md := &tablefmt.Metadata{ID: uuid.NewString(), Name: rel.Name, Configuration: map[string]string{
		propPipeline: spec.pipeline, propSource: spec.sourceProperty(), propKey: string(key), propMode: string(spec.mode),
	}, CreatedTime: &created}
	maps.Copy(md.Configuration, spec.state.describe(spec.mode, rel, base))
	md.PartitionColumns = l.partition
	if base != nil {
		old := base.Metadata()
		md.ID, md.CreatedTime = old.ID, old.CreatedTime
		for k, v := range old.Configuration {
			if writtenBy(k) {
				md.Configuration[k] = v
			}
		}
	}
	md.SchemaString = l.schema.JSON()
	if tablefmt.CheckStatsColumns(md) != nil { // a column is gone; who named it may name others
		delete(md.Configuration, tablefmt.PropStatsColumns)
	}
	return l.schema, md, nil
}

// same reports whether a snapshot has the very same file, with the same rows
// deleted.
func same(add *tablefmt.AddFile, in *tablefmt.Snapshot) bool {
	other, ok := in.File(add.Path)
	return ok && reflect.DeepEqual(add.DeletionVector, other.DeletionVector)
}

// The parameters of the commit that publishes a copy.
const (
	paramGeneration = "generation"
	paramCopied     = "copied" // see copiedText
)

// copiedText says which state of its log a copy was published at.
func copiedText(at keyindex.Stamp, files int) string {
	return fmt.Sprintf("%d/%s/%d", at.Version, at.Commit, files)
}

// publishedFrom reports whether a version of a table is the one that a copy was
// published as, when its log was at a state: then both are the same files, and
// an index that shows the one shows the other.
func publishedFrom(snap *tablefmt.Snapshot, at keyindex.Stamp) bool {
	info := snap.CommitInfo()
	return info != nil && at.Table == snap.Metadata().ID && info.OperationParameters[paramCopied] == copiedText(at, snap.NumFiles())
}

// swapIn makes what the copy's log shows the table's content, as of cut, in
// one commit. What an older mirror held goes, whatever others have made of it
// meanwhile; a changelog is only added to.
func (c *copyLog) swapIn(ctx context.Context, base, copied *tablefmt.Snapshot, cut cdc.LSN) (*tablefmt.Snapshot, error) {
	for n := 1; ; n++ {
		snap, err := c.swapOnto(ctx, base, copied, cut)
		var conflict *tablefmt.ConflictError
		if n == swapTries || !errors.As(err, &conflict) || conflict.Reason == tablefmt.ConflictTxn {
			return snap, err
		}
		if base, err = loadExisting(ctx, &c.spec); err != nil {
			return nil, err
		}
	}
}

// swapTries bounds how often a copy is published anew because somebody else was
// faster.
const swapTries = 10

// swapOnto is swapIn onto one version of the table.
func (c *copyLog) swapOnto(ctx context.Context, base, copied *tablefmt.Snapshot, cut cdc.LSN) (*tablefmt.Snapshot, error) {
	spec := &c.spec
	crashpoint.At(crashpoint.CopyBeforeSwap)
	x := tablefmt.Begin(spec.loc, base)
	md := copied.Metadata().Clone()
	if base != nil {
		if err := keep(md, base, spec); err != nil {
			return nil, fmt.Errorf("publishing the copy of %s: %w", spec, err)
		}
		_, lost, err := clusteredAs(base, md, copied.Schema())
		if err != nil {
			return nil, fmt.Errorf("publishing the copy of %s: %w", spec, err)
		}
		if lost {
			if spec.warn != nil {
				spec.warn("%s is not clustered any more: a column by which it was is gone, or it is partitioned now", spec)
			}
			x.SetClustering([][]string{})
		}
	}
	delete(md.Configuration, propRanges)
	delete(md.Configuration, propPieces)
	delete(md.Configuration, propBegun)
	moved := false
	if feed := spec.state.ChangeFeed.orProperty(base); feed && spec.mode == ModeMirror {
		md.Configuration[tablefmt.PropChangeDataFeed] = feedTrue
		var cdcs []tablefmt.CDCFile
		var err error
		if cdcs, moved, err = c.replaceFeed(ctx, base, copied); err != nil {
			return nil, err
		}
		for i := range cdcs {
			x.AddCDC(cdcs[i])
		}
	} else if base != nil && spec.mode != ModeMirror && base.Property(tablefmt.PropChangeDataFeed) != "" {
		md.Configuration[tablefmt.PropChangeDataFeed] = base.Property(tablefmt.PropChangeDataFeed)
	}
	x.SetMetadata(md)
	p := protocol(md, copied.Schema())
	if base != nil {
		var err error
		if p, err = keepFeatures(p, md, base); err != nil {
			return nil, fmt.Errorf("publishing the copy of %s: %w", spec, err)
		}
	}
	x.SetProtocol(p)
	x.SetReads(tablefmt.ReadsTable)
	if base != nil && spec.mode == ModeMirror {
		now := time.Now().UnixMilli()
		for add := range base.Files() {
			if !same(add, copied) {
				x.Remove(*add.Remove(now, !moved))
			}
		}
	}
	for add := range copied.Files() {
		if base != nil && same(add, base) { // it was cut off between the tables of two modes
			continue
		}
		path, err := add.DataPath()
		if err != nil {
			return nil, fmt.Errorf("publishing the copy of %s: %w", spec, err)
		}
		info, err := spec.loc.Data.Stat(ctx, path)
		if err != nil {
			return nil, fmt.Errorf("publishing the copy of %s: a file that was written is not there: %w", spec, err)
		}
		if info.Size != add.Size {
			return nil, fmt.Errorf("publishing the copy of %s: %s is not as it was written: %w", spec, path, tablefmt.ErrCorrupt)
		}
		next := *add
		next.DataChange, next.BaseRowID, next.DefaultRowCommitVersion = !moved, nil, nil
		x.Add(next)
	}
	if base != nil && base.NumFiles() > 0 && spec.mode != ModeMirror {
		if err := c.addBoundary(ctx, x, base, copied, cut); err != nil {
			return nil, err
		}
	}
	if err := x.HoldRows(ctx, copied); err != nil {
		return nil, fmt.Errorf("publishing the copy of %s: %w", spec, err)
	}
	x.SetTxn(spec.appID(), int64(cut))
	operation := "CREATE TABLE AS SELECT"
	if base != nil {
		operation = "REPLACE TABLE AS SELECT"
	}
	x.SetInfo(operation, map[string]any{"lsn": cut.String(), paramGeneration: strconv.Itoa(spec.state.Generation), paramCopied: copiedText(stampOf(copied), copied.NumFiles())})
	snap, err := x.Commit(ctx)
	if err != nil {
		return nil, fmt.Errorf("publishing the copy of %s: %w", spec, err)
	}
	crashpoint.At(crashpoint.CopyAfterSwap)
	return snap, nil
}
