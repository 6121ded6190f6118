// Package objstoretest is the conformance suite for implementations of
// objstore.Store: what the contract says, as tests.
package objstoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// Run holds a store to its contract. open gives a new, empty store for each
// part of the suite, and cleans up by t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) objstore.Store) {
	parts := []struct {
		name string
		test func(*testing.T, objstore.Store)
	}{
		{"ReadBack", testReadBack},
		{"NotFound", testNotFound},
		{"PutIfAbsentKeepsTheFirst", testPutIfAbsent},
		{"PutReplaces", testPut},
		{"OwnBytes", testOwnBytes},
		{"OneOfSixteenWins", testRace},
		{"CreateIsInvisibleUntilClosed", testCreate},
		{"Abort", testAbort},
		{"WriterAfterItsEnd", testWriterEnd},
		{"CreateReplaces", testCreateReplaces},
		{"ReadAt", testReadAt},
		{"BigObject", testBig},
		{"NoPartialObjects", testNoPartial},
		{"ListOrder", testListOrder},
		{"ListPrefixAndAfter", testListFilters},
		{"ListStops", testListStops},
		{"ListWhileDeleting", testListDelete},
		{"Delete", testDelete},
		{"PathsRefused", testPathsRefused},
		{"PathsAccepted", testPathsAccepted},
		{"CancelledContext", testCancelled},
		{"CancelledWriter", testCancelledWriter},
	}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) { p.test(t, open(t)) })
	}
}

func put(t *testing.T, s objstore.Store, path, data string) {
	t.Helper()
	require.NoError(t, s.PutIfAbsent(t.Context(), path, []byte(data)))
}

func requireHolds(t *testing.T, s objstore.Store, path, data string) {
	t.Helper()
	got, err := s.Get(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, data, string(got))
}

func requireAbsent(t *testing.T, s objstore.Store, path string) {
	t.Helper()
	_, err := s.Get(t.Context(), path)
	require.ErrorIs(t, err, objstore.ErrNotFound)
	require.NotContains(t, list(t, s, "", ""), path)
}

func list(t *testing.T, s objstore.Store, prefix, after string) []string {
	t.Helper()
	paths := []string{}
	for info, err := range s.List(t.Context(), prefix, after) {
		require.NoError(t, err)
		paths = append(paths, info.Path)
	}
	return paths
}

// write streams an object in pieces.
func write(ctx context.Context, s objstore.Store, path string, pieces ...[]byte) error {
	w, err := s.Create(ctx, path)
	if err != nil {
		return err
	}
	defer w.Abort()
	for _, p := range pieces {
		n, err := w.Write(p)
		if err != nil {
			return err
		}
		if n != len(p) {
			return fmt.Errorf("a write took %d of %d bytes and gave no error", n, len(p))
		}
	}
	return w.Close()
}

func testReadBack(t *testing.T, s objstore.Store) {
	for path, data := range map[string]string{"a": "1", "f/g/h.json": "{}\n", "empty": "", "f/bin": "\x00\xff\r\n"} {
		put(t, s, path, data)
		requireHolds(t, s, path, data)
		info, err := s.Stat(t.Context(), path)
		require.NoError(t, err)
		require.Equal(t, path, info.Path)
		require.EqualValues(t, len(data), info.Size)
		require.False(t, info.Modified.IsZero())
	}
	require.NotEmpty(t, s.URL())
}

func testNotFound(t *testing.T, s objstore.Store) {
	put(t, s, "folder/object", "x")
	for _, path := range []string{"none", "folder", "folder/none", "folder/object/below", "no/such/folder"} {
		_, err := s.Get(t.Context(), path)
		require.ErrorIs(t, err, objstore.ErrNotFound, path)
		_, err = s.Stat(t.Context(), path)
		require.ErrorIs(t, err, objstore.ErrNotFound, path)
		r, err := s.Open(t.Context(), path)
		require.ErrorIs(t, err, objstore.ErrNotFound, path)
		require.Nil(t, r, path)
	}
}

func testPutIfAbsent(t *testing.T, s objstore.Store) {
	put(t, s, "log/0.json", "first")
	err := s.PutIfAbsent(t.Context(), "log/0.json", []byte("second"))
	require.ErrorIs(t, err, objstore.ErrExists)
	require.NotErrorIs(t, err, objstore.ErrUnknownOutcome)
	requireHolds(t, s, "log/0.json", "first")
	require.Equal(t, []string{"log/0.json"}, list(t, s, "", ""))
}

func testPut(t *testing.T, s objstore.Store) {
	for _, data := range []string{"first, and long", "second", ""} {
		require.NoError(t, s.Put(t.Context(), "log/_last", []byte(data)))
		requireHolds(t, s, "log/_last", data)
	}
	require.ErrorIs(t, s.PutIfAbsent(t.Context(), "log/_last", nil), objstore.ErrExists)
}

// testOwnBytes: the caller's slice and the store's bytes are not the same.
func testOwnBytes(t *testing.T, s objstore.Store) {
	data := []byte("abc")
	require.NoError(t, s.PutIfAbsent(t.Context(), "x", data))
	data[0] = 'X'
	requireHolds(t, s, "x", "abc")
	got, err := s.Get(t.Context(), "x")
	require.NoError(t, err)
	got[0] = 'X'
	requireHolds(t, s, "x", "abc")
}

func testDelete(t *testing.T, s objstore.Store) {
	put(t, s, "f/a", "1")
	put(t, s, "f/b", "2")
	require.NoError(t, s.Delete(t.Context(), "f/a"))
	requireAbsent(t, s, "f/a")
	requireHolds(t, s, "f/b", "2")
	require.NoError(t, s.Delete(t.Context(), "f/a"), "a second time")
	require.NoError(t, s.Delete(t.Context(), "f/none"))
	require.NoError(t, s.Delete(t.Context(), "no/such/folder"))
	require.NoError(t, s.Delete(t.Context(), "f"), "a folder is no object")
	requireHolds(t, s, "f/b", "2")
	put(t, s, "f/a", "again")
	requireHolds(t, s, "f/a", "again")
}

var badPaths = []string{
	"", "/", "/a", "a/", "a//b", ".", "..", "./a", "a/.", "../a", "a/../b", "a/..", "a/./b",
	"a\x00b", "a\xffb", objstore.TempPrefix + "0", "a/" + objstore.TempPrefix + "0",
}

func testPathsRefused(t *testing.T, s objstore.Store) {
	put(t, s, "b", "x")
	ctx := t.Context()
	for _, path := range badPaths {
		var errs []error
		_, err := s.Get(ctx, path)
		errs = append(errs, err)
		_, err = s.Open(ctx, path)
		errs = append(errs, err)
		_, err = s.Stat(ctx, path)
		errs = append(errs, err, s.PutIfAbsent(ctx, path, nil), s.Put(ctx, path, nil), s.Delete(ctx, path))
		_, err = s.Create(ctx, path)
		errs = append(errs, err)
		for i, err := range errs {
			var pe *objstore.PathError
			require.ErrorAs(t, err, &pe, "call %d of %q", i, path)
			require.Equal(t, path, pe.Path)
		}
	}
	for _, prefix := range []string{"/", "/a", "a//", "../", "a/../b", "a\x00"} {
		var errs []error
		for _, err := range s.List(ctx, prefix, "") {
			errs = append(errs, err)
		}
		require.Len(t, errs, 1, prefix)
		var pe *objstore.PathError
		require.ErrorAs(t, errs[0], &pe, prefix)
	}
	require.Equal(t, []string{"b"}, list(t, s, "", ""))
}

func testPathsAccepted(t *testing.T, s objstore.Store) {
	paths := []string{
		"_delta_log/00000000000000000000.json", "a b/c+d", "date=2024-01-01/part-0.parquet", "..a", "a..", "...",
		"x/.hidden", "ü/日本", "100%25", "it's", `back\slash`, "q?x#y", "a:b", "~", "-", "tab\there",
	}
	for _, path := range paths {
		put(t, s, path, path)
	}
	for _, path := range paths {
		requireHolds(t, s, path, path)
	}
	slices.Sort(paths)
	require.Equal(t, paths, list(t, s, "", ""))
}

func testCancelled(t *testing.T, s objstore.Store) {
	put(t, s, "a", "1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Get(ctx, "a")
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.Open(ctx, "a")
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.Stat(ctx, "a")
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, s.PutIfAbsent(ctx, "b", nil), context.Canceled)
	require.ErrorIs(t, s.Put(ctx, "b", nil), context.Canceled)
	require.ErrorIs(t, s.Delete(ctx, "a"), context.Canceled)
	require.ErrorIs(t, write(ctx, s, "b", []byte("x")), context.Canceled)
	var last error
	for _, err := range s.List(ctx, "", "") {
		last = err
	}
	require.ErrorIs(t, last, context.Canceled)
	require.Equal(t, []string{"a"}, list(t, s, "", ""))
}

// testCancelledWriter: a writer whose context ends publishes nothing.
func testCancelledWriter(t *testing.T, s objstore.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	w, err := s.Create(ctx, "f/x")
	require.NoError(t, err)
	_, err = w.Write(bytes.Repeat([]byte("x"), 1000))
	require.NoError(t, err)
	cancel()
	_, werr := w.Write([]byte("more"))
	cerr := w.Close()
	require.Error(t, cerr)
	require.True(t, errors.Is(werr, context.Canceled) || errors.Is(cerr, context.Canceled))
	requireAbsent(t, s, "f/x")
}
