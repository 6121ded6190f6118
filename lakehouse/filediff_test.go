package lakehouse

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/dv"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// TestFilesWithNewRows: rows are new in a file that was not there, and where a
// deletion vector has lost a row; in no other.
func TestFilesWithNewRows(t *testing.T) {
	ctx, loc := t.Context(), tablefmt.Location{Data: objstore.NewMemory()}
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}, nil)
	file := func() tablefmt.AddFile {
		rec := array.NewRecordBatch(schema, []arrow.Array{column(array.NewInt64Builder(memory.DefaultAllocator), int64(0), 1, 2, 3, 4)}, 5)
		w, err := tablefmt.NewFileWriter(ctx, loc, schema, tablefmt.FileOptions{})
		require.NoError(t, err)
		_, err = w.Write(rec)
		require.NoError(t, err)
		add, err := w.Close()
		require.NoError(t, err)
		return *add
	}
	names := map[string]string{}
	var versions []*tablefmt.Snapshot
	commit := func(change func(x *tablefmt.Transaction, snap *tablefmt.Snapshot)) {
		var snap *tablefmt.Snapshot
		if n := len(versions); n > 0 {
			snap = versions[n-1]
		}
		x := tablefmt.Begin(loc, snap)
		change(x, snap)
		snap, err := x.Commit(ctx)
		require.NoError(t, err)
		versions = append(versions, snap)
	}
	a, b, c := file(), file(), file()
	names[a.Path], names[b.Path], names[c.Path] = "a", "b", "c"
	commit(func(x *tablefmt.Transaction, _ *tablefmt.Snapshot) {
		d, err := tablefmt.SchemaFromArrow(schema)
		require.NoError(t, err)
		x.SetProtocol(tablefmt.MirrorProtocol(tablefmt.OptionsFor(d)))
		x.SetMetadata(&tablefmt.Metadata{SchemaString: d.JSON(), Configuration: map[string]string{tablefmt.PropDeletionVectors: "true"}})
		x.Add(a)
		x.Add(b)
	})
	for _, deleted := range [][]uint64{{1, 2}, {1, 2, 3}, {1, 4}, nil} {
		commit(func(x *tablefmt.Transaction, snap *tablefmt.Snapshot) {
			now, _ := snap.File(a.Path)
			x.Remove(*now.Remove(1, true))
			next := a
			if deleted != nil {
				d, err := tablefmt.WriteDeletionVectors(ctx, loc, []*dv.Bitmap{dv.New(deleted...)})
				require.NoError(t, err)
				next, err = a.WithVector(d[0])
				require.NoError(t, err)
			}
			x.Add(next)
		})
	}
	commit(func(x *tablefmt.Transaction, _ *tablefmt.Snapshot) { x.Add(c) })
	commit(func(x *tablefmt.Transaction, _ *tablefmt.Snapshot) { x.Remove(*b.Remove(1, true)) })

	// The versions: 0 without vectors, 1 to 3 with the vectors, 4 without, 5 with c, 6 without b.
	want := map[[2]int][]string{
		{0, 1}: nil, {1, 2}: nil, {0, 2}: nil, {2, 3}: {"a"}, {1, 3}: {"a"}, {3, 4}: {"a"}, {1, 4}: {"a"}, {2, 1}: {"a"},
		{0, 4}: nil, {4, 5}: {"c"}, {5, 6}: nil, {0, 6}: {"c"}, {1, 6}: {"a", "c"}, {6, 5}: {"b"},
	}
	for v, expected := range want {
		files, err := filesWithNewRows(ctx, versions[v[0]], versions[v[1]])
		require.NoError(t, err)
		var got []string
		for _, f := range files {
			got = append(got, names[f.Path])
		}
		require.ElementsMatch(t, expected, got, "from version %d to %d", v[0], v[1])
	}

	// A vector that is gone tells nothing of the version that had it: the file
	// is read. That of the newer version is needed.
	one := int32(1)
	missing, err := a.WithVector(dv.Descriptor{StorageType: dv.Relative, PathOrInlineDV: "vBn[lx{q8@P<9BNH/isA", Offset: &one, SizeInBytes: 34, Cardinality: 2})
	require.NoError(t, err)
	commit(func(x *tablefmt.Transaction, snap *tablefmt.Snapshot) {
		now, _ := snap.File(a.Path)
		x.Remove(*now.Remove(1, true))
		x.Add(missing)
	})
	files, err := filesWithNewRows(ctx, versions[7], versions[1])
	require.NoError(t, err)
	then, _ := versions[1].File(a.Path)
	require.Contains(t, files, then)
	_, err = filesWithNewRows(ctx, versions[1], versions[7])
	require.ErrorIs(t, err, tablefmt.ErrCorrupt)
}
