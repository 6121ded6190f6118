package compaction

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/dv"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

func TestPlanPack(t *testing.T) {
	file := func(n int, size int64) *tablefmt.AddFile { return &tablefmt.AddFile{Path: fmt.Sprint(n), Size: size} }
	plan := func(o PackOptions, files ...*tablefmt.AddFile) (paths []string) {
		for _, f := range PlanPack(slices.Values(files), o).Files {
			paths = append(paths, f.Path)
		}
		return paths
	}
	o := PackOptions{TargetSize: 100}
	require.Empty(t, plan(o))
	require.Empty(t, plan(o, file(1, 10)), "one file is packed already")
	require.Empty(t, plan(o, file(1, 100), file(2, 500)), "large ones are left alone")
	require.Equal(t, []string{"1", "3"}, plan(o, file(1, 10), file(2, 100), file(3, 20)))
	require.Equal(t, []string{"1", "2"}, plan(o, file(1, 40), file(2, 50), file(3, 60)), "no more than the target")
	require.Empty(t, plan(PackOptions{TargetSize: 100, MinFiles: 3}, file(1, 10), file(2, 20)))
}

var schema = arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}, nil)

func write(t *testing.T, loc tablefmt.Location, s *tablefmt.Snapshot, values ...int64) *tablefmt.Snapshot {
	b := array.NewInt64Builder(memory.DefaultAllocator)
	b.AppendValues(values, nil)
	rec := array.NewRecordBatch(schema, []arrow.Array{b.NewArray()}, int64(len(values)))
	w, err := tablefmt.NewFileWriter(t.Context(), loc, schema, tablefmt.FileOptions{})
	require.NoError(t, err)
	_, err = w.Write(rec)
	require.NoError(t, err)
	add, err := w.Close()
	require.NoError(t, err)
	x := tablefmt.Begin(loc, s)
	if s == nil {
		d, err := tablefmt.SchemaFromArrow(schema)
		require.NoError(t, err)
		x.SetProtocol(tablefmt.MirrorProtocol(tablefmt.OptionsFor(d)))
		x.SetMetadata(&tablefmt.Metadata{SchemaString: d.JSON(), Configuration: map[string]string{tablefmt.PropDeletionVectors: "true"}})
	}
	x.Add(*add)
	s, err = x.Commit(t.Context())
	require.NoError(t, err)
	return s
}

func rows(t *testing.T, s *tablefmt.Snapshot) (out []int64) {
	err := s.Scan(context.Background(), tablefmt.ScanOptions{}, func(rec arrow.RecordBatch) error {
		out = append(out, rec.Column(0).(*array.Int64).Int64Values()...)
		return nil
	})
	require.NoError(t, err)
	slices.Sort(out)
	return out
}

func TestPackKeepsTheRows(t *testing.T) {
	loc := tablefmt.Location{Data: objstore.NewMemory()}
	s := write(t, loc, nil, 1, 2, 3)
	s = write(t, loc, s, 4, 5)
	s = write(t, loc, s, 6)
	for f := range s.Files() { // one row of the first file is deleted
		if n, _ := f.NumRecords(); n != 3 {
			continue
		}
		d, err := tablefmt.WriteDeletionVectors(t.Context(), loc, []*dv.Bitmap{dv.New(1)})
		require.NoError(t, err)
		with, err := f.WithVector(d[0])
		require.NoError(t, err)
		x := tablefmt.Begin(loc, s)
		x.Remove(*f.Remove(1, true))
		x.Add(with)
		s, err = x.Commit(t.Context())
		require.NoError(t, err)
	}
	before := s
	packed, err := Pack(t.Context(), s, PlanPack(s.Files(), PackOptions{}))
	require.NoError(t, err)
	require.Equal(t, 1, packed.NumFiles())
	require.Equal(t, []int64{1, 3, 4, 5, 6}, rows(t, packed))
	again, err := tablefmt.Load(t.Context(), loc)
	require.NoError(t, err)
	require.Equal(t, rows(t, packed), rows(t, again))
	old, err := tablefmt.LoadAt(t.Context(), loc, before.Version())
	require.NoError(t, err)
	require.Equal(t, rows(t, packed), rows(t, old), "the version before can still be read")
	actions, err := tablefmt.ReadCommit(t.Context(), loc, packed.Version())
	require.NoError(t, err)
	for _, a := range actions {
		require.False(t, a.Add != nil && a.Add.DataChange || a.Remove != nil && a.Remove.DataChange, "no data is changed")
	}
	same, err := Pack(t.Context(), packed, PlanPack(packed.Files(), PackOptions{}))
	require.NoError(t, err)
	require.Same(t, packed, same)
}

func TestPackLosesToAChangeOfItsFiles(t *testing.T) {
	loc := tablefmt.Location{Data: objstore.NewMemory()}
	s := write(t, loc, nil, 1)
	s = write(t, loc, s, 2)
	plan := PlanPack(s.Files(), PackOptions{})
	other := tablefmt.Begin(loc, s)
	other.Remove(*plan.Files[0].Remove(1, true))
	_, err := other.Commit(t.Context())
	require.NoError(t, err)
	_, err = Pack(t.Context(), s, plan)
	require.ErrorIs(t, err, tablefmt.ErrConflict)
	now, err := tablefmt.Load(t.Context(), loc)
	require.NoError(t, err)
	require.Equal(t, 1, now.NumFiles())
}
