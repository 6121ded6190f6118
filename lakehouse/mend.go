package lakehouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/keyindex"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/lakehouse/verify"
	"github.com/lakeload/lakeload/tablefmt"
)

// mending makes a mirror show what a snapshot of the source shows, in one commit
// that touches only the rows of keys that differ: those rows are marked in
// deletion vectors, and the source's are written to new files, of the partitions
// that they belong to. What is equal stays where it is; in a table that does
// without deletion vectors, the files that lose rows are written anew. It does
// not use the key index, which reads the new files when the table is opened next.
//
// Memory does not grow with the table nor with what differs: sums first, then
// the hashes of as many differing buckets at a time as there is room for. Their
// rows are held as well, if they are few; else they are read once more when it
// is known which of them differ.
type mending struct {
	*auditing
	spec tableSpec
	mark *marking // nil: there is no changelog
	most int64    // rows of differing buckets whose hashes are held at a time
	room int64    // bytes of such rows themselves that are

	mu    sync.Mutex // guards what follows; the readers share it
	m     *mirrorWriter
	out   *stager
	ids   map[string]keyindex.FileID // of files in m.views, by path
	there verify.Keys                // of the keys being mended: those of which the source has rows
	cdcs  []tablefmt.CDCFile         // what is told of the repair
	gone  verify.Keys                // of the others: those of which a row is kept as deleted by now
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
	// Written and Removed are rows: one that was altered is both, and so is one
	// that is kept as deleted from now on.
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
	case (base.Property(propBag) == "true") != isBag(rel):
		return "it is told apart by other columns now"
	}
	t, err := tableOf(base, spec)
	if err != nil || !t.fits(rel) {
		return "its columns are others now"
	}
	if !madeBy(&spec.state.TableOptions, rel, base) {
		return "it is to be kept otherwise than it was"
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
	t.begun = time.Now().UTC()
	x := &mending{
		auditing: &auditing{Audit: a}, spec: spec, most: max(memory/verify.GatheredBytes, 1<<10), room: memory / 2,
		m: &mirrorWriter{
			table: t, views: map[keyindex.FileID]*fileView{}, bag: isBag(a.Relation),
			anew: spec.state.rewrites(a.Lake),
		},
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
		if err := x.mendGroup(ctx, group); err != nil {
			return err
		}
	}
	if x.mark != nil {
		if err := x.mark.out.close(); err != nil {
			return err
		}
	}
	if err := x.out.close(); err != nil {
		return err
	}
	if x.cdcs, err = x.m.writeFeed(ctx); err != nil || !x.m.anew {
		return err
	}
	return x.m.writeAnew(ctx)
}

// mendGroup mends some buckets.
func (x *mending) mendGroup(ctx context.Context, buckets []int) error {
	few := &fewRows{room: x.room}
	if x.Where != nil { // rows for which it does not hold are wanted, too, of keys that differ
		few.over = true
	}
	defer few.drop()
	keys, err := x.differing(ctx, buckets, few)
	if err != nil || len(keys) == 0 { // all that the lake has more may be rows that it keeps
		return err
	}
	return x.mend(ctx, keys, few)
}

// differing gives the keys of some buckets that differ. Where the lake keeps
// what the source deletes, rows of keys that the source does not have are no
// difference; under a condition only mend can tell, as the source may have a row
// for which it does not hold. few takes the buckets' rows.
func (x *mending) differing(ctx context.Context, buckets []int, few *fewRows) (verify.Keys, error) {
	filtered := x.Where != nil
	all := verify.NewGathering(buckets)
	var mu sync.Mutex
	of := func(left bool) func() pass {
		return func() pass {
			part := all.Part()
			return pass{
				rows: func(h *hashed) error {
					var rows []int32
					for _, i := range h.rows {
						if !part.Wants(verify.Hash(h.key[i])) {
							continue
						}
						if rows = append(rows, i); !h.deleted(i) {
							part.Add(left, verify.Hash(h.key[i]), verify.Hash(h.row[i]))
						}
					}
					return few.take(h, rows)
				},
				end: func() {
					mu.Lock()
					defer mu.Unlock()
					all.Merge(part)
				},
			}
		}
	}
	if err := x.readSource(ctx, filtered, of(true)); err != nil {
		return nil, err
	}
	if err := x.readLake(ctx, filtered, of(false)); err != nil {
		return nil, err
	}
	if x.keep == DeleteIgnore && x.Where == nil {
		return all.DifferingOnLeft(), nil
	}
	return all.Differing(), nil
}

// mend puts the source's rows of some keys in place of the lake's, also those
// for which a condition does not hold: a row has to be taken out where it holds
// in the lake alone.
func (x *mending) mend(ctx context.Context, keys verify.Keys, few *fewRows) error {
	x.there, x.gone = verify.Keys{}, verify.Keys{}
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
	put := of(x.put)
	take := of(func(h *hashed, rows []int32) error { return x.take(ctx, h, rows) })
	if err := few.each(few.source, put, func() error { return x.readSource(ctx, false, put) }); err != nil {
		return err
	}
	if x.keep == DeleteIgnore {
		keys = x.there // the other rows stay
	}
	x.done.Keys += int64(len(keys))
	return few.each(few.lake, take, func() error { return x.readLake(ctx, false, take) })
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
	if x.mark != nil || x.keep != "" {
		for _, i := range rows {
			x.there[verify.Hash(h.key[i])] = struct{}{}
		}
	}
	if x.mark == nil {
		return nil
	}
	return x.mark.is(b, rows)
}

// take takes rows out of the lake: those that are kept as deleted, too, which
// make room for the source's.
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
		x.m.views[id].kill(h.place(i))
	}
	x.done.Removed += int64(len(rows))
	if x.mark == nil && x.keep != DeleteSoft {
		return nil
	}
	gone := slices.DeleteFunc(slices.Clone(rows), func(i int32) bool {
		return h.deleted(i) || len(x.key) > 0 && x.there.Has(verify.Hash(h.key[i]))
	})
	if x.keep == DeleteSoft {
		if err := x.bury(h, gone); err != nil {
			return err
		}
	}
	if x.mark == nil {
		return nil
	}
	return x.mark.was(h.stored, gone)
}

// bury keeps rows as deleted that the source does not have: one of a key. When
// it deleted them nobody knows any more; that they were gone when the comparison
// began is certain.
func (x *mending) bury(h *hashed, gone []int32) error {
	var rows []int32
	for _, i := range gone {
		if key := verify.Hash(h.key[i]); !x.gone.Has(key) {
			x.gone[key] = struct{}{}
			rows = append(rows, i)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	rec, err := x.m.gone(h.stored)
	if err != nil {
		return err
	}
	defer rec.Release()
	x.done.Written += int64(len(rows))
	return x.out.write(rec, rows, anywhere)
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
		f.add.DataChange = !x.m.moved
		c.Add(*f.add)
		x.done.Bytes += f.add.Size
	}
	for i := range x.cdcs {
		c.AddCDC(x.cdcs[i])
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
	t, source := x.m.table, x.spec.sourceProperty()
	if !t.switches() && !t.evolved && x.Lake.Property(propSource) == source {
		return nil
	}
	md := x.Lake.Metadata().Clone()
	t.setSwitches(md)
	md.Configuration[propSource] = source
	return t.describe(c, md)
}

func (x *mending) abort() {
	x.out.abort()
	if x.mark != nil {
		x.mark.out.abort()
	}
}
