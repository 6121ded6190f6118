package tablefmt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/dv"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// checkedTable is a table of nine versions, with a checkpoint of version 5, a
// deletion vector of its own and one within the log.
func checkedTable(t *testing.T) (*objstore.Memory, Location, *Snapshot) {
	ctx := context.Background()
	store := objstore.NewMemory()
	loc := Location{Data: store}
	s := create(t, loc, &Schema{Fields: []Field{{Name: "id", Type: Long, Nullable: true}, {Name: "t", Type: String, Nullable: true}}})
	var added []string
	for v := int64(1); v <= 6; v++ {
		tx := Begin(loc, s)
		ids := make([]int64, 3000)
		for i := range ids {
			ids[i] = v*10_000 + int64(i)
		}
		add := writeIDs(t, s, ids...)
		added = append(added, add.Path)
		tx.Add(add)
		tx.SetTxn("app", v)
		s = must(tx.Commit(ctx))
		if v == 5 {
			require.NoError(t, Checkpoint(ctx, s))
		}
	}
	for v := range 2 {
		f, _ := s.File(added[v])
		b := dv.New(7)
		if v == 1 {
			for i := range uint64(1400) {
				b.Add(2*i + 1)
			}
		}
		tx := Begin(loc, s)
		tx.Remove(*f.Remove(1, true))
		tx.Add(must(f.WithVector(must(WriteDeletionVectors(ctx, loc, []*dv.Bitmap{b}))[0])))
		s = must(tx.Commit(ctx))
	}
	sum := fmt.Sprintf(`{"tableSizeBytes":%d,"numFiles":%d,"numMetadata":1,"numProtocol":1}`, s.Size(), s.NumFiles())
	require.NoError(t, store.Put(ctx, "_delta_log/00000000000000000008.crc", []byte(sum)))
	return store, loc, s
}

func faultsOf(t *testing.T, loc Location, o CheckOptions) (*CheckReport, []string) {
	t.Helper()
	var list []string
	report, err := Check(context.Background(), loc, o, func(f Fault) error {
		list = append(list, fmt.Sprintf("%s %s %d: %v", f.Kind, f.Path, f.Version, f.Err))
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, len(list), report.Faults)
	return report, list
}

func TestCheckOfASoundTable(t *testing.T) {
	_, loc, s := checkedTable(t)
	report, faults := faultsOf(t, loc, CheckOptions{Rows: true})
	require.Empty(t, faults)
	require.Equal(t, CheckReport{Version: 8, Commits: 9, Checkpoints: 1, Checksums: 1, Files: 6, Vectors: 2, Rows: 18_000 - 1401, Bytes: s.Size()}, *report)
	_, err := Check(context.Background(), memoryTable(), CheckOptions{}, nil)
	require.ErrorIs(t, err, ErrNoTable)

	// One whose log was cleaned is checked from its oldest checkpoint on.
	for v := range int64(5) {
		require.NoError(t, loc.Data.Delete(context.Background(), "_delta_log/"+commitName(v)))
	}
	report, faults = faultsOf(t, loc, CheckOptions{})
	require.Empty(t, faults)
	require.Equal(t, int64(5), report.Oldest)
	require.Equal(t, 3, report.Commits)
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	ctx := context.Background()
	change := func(path string, how func(data []byte) []byte) func(*testing.T, *objstore.Memory) {
		return func(t *testing.T, store *objstore.Memory) {
			data, err := store.Get(ctx, path)
			require.NoError(t, err)
			changed := how(bytes.Clone(data))
			require.NotEqual(t, data, changed)
			require.NoError(t, store.Put(ctx, path, changed))
		}
	}
	text := func(old, new string) func([]byte) []byte {
		return func(data []byte) []byte { return []byte(strings.Replace(string(data), old, new, 1)) }
	}
	log := func(name string) string { return "_delta_log/" + name }
	// The files of version 3, and of the vector in a file of its own.
	var dataFile, vectorFile string
	file := func(store *objstore.Memory, suffix string) string {
		for info, err := range store.List(ctx, "", "") {
			require.NoError(t, err)
			if strings.HasSuffix(info.Path, suffix) && !strings.HasPrefix(info.Path, "_delta_log/") {
				return info.Path
			}
		}
		return ""
	}
	for _, c := range []struct {
		name  string
		spoil func(*testing.T, *objstore.Memory)
		rows  bool
		want  []string // beginnings, DATA and VECTOR stand for the files
	}{
		{
			"a commit is gone", func(t *testing.T, s *objstore.Memory) { require.NoError(t, s.Delete(ctx, log(commitName(3)))) }, false,
			[]string{"gap_in_log _delta_log/00000000000000000003.json 3: the commit is not there"},
		},
		{
			"a commit without a later checkpoint is gone", func(t *testing.T, s *objstore.Memory) { require.NoError(t, s.Delete(ctx, log(commitName(7)))) }, false,
			[]string{"gap_in_log _delta_log/00000000000000000007.json 7: no checkpoint", "gap_in_log _delta_log/00000000000000000007.json 7: the commit is not there"},
		},
		{
			"a commit is cut off", change(log(commitName(2)), func(d []byte) []byte { return d[:len(d)-20] }), false,
			[]string{"damaged_commit _delta_log/00000000000000000002.json 2: "},
		},
		{
			"a commit has lost an add", change(log(commitName(4)), text(`{"add":`, `{"unknown":`)), false,
			[]string{"wrong_checkpoint _delta_log/00000000000000000005.checkpoint.parquet 5: it has ", "wrong_checksum _delta_log/00000000000000000008.crc 8: it says that the table has "},
		},
		{
			"a checkpoint is damaged", change(log(checkpointName(5)), func(d []byte) []byte { return d[:len(d)/2] }), false,
			[]string{"damaged_checkpoint _delta_log/00000000000000000005.checkpoint.parquet 5: "},
		},
		{
			"a progress is another one", change(log(commitName(5)), text(`"version":5`, `"version":6`)), false,
			[]string{`wrong_checkpoint _delta_log/00000000000000000005.checkpoint.parquet 5: it says of the application "app" that it has got to 5`},
		},
		{
			"a checksum is wrong", change(log("00000000000000000008.crc"), text(`"numFiles":6`, `"numFiles":7`)), false,
			[]string{"wrong_checksum _delta_log/00000000000000000008.crc 8: it says that the table has 7 files"},
		},
		{"a data file is gone", func(t *testing.T, s *objstore.Memory) { require.NoError(t, s.Delete(ctx, dataFile)) }, false, []string{"missing_file DATA 8: "}},
		{"a data file is cut off", func(t *testing.T, s *objstore.Memory) {
			change(dataFile, func(d []byte) []byte { return d[:len(d)-9] })(t, s)
		}, false, []string{"damaged_file DATA 8: ", "wrong_size DATA 8: "}},
		{"a page is damaged", func(t *testing.T, s *objstore.Memory) {
			change(dataFile, func(d []byte) []byte { copy(d[200:], make([]byte, 400)); return d })(t, s)
		}, true, []string{"damaged_file DATA 8: "}},
		{"a vector is gone", func(t *testing.T, s *objstore.Memory) { require.NoError(t, s.Delete(ctx, vectorFile)) }, false, []string{"missing_file VECTOR 8: "}},
		{"a vector is damaged", func(t *testing.T, s *objstore.Memory) {
			change(vectorFile, func(d []byte) []byte { d[len(d)/2] ^= 1; return d })(t, s)
		}, false, []string{"damaged_vector "}},
		{"the number of rows is wrong", change(log(commitName(6)), text(`numRecords\":3000`, `numRecords\":2999`)), false, []string{"wrong_statistics "}},
		{"a bound is wrong", change(log(commitName(6)), text(`minValues\":{\"id\":60000`, `minValues\":{\"id\":60001`)), true, []string{"wrong_statistics "}},
		{"a null count is wrong", change(log(commitName(6)), text(`\"t\":3000`, `\"t\":0`)), true, []string{"wrong_statistics "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			store, loc, _ := checkedTable(t)
			dataFile, vectorFile = file(store, ".parquet"), file(store, ".bin")
			c.spoil(t, store)
			_, faults := faultsOf(t, loc, CheckOptions{Rows: c.rows})
			slices.Sort(faults)
			require.Len(t, faults, len(c.want), "%v", faults)
			for i, want := range c.want {
				want = strings.NewReplacer("DATA", dataFile, "VECTOR", vectorFile).Replace(want)
				require.True(t, strings.HasPrefix(faults[i], want), "%s\nis not\n%s", faults[i], want)
			}
		})
	}

	// Who listens can end it; a store that does not answer is no damage.
	store, loc, _ := checkedTable(t)
	require.NoError(t, store.Delete(ctx, log(commitName(3))))
	enough := errors.New("enough")
	_, err := Check(ctx, loc, CheckOptions{}, func(Fault) error { return enough })
	require.ErrorIs(t, err, enough)
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = Check(canceled, Location{Data: &hooked{Store: must(objstore.NewLocal(t.TempDir()))}}, CheckOptions{}, nil)
	require.Error(t, err)
}
