package lakehouse_test

import (
	"context"
	"iter"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/dv"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// mirrorVersions are all versions of a mirror. A version is read as a reader
// that follows the table reads it, by the commit that makes it; each data file is
// read once, and each deletion vector. So that nothing rests on one way of
// reading, some versions are besides read from nothing, checkpoints included, and
// scanned: the newest, and every twelfth, of which the history's seed says which.
type mirrorVersions struct {
	table   string
	snaps   []*tablefmt.Snapshot
	files   map[fileKey][]lakeRow // a file's rows, those included that are gone
	vectors map[string]*dv.Bitmap
}

// fileKey is a file as a schema shows it.
type fileKey struct{ path, schema string }

const readAnewEvery = 12

func readVersions(t *testing.T, table string, loc tablefmt.Location, seed uint64) *mirrorVersions {
	ctx := context.Background()
	m := &mirrorVersions{table: table, files: map[fileKey][]lakeRow{}, vectors: map[string]*dv.Bitmap{}}
	newest, err := tablefmt.Load(ctx, loc)
	require.NoError(t, err)
	// The store's own view of the log would end at the newest version at once.
	until := &untilVersion{Store: objstore.Sub(loc.Data, "_delta_log")}
	first, err := tablefmt.LoadAt(ctx, loc, 0)
	require.NoError(t, err)
	snap, err := tablefmt.Load(ctx, tablefmt.Location{Data: loc.Data, Log: until})
	require.NoError(t, err)
	requireSame(t, first, snap)
	for m.snaps = append(m.snaps, snap); snap.Version() < newest.Version(); m.snaps = append(m.snaps, snap) {
		until.version++
		snap, err = snap.Update(ctx)
		require.NoError(t, err)
		require.Equal(t, until.version, snap.Version())
		if v := uint64(until.version); snap.Version() == newest.Version() || (v+seed)%readAnewEvery == 0 {
			anew, err := tablefmt.LoadAt(ctx, loc, until.version)
			require.NoError(t, err)
			requireSame(t, anew, snap)
			require.Equal(t, lakeRows(t, anew), m.rowsOf(t, snap), "version %d of %s, read twice", v, loc)
		}
	}
	return m
}

// requireSame requires that two ways of reading a version give the same.
func requireSame(t *testing.T, a, b *tablefmt.Snapshot) {
	require.Equal(t, a.Version(), b.Version())
	require.Equal(t, a.NumFiles(), b.NumFiles())
	for add := range a.Files() {
		other, ok := b.File(add.Path)
		require.True(t, ok)
		require.Equal(t, add.DeletionVector, other.DeletionVector)
	}
	require.Equal(t, a.Metadata(), b.Metadata())
	require.Equal(t, a.Protocol(), b.Protocol())
	require.Equal(t, cutOf(t, a), cutOf(t, b))
}

// rows are the rows of a version, in the texts of sourceRows.
func (m *mirrorVersions) rows(t *testing.T, version int) map[string]int {
	return m.rowsOf(t, m.snaps[version])
}

func (m *mirrorVersions) rowsOf(t *testing.T, snap *tablefmt.Snapshot) map[string]int {
	rows := map[string]int{}
	m.each(t, snap, func(r *lakeRow) {
		if !r.deleted {
			rows[r.text]++
		}
	})
	return rows
}

// each gives the rows of a version, those included that are kept as deleted.
func (m *mirrorVersions) each(t *testing.T, snap *tablefmt.Snapshot, row func(*lakeRow)) {
	for add := range snap.Files() {
		gone := m.vector(t, snap, add)
		rows := m.file(t, snap, add)
		for i := range rows {
			if gone == nil || !gone.Contains(uint64(i)) {
				row(&rows[i])
			}
		}
	}
}

func (m *mirrorVersions) file(t *testing.T, snap *tablefmt.Snapshot, add *tablefmt.AddFile) []lakeRow {
	key := fileKey{add.Path, snap.Metadata().SchemaString}
	rows, ok := m.files[key]
	if !ok {
		err := snap.ReadFile(context.Background(), add, tablefmt.ReadOptions{IncludeDeleted: true}, func(rec arrow.RecordBatch, _ int64) error {
			rows = append(rows, rowsOfRecord(snap.Schema(), rec)...)
			return nil
		})
		require.NoError(t, err)
		for i := range rows {
			rows[i].key = keyIn(m.table, rows[i].text)
		}
		m.files[key] = rows
	}
	return rows
}

func (m *mirrorVersions) vector(t *testing.T, snap *tablefmt.Snapshot, add *tablefmt.AddFile) *dv.Bitmap {
	if add.DeletionVector == nil {
		return nil
	}
	key := add.Path + " " + add.DeletionVector.UniqueID()
	gone, ok := m.vectors[key]
	if !ok {
		var err error
		gone, err = snap.DeletionVector(context.Background(), add)
		require.NoError(t, err)
		m.vectors[key] = gone
	}
	return gone
}

// untilVersion is a log that ends with a version.
type untilVersion struct {
	objstore.Store
	version int64
}

func (s *untilVersion) hides(path string) bool {
	if strings.HasPrefix(path, "_") { // what names the newest checkpoint
		return true
	}
	number, _, _ := strings.Cut(path, ".")
	v, err := strconv.ParseInt(number, 10, 64)
	return err == nil && v > s.version
}

func (s *untilVersion) Get(ctx context.Context, path string) ([]byte, error) {
	if s.hides(path) {
		return nil, objstore.ErrNotFound
	}
	return s.Store.Get(ctx, path)
}

func (s *untilVersion) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Info, error] {
	return func(yield func(objstore.Info, error) bool) {
		for info, err := range s.Store.List(ctx, prefix, after) {
			if err == nil && s.hides(info.Path) {
				continue
			}
			if !yield(info, err) {
				return
			}
		}
	}
}
