package objstore_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/internal/crashpoint"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// files gives everything below a folder, temporary files too.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	require.NoError(t, fs.WalkDir(os.DirFS(dir), ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, p)
		}
		return err
	}))
	return names
}

func TestLocalFolderIsMadeByTheFirstWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b", "lake")
	l, err := objstore.NewLocal(dir)
	require.NoError(t, err)
	defer l.Close()
	_, err = l.Get(t.Context(), "x")
	require.ErrorIs(t, err, objstore.ErrNotFound)
	for _, err := range l.List(t.Context(), "", "") {
		require.NoError(t, err)
	}
	require.NoError(t, l.Delete(t.Context(), "x"))
	n, err := l.RemoveTemp(t.Context(), time.Now())
	require.NoError(t, err)
	require.Zero(t, n)
	require.NoDirExists(t, dir, "reading makes nothing")
	require.Error(t, l.PutIfAbsent(t.Context(), "../x", nil))
	require.NoDirExists(t, dir, "a refused path makes nothing")

	require.NoError(t, l.PutIfAbsent(t.Context(), "_delta_log/0.json", []byte("{}")))
	require.Equal(t, []string{"_delta_log/0.json"}, files(t, dir))
	require.Equal(t, dir, l.URL())

	other, err := objstore.NewLocal(dir)
	require.NoError(t, err)
	defer other.Close()
	require.ErrorIs(t, other.PutIfAbsent(t.Context(), "_delta_log/0.json", nil), objstore.ErrExists)

	file := filepath.Join(dir, "_delta_log", "0.json")
	_, err = objstore.NewLocal(file)
	require.Error(t, err, "a file is no folder")
}

func TestLocalLeavesNoTemporaryFiles(t *testing.T) {
	dir := t.TempDir()
	l, err := objstore.NewLocal(dir)
	require.NoError(t, err)
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	require.NoError(t, l.PutIfAbsent(ctx, "f/a", []byte("1")))
	require.Error(t, l.PutIfAbsent(ctx, "f/a", []byte("2")))
	require.NoError(t, l.Put(ctx, "f/a", []byte("3")))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "f/folder/x"), 0o777))
	for _, err := range []error{l.Put(ctx, "f/folder", nil), l.PutIfAbsent(ctx, "f/folder", nil), l.PutIfAbsent(ctx, "f/a/below", nil)} {
		require.Error(t, err)
		require.NotErrorIs(t, err, objstore.ErrExists, "no object is there: %v", err)
		require.NotEmpty(t, hint(err), "%v", err)
	}
	w, err := l.Create(ctx, "f/b")
	require.NoError(t, err)
	require.Len(t, files(t, dir), 2, "the temporary file is beside the object")
	cancel()
	require.Error(t, w.Close())
	w, err = l.Create(t.Context(), "f/c")
	require.NoError(t, err)
	w.Abort()
	require.Equal(t, []string{"f/a"}, files(t, dir))
}

func hint(err error) string {
	var e *objstore.Error
	if errors.As(err, &e) {
		return e.Hint()
	}
	return ""
}

func TestLocalSymbolicLinksStayInside(t *testing.T) {
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("s"), 0o666))
	dir := t.TempDir()
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "out")))
	require.NoError(t, os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "file")))
	require.NoError(t, os.Symlink("real", filepath.Join(dir, "in")))
	require.NoError(t, os.Symlink(".", filepath.Join(dir, "loop")))
	l, err := objstore.NewLocal(dir)
	require.NoError(t, err)
	defer l.Close()
	ctx := t.Context()

	_, err = l.Get(ctx, "out/secret")
	require.Error(t, err)
	require.Contains(t, hint(err), "leads out of the lake")
	_, err = l.Get(ctx, "file")
	require.Error(t, err)
	_, err = l.Stat(ctx, "file")
	require.Error(t, err)
	require.Error(t, l.Put(ctx, "out/x", []byte("x")))
	require.Error(t, l.PutIfAbsent(ctx, "out/new/x", []byte("x")))
	_, err = l.Create(ctx, "out/x")
	require.Error(t, err)
	require.Error(t, l.Delete(ctx, "out/secret"))
	require.Equal(t, []string{"secret"}, files(t, outside))
	require.NoError(t, l.Put(ctx, "file", []byte("mine")), "a link itself may be replaced")
	data, err := os.ReadFile(filepath.Join(outside, "secret"))
	require.NoError(t, err)
	require.Equal(t, "s", string(data))

	require.NoError(t, l.Put(ctx, "real/x", []byte("inside")))
	got, err := l.Get(ctx, "in/x")
	require.NoError(t, err)
	require.Equal(t, "inside", string(got))
	var paths []string
	for info, err := range l.List(ctx, "", "") {
		require.NoError(t, err)
		paths = append(paths, info.Path)
	}
	require.Equal(t, []string{"file", "real/x"}, paths, "links are left out, and loops are not followed")
}

// TestLocalSaysWhatToDo provokes the errors that an operator meets.
func TestLocalSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	l, err := objstore.NewLocal(dir)
	require.NoError(t, err)
	defer l.Close()
	err = l.Put(t.Context(), strings.Repeat("x", 300), nil)
	require.ErrorIs(t, err, syscall.ENAMETOOLONG)
	require.Contains(t, hint(err), "longer than")

	if os.Getuid() != 0 {
		require.NoError(t, os.Chmod(dir, 0o500))
		defer func() { _ = os.Chmod(dir, 0o700) }()
		err = l.Put(t.Context(), "x", nil)
		require.ErrorIs(t, err, fs.ErrPermission)
		require.Contains(t, hint(err), "the right to read and write")
	}
}

func stream(ctx context.Context, s objstore.Store, path string, data []byte) error {
	w, err := s.Create(ctx, path)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(data); err != nil {
		return err
	}
	return w.Close()
}

func TestLocalRemoveTemp(t *testing.T) {
	dir := t.TempDir()
	l, err := objstore.NewLocal(dir)
	require.NoError(t, err)
	defer l.Close()
	require.NoError(t, l.Put(t.Context(), "f/g/x", nil))
	old := time.Now().Add(-2 * time.Hour)
	for _, name := range []string{"f/g/x", "f/g/" + objstore.TempPrefix + "1", objstore.TempPrefix + "2", "f/" + objstore.TempPrefix + "young"} {
		file := filepath.Join(dir, name)
		if !strings.HasSuffix(name, "x") {
			require.NoError(t, os.WriteFile(file, nil, 0o666))
		}
		if !strings.HasSuffix(name, "young") {
			require.NoError(t, os.Chtimes(file, old, old))
		}
	}
	n, err := l.RemoveTemp(t.Context(), time.Now().Add(-time.Hour))
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Equal(t, []string{"f/" + objstore.TempPrefix + "young", "f/g/x"}, files(t, dir))
}

// TestLocalFolderRemovedMeanwhile: what is known of folders may be out of date.
func TestLocalFolderRemovedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	l, err := objstore.NewLocal(dir)
	require.NoError(t, err)
	defer l.Close()
	require.NoError(t, l.Put(t.Context(), "a/b/c/x", nil))
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "a")))
	require.NoError(t, l.Put(t.Context(), "a/b/c/x", nil))
	require.Equal(t, []string{"a/b/c/x"}, files(t, dir))

	var wg sync.WaitGroup
	for i := range 8 { // folders made by many at once
		wg.Go(func() {
			for j := range 20 {
				if err := l.Put(t.Context(), fmt.Sprintf("p/%d/q/%d", j, i), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Len(t, files(t, dir), 161)
}

const crashDirEnv = "OBJSTORE_TEST_CRASH_DIR"

// TestCrashChild is the process that TestLocalCrash kills.
func TestCrashChild(t *testing.T) {
	dir := os.Getenv(crashDirEnv)
	if dir == "" {
		t.Skip("it is run by TestLocalCrash")
	}
	require.NoError(t, crashpoint.FromEnv())
	l, err := objstore.NewLocal(dir)
	require.NoError(t, err)
	data := []byte(strings.Repeat("whole", 10_000))
	require.NoError(t, l.PutIfAbsent(t.Context(), "log/first", data))
	require.NoError(t, l.Put(t.Context(), "log/second", data))
	require.NoError(t, stream(t.Context(), l, "log/third", data))
}

// TestLocalCrash kills a writer at each point of each kind of write: every
// object is there whole or not at all, and what was written before is there.
func TestLocalCrash(t *testing.T) {
	names := []string{"first", "second", "third"}
	for _, p := range []crashpoint.Point{crashpoint.StoreTempWritten, crashpoint.StoreSynced, crashpoint.StoreLinked} {
		for nth := 1; nth <= 3; nth++ {
			dir := t.TempDir()
			cmd := exec.Command(os.Args[0], "-test.run=^TestCrashChild$")
			cmd.Env = append(os.Environ(), crashDirEnv+"="+dir, fmt.Sprintf("%s=%s:%d", crashpoint.EnvVar, p, nth))
			out, err := cmd.CombinedOutput()
			require.ErrorContains(t, err, "killed", "%s:%d: %s", p, nth, out)

			want := nth - 1
			if p == crashpoint.StoreLinked {
				want = nth
			}
			l, err := objstore.NewLocal(dir)
			require.NoError(t, err)
			var got []string
			for info, err := range l.List(t.Context(), "", "") {
				require.NoError(t, err)
				require.EqualValues(t, 50_000, info.Size, info.Path)
				got = append(got, strings.TrimPrefix(info.Path, "log/"))
			}
			require.Equal(t, names[:want], append([]string{}, got...), "%s:%d", p, nth)
			left, err := l.RemoveTemp(t.Context(), time.Now().Add(time.Minute))
			require.NoError(t, err)
			if p != crashpoint.StoreLinked {
				require.Equal(t, 1, left, "%s:%d", p, nth)
			}
			require.Len(t, files(t, dir), want)
			require.NoError(t, l.Close())
		}
	}
}
