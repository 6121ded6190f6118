package tablefmt

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lakeload/lakeload/tablefmt/dv"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

func TestAbsolutePaths(t *testing.T) {
	for in, want := range map[string]string{
		"/a/b": " | |/a/b", "file:/a%20b": "file| |/a b", "file:///a": "file| |/a", "file://localhost/a": "file| |/a", "FILE:/a": "file| |/a",
		"s3a://b-1.x/k%252F": "s3a|b-1.x|/k%2F", "s3://b/k k": "s3|b|/k k", "abfss://c@h.dfs.core.windows.net/x": "abfss|c@h.dfs.core.windows.net|/x",
		"//host/x": " |host|/x", "dbfs:/mnt/x": "dbfs| |/mnt/x",
	} {
		p, err := parsePath(in)
		require.NoError(t, err, in)
		require.Empty(t, p.inside, in)
		f := strings.Split(strings.ReplaceAll(want, " |", "|"), "|")
		require.Equal(t, &url.URL{Scheme: f[0], Host: f[1], Path: f[2]}, p.outside, in)
		_, err = decodePath(in)
		var outside *OutsideError
		require.ErrorAs(t, err, &outside)
		require.Equal(t, in, outside.Path)
	}
	for _, in := range []string{"", "/", "//", "///", "//h", "file:", "file:/", "file:a", "file:///a/../b", "file:/a//b", "s3://b", "s3://b/", "s3://b/%2e%2e/x", "/a%zz", "/a%00", "/%ff", "s3:/", "a:b"} {
		_, err := parsePath(in)
		require.Error(t, err, in)
	}
}

func TestCanonicalPaths(t *testing.T) {
	for want, same := range map[string][]string{
		"d=1/a.parquet": {"d%3D1/a.parquet", "%64=1/a%2eparquet"},
		"a%20b":         {"a b"},
		"%25":           {"%25"},
		"/a%20b":        {"file:/a b", "file:///a%20b", "FILE://localhost/a%20b"},
		"s3://b/k%23":   {"s3://b/k#", "S3://b/%6b%23"},
		"ü":             {"%C3%BC", "%c3%bc"},
		"%zz x":         {"%zz x"},
	} {
		require.Equal(t, want, canonicalPath(want))
		for _, p := range same {
			require.Equal(t, want, canonicalPath(p), p)
		}
	}
	for _, p := range []string{"s3://B/k", "s3a://b/k", "s3://b/K", "b/k", "/b/k", "//b/k"} {
		require.NotEqual(t, canonicalPath("s3://b/k"), canonicalPath(p))
	}
	// Two paths that can be read are one exactly if they name one file.
	piece := rapid.SampledFrom([]string{"a", "b", "%", "%25", "%2F", "%2f", "/", " ", "%20", "+", "%2B", "=", "%3D", ":", "%3A", "file:", "s3://", "//", "ü", "%C3%BC", "#", "%61"})
	draw := rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(piece, 1, 5).Draw(t, "pieces"), "") })
	name := func(p filePath) string {
		if p.outside == nil {
			return "in " + p.inside
		}
		if p.outside.Scheme == "" && p.outside.Host == "" {
			return "out file|" + "|" + p.outside.Path
		}
		return "out " + p.outside.Scheme + "|" + p.outside.Host + "|" + p.outside.Path
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw.Draw(t, "a"), draw.Draw(t, "b")

		pa, erra := parsePath(a)
		pb, errb := parsePath(b)
		if erra == nil {
			again, err := parsePath(canonicalPath(a))
			require.Equal(t, canonicalPath(a), canonicalPath(canonicalPath(a)))
			require.NoError(t, err)
			require.Equal(t, name(pa), name(again))
		}
		if erra == nil && errb == nil {
			require.Equal(t, name(pa) == name(pb), canonicalPath(a) == canonicalPath(b), "%q %q", a, b)
		}
	})
	allocs := testing.AllocsPerRun(100, func() { canonicalPath("ts=2021-09-08%2011%253A11%253A11.0/part-00000-4f2.c000.snappy.parquet") })
	require.Zero(t, allocs, "the paths that Spark writes")
}

// TestLocalOutside allows what lies in folders that are named, and nothing else.
func TestLocalOutside(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"src/a b", "other/x", "srcx/x"} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600))
	}
	require.NoError(t, os.Symlink(filepath.Join(dir, "other/x"), filepath.Join(dir, "src/link")))
	outside, closeAll, err := LocalOutside(filepath.Join(dir, "nowhere"), filepath.Join(dir, "src"))
	require.NoError(t, err)
	defer func() { require.NoError(t, closeAll()) }()
	get := func(path string) (string, error) {
		store, at, err := Location{Data: objstore.NewMemory(), Outside: outside}.find(path)
		if err != nil {
			return "", err
		}
		data, err := store.Get(t.Context(), at)
		return string(data), err
	}
	for _, p := range []string{dir + "/src/a%20b", "file:" + dir + "/src/a b", "file://" + dir + "/src/a%20b"} {
		data, err := get(p)
		require.NoError(t, err)
		require.Equal(t, "src/a b", data)
	}
	var refused *OutsideError
	for _, p := range []string{dir + "/other/x", dir + "/srcx/x", "s3:/" + dir + "/src/a%20b", "//host" + dir + "/src/a%20b", "/etc/passwd", "/src/a%20b"} {
		_, err := get(p)
		require.ErrorAs(t, err, &refused, p)
		require.NotEmpty(t, refused.Why)
	}
	_, err = get(dir + "/src/../other/x")
	require.ErrorContains(t, err, "names no file")
	_, err = get(dir + "/src/link")
	require.Error(t, err, "a link that leads out")
	_, err = get(dir + "/src/gone")
	require.ErrorIs(t, err, objstore.ErrNotFound)
}

// TestAbsolutePathsIntoTheTable need no leave: they stay in its folder.
func TestAbsolutePathsIntoTheTable(t *testing.T) {
	store, err := objstore.NewLocal(t.TempDir())
	require.NoError(t, err)
	defer store.Close()
	for path, want := range map[string]string{store.URL() + "/a%20b": "a b", "file://" + store.URL() + "/x/y": "x/y", store.URL() + "x": "", "s3:/" + store.URL() + "/x": "", store.URL(): ""} {
		_, at, err := Location{Data: store}.find(path)
		require.Equal(t, want, at)
		require.Equal(t, want == "", err != nil)
	}
	for path, want := range map[string]string{"s3://bucket/pre/t/x%20": "x ", "s3a://bucket/pre/t/x": "x", "s3://bucket/pre/tx": "", "s3://bucket2/pre/t/x": "", "/pre/t/x": ""} {
		_, at, err := Location{Data: named{objstore.NewMemory(), "s3://bucket/pre/t"}}.find(path)
		require.Equal(t, want, at)
		require.Equal(t, want == "", err != nil)
	}
}

// named is a store with another name.
type named struct {
	objstore.Store
	url string
}

func (n named) URL() string { return n.url }

// cloned is a table whose log names another one's files by absolute paths, as a
// shallow clone's does.
func cloned(t *testing.T) (clone Location, source *objstore.Memory) {
	ctx := context.Background()
	source = objstore.NewMemory()
	s := create(t, Location{Data: source}, idSchema)
	tx := Begin(s.Location(), s)
	a, b := writeIDs(t, s, 1, 2, 3), writeIDs(t, s, 4, 5)
	vectors, err := WriteDeletionVectors(ctx, s.Location(), []*dv.Bitmap{manyRows()})
	require.NoError(t, err)
	d := vectors[0]
	require.Equal(t, dv.Relative, d.StorageType)
	path, _, err := d.Path()
	require.NoError(t, err)
	d.StorageType, d.PathOrInlineDV = dv.Stored, "mem://src/"+path
	b = must(b.WithVector(d))
	a.Path, b.Path = "mem://src/"+a.Path, "mem://src/"+b.Path
	tx.Add(a)
	log := objstore.NewMemory()
	clone = Location{Data: log, Outside: func(u *url.URL) (objstore.Store, string, error) {
		if u.Scheme != "mem" || u.Host != "src" {
			return nil, "", &OutsideError{Path: u.String(), Why: "it is not of the source"}
		}
		return source, strings.TrimPrefix(u.Path, "/"), nil
	}}
	c := create(t, clone, idSchema)
	body := must(encodeActions([]Action{{CommitInfo: &CommitInfo{Operation: "CLONE"}}, {Add: &a}, {Add: &b}}))
	require.NoError(t, clone.log().Put(ctx, commitName(c.Version()+1), body))
	return clone, source
}

// manyRows is a vector that is too large to stand in the log, which deletes row 1.
func manyRows() *dv.Bitmap {
	b := dv.New(1)
	for i := range uint64(3000) {
		b.Add(10 + i*i)
	}
	return b
}

func TestClonedTable(t *testing.T) {
	ctx := context.Background()
	loc, source := cloned(t)
	before := listing(t, source)
	s := must(Load(ctx, loc))
	require.Equal(t, []string{`id="1"`, `id="2"`, `id="3"`, `id="4"`}, allRows(t, s))

	shut := loc
	shut.Outside = nil
	closed := must(Load(ctx, shut))
	var refused *OutsideError
	require.ErrorAs(t, closed.Scan(ctx, ScanOptions{}, func(arrow.RecordBatch) error { return nil }), &refused)
	require.True(t, strings.HasPrefix(refused.Path, "mem://src/"))
	for a := range closed.Files() {
		_, err := closed.DeletionVector(ctx, a)
		if a.DeletionVector != nil {
			require.ErrorAs(t, err, &refused)
		}
	}
	report, faults := faultsOf(t, shut, CheckOptions{})
	require.Empty(t, faults)
	require.Equal(t, 2, report.Outside)

	// Its files leave and come back, with vectors of the table's own; new ones outside are refused.
	tx := Begin(loc, s)
	for a := range s.Files() {
		tx.Remove(*a.Remove(time.Now().UnixMilli(), true))
		if a.DeletionVector == nil {
			tx.Add(must(a.WithVector(dv.Inline(dv.New(0)))))
		}
	}
	s2 := must(tx.Commit(ctx))
	require.Equal(t, []string{`id="2"`, `id="3"`}, allRows(t, s2))
	require.NoError(t, Checkpoint(ctx, s2))
	require.Equal(t, allRows(t, s2), allRows(t, must(Load(ctx, loc))))
	tx = Begin(loc, s2)
	tx.Add(fakeAdd("mem://src/another", 1))
	_, err := tx.Commit(ctx)
	require.ErrorIs(t, err, ErrInvalid)
	_, _, err = Restore(ctx, must(LoadAt(ctx, shut, 1)), RestoreOptions{})
	require.ErrorAs(t, err, &refused, "whether they are there cannot be found out")
	s3, _, err := Restore(ctx, must(LoadAt(ctx, loc, 1)), RestoreOptions{})
	require.NoError(t, err)
	require.Equal(t, allRows(t, s), allRows(t, s3))
	require.NoError(t, s3.cleanFiles(ctx, parseLogName(commitName(2))))
	tx = Begin(loc, s3)
	for a := range s3.Files() {
		tx.Remove(*a.Remove(time.Now().UnixMilli(), true))
	}
	s4 := must(tx.Commit(ctx))
	require.NoError(t, s4.cleanFiles(ctx, parseLogName(commitName(4))))
	require.Equal(t, before, listing(t, source), "the source is as it was")

	// What the source's vacuum has taken is missed by name.
	gone := ""
	for a := range s.Files() {
		gone = a.Path
		require.NoError(t, source.Delete(ctx, strings.TrimPrefix(a.Path, "mem://src/")))
	}
	err = s.Scan(ctx, ScanOptions{}, func(arrow.RecordBatch) error { return nil })
	require.ErrorIs(t, err, ErrCorrupt)
	_, _, err = Restore(ctx, s, RestoreOptions{})
	var missing *MissingFilesError
	require.ErrorAs(t, err, &missing)
	require.Len(t, missing.Paths, 2)
	require.NotEmpty(t, gone)
}

func listing(t *testing.T, store objstore.Store) (out []string) {
	t.Helper()
	for info, err := range store.List(context.Background(), "", "") {
		require.NoError(t, err)
		out = append(out, info.Path)
	}
	return out
}
