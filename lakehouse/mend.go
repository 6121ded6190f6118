package lakehouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/keyindex"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/lakehouse/verify"
	"github.com/lakeload/lakeload/tablefmt"
)

// mending makes a mirror show what a snapshot of the source shows, in one commit
// that touches only the rows of keys that differ: those rows are marked in
// deletion vectors, and the source's are written to new files. What is equal
// stays where it is. It does not use the key index, which reads the new files
// when the table is opened next.
//
// Memory does not grow with the table nor with what differs: sums first, then
// the hashes of as many differing buckets at a time as there is room for.
type mending struct {
	*auditing
	spec tableSpec
	mark *marking // nil: there is no changelog
	most int64    // rows of differing buckets that are held at a time

	mu    sync.Mutex // guards what follows; the readers share it
	m     *mirrorWriter
	out   *stager
	ids   map[string]keyindex.FileID // of files in m.views, by path
	there verify.Keys                // of the keys being mended: those of which the source has rows
	done  Repaired
}

// Repaired is what a repair has found and done.
type Repaired struct {
	Table string  `json:"table"`
	LSN   cdc.LSN `json:"lsn"` // that the table shows since
	// SourceRows and LakeRows are the rows that were compared.
	SourceRows int64 `json:"source_rows"`
	LakeRows   int64 `json:"lake_rows"`
	// Keys is how many keys differed; for a table without a key, different rows.
	Keys int64 `json:"differing_keys"`
	// Written and Removed are rows: one that was altered is both.
	Written int64 `json:"rows_written"`
	Removed int64 `json:"rows_removed"`
	// Bytes are those of the new files; TableBytes those of all the table's.
	Bytes      int64 `json:"bytes_written"`
	TableBytes int64 `json:"table_bytes"`
	Version    int64 `json:"version"`
	// Copied says that the table was copied again instead, as too much differed,
	// or it was no table that can be compared.
	Copied bool `json:"copied,omitempty"`
}

// errTooDifferent says that so much differs that copying the table is less work.
var errTooDifferent = errors.New("too much of the table differs to mend it row by row")

// mendRounds bounds how often both sides are read because not all that differs
// has room at a time.
const mendRounds = 8

// mendable says why the differing rows of a mirror cannot be mended; "" where
// they can. base is the table as it is, nil for none.
func mendable(rel *cdc.Relation, base *tablefmt.Snapshot, spec *tableSpec) (why string) {
	switch {
	case base == nil:
		return "the lake does not have it yet"
	case rel.InsertOnly:
		return "updates and deletes of it are not published"
	case base.Property(propMode) != string(ModeMirror):
		return "what the lake has is no mirror"
	case base.Property(tablefmt.PropChangeDataFeed) == "true":
		return "it has a change data feed"
	case base.Property(propDelete) != "" && base.Property(propDelete) != string(DeleteHard):
		return "it keeps rows that the source deletes"
	case base.Property(tablefmt.PropDeletionVectors) != "true":
		return "its files are written anew where rows go"
	case len(base.Metadata().PartitionColumns) > 0:
		return "it is partitioned"
	case len(spec.state.Metadata) > 0:
		return "it has columns that tell of the loading"
	case (base.Property(propBag) == "true") != isBag(rel):
		return "it is told apart by other columns now"
	}
	t, err := tableOf(base, spec)
	if err != nil || !t.fits(rel) {
		return "its columns are others now"
	}
	return ""
}

// tableOf is the table of a snapshot, whatever it has applied.
func tableOf(base *tablefmt.Snapshot, spec *tableSpec) (*table, error) {
	t := &table{spec: *spec, snap: base}
	if err := t.readKey(); err != nil {
		return nil, err
	}
	return t, t.follow(base)
}

// newMending prepares the mending of a table that is mendable. The audit has its
// sides; memory is in bytes.
func newMending(ctx context.Context, a *Audit, spec tableSpec, memory int64) (*mending, error) {
	t, err := tableOf(a.Lake, &spec)
	if err != nil {
		return nil, err
	}
	if a.Workers < 1 {
		a.Workers = 2
	}
	x := &mending{
		auditing: &auditing{Audit: a}, spec: spec, most: max(memory/verify.GatheredBytes, 1<<10),
		m:   &mirrorWriter{table: t, views: map[keyindex.FileID]*fileView{}, bag: isBag(a.Relation)},
		ids: map[string]keyindex.FileID{}, done: Repaired{Table: spec.state.Name(), LSN: a.Source.Point()},
	}
	x.out = t.newStager(ctx)
	return x, x.prepare(ctx)
}

// stage compares both sides, and writes and marks what differs. Nothing of it is
// visible before commit.
func (x *mending) stage(ctx context.Context) error {
	source, lake, err := x.digests(ctx)
	if err != nil {
		return err
	}
	x.done.SourceRows, x.done.LakeRows = source.Rows(), lake.Rows()
	groups := verify.Groups(source, lake, verify.Differ(source, lake), x.most)
	if len(groups) > mendRounds {
		return fmt.Errorf("%w: of %d rows of the source and %d of the lake the differences need %d rounds, and %d are the most",
			errTooDifferent, source.Rows(), lake.Rows(), len(groups), mendRounds)
	}
	for _, group := range groups {
		keys, err := x.differing(ctx, group)
		if err != nil {
			return err
		}
		if err := x.mend(ctx, keys); err != nil {
			return err
		}
	}
	if x.mark != nil {
		if err := x.mark.out.close(); err != nil {
			return err
		}
	}
	return x.out.close()
}

// differing gives the keys of some buckets that differ.
func (x *mending) differing(ctx context.Context, buckets []int) (verify.Keys, error) {
	all := verify.NewGathering(buckets)
	var mu sync.Mutex
	of := func(left bool) func() pass {
		return func() pass {
			part := all.Part()
			return pass{
				rows: func(h *hashed) error {
					for _, i := range h.rows {
						part.Add(left, verify.Hash(h.key[i]), verify.Hash(h.row[i]))
					}
					return nil
				},
				end: func() {
					mu.Lock()
					defer mu.Unlock()
					all.Merge(part)
				},
			}
		}
	}
	if err := x.readSource(ctx, true, of(true)); err != nil {
		return nil, err
	}
	if err := x.readLake(ctx, true, of(false)); err != nil {
		return nil, err
	}
	return all.Differing(), nil
}

// mend puts the source's rows of some keys in place of the lake's, also those
// for which a condition does not hold: a row has to be taken out where it holds
// in the lake alone.
func (x *mending) mend(ctx context.Context, keys verify.Keys) error {
	x.done.Keys += int64(len(keys))
	x.there = verify.Keys{}
	of := func(do func(h *hashed, rows []int32) error) func() pass {
		return func() pass {
			var rows []int32
			return pass{end: func() {}, rows: func(h *hashed) error {
				rows = rows[:0]
				for _, i := range h.rows {
					if keys.Has(verify.Hash(h.key[i])) {
						rows = append(rows, i)
					}
				}
				if len(rows) == 0 {
					return nil
				}
				x.mu.Lock()
				defer x.mu.Unlock()
				return do(h, rows)
			}}
		}
	}
	if err := x.readSource(ctx, false, of(x.put)); err != nil {
		return err
	}
	return x.readLake(ctx, false, of(func(h *hashed, rows []int32) error { return x.take(ctx, h, rows) }))
}

// put writes rows of the source.
func (x *mending) put(h *hashed, rows []int32) error {
	b := h.batch
	if err := faultError(b, 0); err != nil {
		return err
	}
	t := x.m.table
	if err := t.adapt(b.Relation); err != nil {
		return err
	}
	if len(b.Exact) > 0 && t.schema.Index(typemap.Exact) < 0 {
		if err := x.out.finish(); err != nil {
			return err
		}
		if err := t.needExact([]*cdc.Batch{b}); err != nil {
			return err
		}
	}
	rec, err := t.record(b, nil)
	if err != nil {
		return err
	}
	defer rec.Release()
	if err := x.out.write(rec, rows, anywhere); err != nil {
		return err
	}
	x.done.Written += int64(len(rows))
	if x.mark == nil {
		return nil
	}
	for _, i := range rows {
		x.there[verify.Hash(h.key[i])] = struct{}{}
	}
	return x.mark.is(b, rows)
}

// take marks rows of the lake as deleted.
func (x *mending) take(ctx context.Context, h *hashed, rows []int32) error {
	id, ok := x.ids[h.file.Path]
	if !ok {
		old, err := x.Lake.DeletionVector(ctx, h.file)
		if err != nil {
			return fmt.Errorf("reading the deletion vector of %s in %s: %w", h.file.Path, &x.spec, err)
		}
		id = keyindex.FileID(len(x.ids) + 1)
		x.ids[h.file.Path] = id
		x.m.views[id] = &fileView{add: h.file, old: old}
	}
	for _, i := range rows {
		x.m.views[id].kill(uint32(h.first) + uint32(i))
	}
	x.done.Removed += int64(len(rows))
	if x.mark == nil {
		return nil
	}
	gone := slices.DeleteFunc(slices.Clone(rows), func(i int32) bool { return len(x.key) > 0 && x.there.Has(verify.Hash(h.key[i])) })
	return x.mark.was(h.stored, gone)
}

// commit makes what was staged the table's content as of the snapshot's point. A
// changelog is marked first: a repair that is cut off in between is made again,
// and what its marks say twice is no less true. whole says that the table holds
// nothing else than the snapshot then; after a repair of some rows it is for the
// others to prove what they are.
func (x *mending) commit(ctx context.Context, whole bool) (*Repaired, error) {
	point := x.Source.Point()
	if x.mark != nil {
		if err := x.mark.commit(ctx, point); err != nil {
			return nil, err
		}
	}
	t := x.m.table
	c := tablefmt.Begin(x.spec.loc, x.Lake)
	if err := x.describe(c); err != nil {
		return nil, err
	}
	now := time.Now().UnixMilli()
	if _, err := x.m.addVectors(ctx, c, now); err != nil {
		return nil, err
	}
	for _, f := range t.files {
		c.Add(*f.add)
		x.done.Bytes += f.add.Size
	}
	c.SetReads(tablefmt.ReadsTable)
	c.SetTxn(x.spec.appID(), int64(point))
	params := map[string]any{"lsn": point.String(), "repair": true, "rowsWritten": x.done.Written, "rowsRemoved": x.done.Removed}
	if whole {
		params[paramGeneration] = strconv.Itoa(x.spec.state.Generation)
	}
	c.SetInfo("MERGE", params)
	snap, err := c.Commit(ctx)
	if err != nil {
		return nil, fmt.Errorf("committing the repair of %s: %w", &x.spec, err)
	}
	for add := range snap.Files() {
		x.done.TableBytes += add.Size
	}
	x.done.Version = snap.Version()
	return &x.done, nil
}

// describe takes over into the table's metadata what the commit changes of them.
func (x *mending) describe(c *tablefmt.Transaction) error {
	t := x.m.table
	md := x.Lake.Metadata()
	source := x.spec.sourceProperty()
	if !t.evolved && md.Property(propSource) == source {
		return nil
	}
	md = md.Clone()
	md.SchemaString, md.Configuration[propSource] = t.schema.JSON(), source
	key, err := json.Marshal(t.key)
	if err != nil {
		return fmt.Errorf("encoding the key of %s: %w", &x.spec, err)
	}
	md.Configuration[propKey] = string(key)
	c.SetMetadata(md)
	if p := protocol(md, t.schema); len(p.ReaderFeatures) > len(x.Lake.Protocol().ReaderFeatures) {
		c.SetProtocol(p)
	}
	return nil
}

func (x *mending) abort() {
	x.out.abort()
	if x.mark != nil {
		x.mark.out.abort()
	}
}

// marking tells in a changelog what a repair of its mirror has changed: rows
// that are so (_op 'R', as a copy reads them), and keys, or whole rows of a table
// without a key, that are not there ('D'). They are of no transaction: _seq is
// -1, _xid 0, and _commit_time null.
type marking struct {
	*changelogWriter
	rel   *cdc.Relation
	point cdc.LSN
	out   *stager
}

func newMarking(ctx context.Context, w *changelogWriter, rel *cdc.Relation, point cdc.LSN) *marking {
	return &marking{changelogWriter: w, rel: rel, point: point, out: w.newStager(ctx)}
}

// change is a batch of n rows of the repair, without columns.
func (k *marking) change(n int) *cdc.Batch {
	b := &cdc.Batch{Relation: k.rel, Ops: make([]cdc.Op, n), Seqs: make([]int64, n), Txns: []cdc.TxnSpan{{Txn: cdc.Txn{Commit: k.point}}}}
	for i := range b.Seqs {
		b.Seqs[i] = seqCopied
	}
	return b
}

// is tells rows as the source has them.
func (k *marking) is(b *cdc.Batch, rows []int32) error {
	if err := k.adapt(b.Relation); err != nil {
		return err
	}
	if err := k.evolve(len(b.Exact) > 0); err != nil {
		return err
	}
	rec, err := k.record(b, changeColumns(k.change(b.Len()), opSnapshot))
	if err != nil {
		return err
	}
	defer rec.Release()
	return k.out.write(rec, rows, anywhere)
}

// evolve adds the column of exact texts.
func (k *marking) evolve(needed bool) error {
	if !needed || k.schema.Index(typemap.Exact) >= 0 {
		return nil
	}
	if err := k.out.finish(); err != nil {
		return err
	}
	return k.addExact()
}

// was tells rows of the mirror that the source does not have: their keys, or the
// whole rows where there are none.
func (k *marking) was(rec arrow.RecordBatch, rows []int32) error {
	if len(rows) == 0 {
		return nil
	}
	if err := k.adapt(k.rel); err != nil {
		return err
	}
	key := keyNames(k.rel)
	if err := k.evolve(rec.Schema().HasField(typemap.Exact)); err != nil {
		return err
	}
	n := int(rec.NumRows())
	own := changeColumns(k.change(n), "D")
	cols := make([]arrow.Array, k.arrow.NumFields())
	defer func() {
		for _, c := range cols {
			c.Release()
		}
	}()
	for i, f := range k.arrow.Fields() {
		at := rec.Schema().FieldIndices(f.Name)
		switch {
		case len(at) == 1 && (f.Name == typemap.Exact || len(key) == 0 || slices.Contains(key, f.Name)) && arrow.TypeEqual(rec.Column(at[0]).DataType(), f.Type):
			cols[i] = rec.Column(at[0])
			cols[i].Retain()
		case k.own(f.Name) && f.Name != typemap.Exact:
			cols[i] = own(f, n)
		default:
			cols[i] = array.MakeArrayOfNull(memory.DefaultAllocator, f.Type, n)
		}
	}
	out := array.NewRecordBatch(k.arrow, cols, int64(n))
	defer out.Release()
	return k.out.write(out, rows, anywhere)
}

func (k *marking) commit(ctx context.Context, point cdc.LSN) error {
	if !k.staged {
		return nil
	}
	x := k.begin(point, "WRITE")
	for _, f := range k.files {
		x.Add(*f.add)
	}
	if _, err := x.Commit(ctx); err != nil {
		return k.commitError(ctx, err)
	}
	return nil
}
