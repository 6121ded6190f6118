package lakehouse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"golang.org/x/sync/errgroup"

	"github.com/lakeload/lakeload/lakehouse/keyindex"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/dv"
)

// parallelVectors bounds how many deletion vectors are read at a time.
const parallelVectors = 16

// fitIndex makes the key index show the table as it is: by what the table's log
// says has changed since the state that the index shows, or from all of the
// table's rows where that cannot be told.
func (m *mirrorWriter) fitIndex(ctx context.Context) error {
	if m.index != nil {
		if m.index.Stamp() == stampOf(m.snap) {
			return nil
		}
		fits, err := m.catchUpIndex(ctx)
		if err != nil && !errors.Is(err, keyindex.ErrUnfit) {
			return fmt.Errorf("catching up the key index of %s: %w", &m.spec, err)
		}
		if fits {
			return nil
		}
	}
	if err := m.rebuildIndex(ctx); err != nil {
		return fmt.Errorf("rebuilding the key index of %s: %w", &m.spec, err)
	}
	return nil
}

// catchUpIndex reads the keys of the files that the table has now and had not,
// or had with more rows deleted, at the version that the index shows. Entries of
// rows that are gone stay: a hit in a file that the table does not have, or in a
// row that is deleted, is none. False is for an index that has to be rebuilt.
func (m *mirrorWriter) catchUpIndex(ctx context.Context) (bool, error) {
	was, err := m.indexed(ctx)
	if was == nil || err != nil {
		return false, err
	}
	if was.Property(propKey) != m.snap.Property(propKey) {
		return false, nil
	}
	files, err := filesWithNewRows(ctx, was, m.snap)
	if err != nil {
		return false, err
	}
	clear(m.views)
	if err := m.indexFiles(ctx, files, false); err != nil {
		return false, err
	}
	for add := range was.Files() {
		if _, ok := m.snap.File(add.Path); !ok {
			m.index.Forget(m.index.FileID(add.Path))
		}
	}
	return true, nil
}

// publishedWithin is how many versions before the newest one that a copy was
// published as is looked for. Between the end of an engine and the beginning of
// the next, only other programs add to a table.
const publishedWithin = 32

// indexed is the table as the index shows it, nil if nothing tells.
func (m *mirrorWriter) indexed(ctx context.Context) (*tablefmt.Snapshot, error) {
	at := m.index.Stamp()
	if at.Commit == "" { // nothing tells that version from another in its place
		return nil, nil
	}
	if publishedFrom(m.snap, at) {
		return m.snap, nil
	}
	if m.bag { // its copies are numbered without gaps: entries of rows that are gone would count
		return nil, nil
	}
	was, err := m.versionAt(ctx, at.Version)
	if err != nil || was != nil && stampOf(was) == at {
		return was, err
	}
	history, err := tablefmt.History(ctx, m.spec.loc, publishedWithin)
	if err != nil {
		return nil, err
	}
	for _, h := range history {
		if h.Info == nil || h.Info.OperationParameters[paramCopied] == nil {
			continue
		}
		was, err = m.versionAt(ctx, h.Version)
		if err != nil || was != nil && publishedFrom(was, at) {
			return was, err
		}
	}
	return nil, nil
}

// versionAt loads a version of the table; nil if the log does not reach back so
// far, or never did.
func (m *mirrorWriter) versionAt(ctx context.Context, version int64) (*tablefmt.Snapshot, error) {
	was, err := tablefmt.LoadAt(ctx, m.spec.loc, version)
	if errors.Is(err, tablefmt.ErrNoVersion) || errors.Is(err, tablefmt.ErrCorrupt) {
		return nil, nil
	}
	return was, err
}

// filesWithNewRows are the files of a snapshot with rows that an earlier one
// does not have, or has deleted, in their paths' order.
func filesWithNewRows(ctx context.Context, was, now *tablefmt.Snapshot) ([]*tablefmt.AddFile, error) {
	type pair struct{ was, now *tablefmt.AddFile }
	var files []*tablefmt.AddFile
	var marked []pair
	for add := range now.Files() {
		before, ok := was.File(add.Path)
		switch {
		case !ok:
			files = append(files, add)
		case before.DeletionVector != nil && (add.DeletionVector == nil || add.DeletionVector.UniqueID() != before.DeletionVector.UniqueID()):
			marked = append(marked, pair{before, add})
		}
	}
	revived := make([]bool, len(marked))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelVectors)
	for i, p := range marked {
		g.Go(func() error {
			gone, err := was.DeletionVector(gctx, p.was)
			if errors.Is(err, tablefmt.ErrCorrupt) { // the vector that nobody needs any more may have been removed
				revived[i] = true
				return nil
			}
			if err != nil {
				return err
			}
			still, err := now.DeletionVector(gctx, p.now)
			if err != nil {
				return err
			}
			if still == nil {
				still = dv.New()
			}
			gone.AndNot(still)
			revived[i] = !gone.IsEmpty()
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for i, p := range marked {
		if revived[i] {
			files = append(files, p.now)
		}
	}
	slices.SortFunc(files, func(a, b *tablefmt.AddFile) int { return cmp.Compare(a.Path, b.Path) })
	return files, nil
}

// rebuildIndex reads the key columns of all rows of the table.
func (m *mirrorWriter) rebuildIndex(ctx context.Context) error {
	if err := m.freshIndex(ctx); err != nil {
		return err
	}
	return m.indexFiles(ctx, slices.Collect(m.snap.Files()), true)
}

// indexFiles notes where the keys of these files' rows are, and makes the index
// show the snapshot. rebuilt says that they are all of the table's.
func (m *mirrorWriter) indexFiles(ctx context.Context, files []*tablefmt.AddFile, rebuilt bool) error {
	names, err := m.identity(m.snap)
	if err != nil {
		return err
	}
	change := m.index.Change()
	defer change.Rollback()
	x := m.newIndexer(change, names, m.snap.Schema())
	x.progress = newIndexProgress(&m.spec, files, rebuilt)
	for _, add := range files {
		if err := x.file(ctx, add); err != nil {
			return err
		}
	}
	if err := change.Commit(ctx, stampOf(m.snap)); err != nil {
		return err
	}
	x.progress.end()
	return nil
}

// identity are the columns that tell the rows of a snapshot apart.
func (m *mirrorWriter) identity(snap *tablefmt.Snapshot) ([]string, error) {
	if m.bag {
		return m.bagColumns(snap.Schema()), nil
	}
	return storedKeyColumns(snap)
}

// indexer notes where the keys of stored rows are.
type indexer struct {
	m        *mirrorWriter
	change   keyindex.Change
	names    []string // of the columns that tell rows apart
	columns  []string // that are read
	hasExact bool
	rows     rowHasher
	progress *indexProgress // nil: nobody is told

	hashes  []keyindex.Hash
	entries []keyindex.Entry
}

// newIndexer is for rows in the columns of a schema, of which names tell them
// apart.
func (m *mirrorWriter) newIndexer(change keyindex.Change, names []string, schema *tablefmt.Schema) *indexer {
	x := &indexer{m: m, change: change, names: names, columns: names, rows: rowHasher{hasher: m.hasher.hasher}}
	if x.hasExact = schema.Index(typemap.Exact) >= 0; x.hasExact {
		x.columns = append(slices.Clone(names), typemap.Exact)
	}
	return x
}

// file notes the rows of a file that are not deleted.
func (x *indexer) file(ctx context.Context, add *tablefmt.AddFile) error {
	id := x.m.index.FileID(add.Path)
	deleted, err := x.m.snap.DeletionVector(ctx, add)
	if err != nil {
		return err
	}
	return x.m.snap.ReadFile(ctx, add, tablefmt.ReadOptions{Columns: x.columns, IncludeDeleted: true}, func(rec arrow.RecordBatch, first int64) error {
		defer x.progress.read(rec.NumRows())
		return x.record(ctx, rec, func(i int) keyindex.Loc {
			row := uint32(first) + uint32(i)
			if deleted != nil && deleted.Contains(uint64(row)) {
				return keyindex.Loc{}
			}
			return keyindex.Loc{File: id, Row: row}
		})
	})
}

// record notes rows, of which loc says where they are; nowhere is for those
// that are deleted.
func (x *indexer) record(ctx context.Context, rec arrow.RecordBatch, loc func(i int) keyindex.Loc) error {
	if err := x.hash(rec); err != nil {
		return err
	}
	return x.put(ctx, x.hashes, loc)
}

// hash sets the hashes of rows.
func (x *indexer) hash(rec arrow.RecordBatch) error {
	x.hashes = append(x.hashes[:0], make([]keyindex.Hash, rec.NumRows())...)
	if x.m.bag {
		return x.rows.hashStored(x.names, rec, x.hasExact, x.hashes)
	}
	cols, exact := storedKey(rec, x.names, x.hasExact)
	return x.m.hasher.hashRows(cols, exact, 0, x.hashes)
}

// put notes rows by their hashes.
func (x *indexer) put(ctx context.Context, hashes []keyindex.Hash, loc func(i int) keyindex.Loc) error {
	if x.m.bag {
		return x.rows.put(ctx, x.change, hashes, loc)
	}
	x.entries = x.entries[:0]
	for i, h := range hashes {
		if l := loc(i); l != (keyindex.Loc{}) {
			x.entries = append(x.entries, keyindex.Entry{Hash: h, Loc: l})
		}
	}
	return x.change.Put(ctx, x.entries)
}
