package objstoretest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// listed sorts differently by folder and by full path, in several ways.
var listed = []string{
	"a-b", "a.b", "a.b/", "a/b", "a/b/", "a/c.d", "a/c/", "a0", "ab", "b/", "_x/1", "_x/10", "_x/2", "_x.json",
	"Z", "z", "é", "a/\x01", "d/e/f/g/h", "d/e/f.g", "d/e-f", "d/e0", "d!", "..x/y", "..x.y",
}

// fill makes objects of the names above: those with a slash at the end stand
// for folders, which get one object.
func fill(t *testing.T, s objstore.Store) []string {
	var paths []string
	isFolder := map[string]bool{}
	for _, p := range listed {
		if f, ok := strings.CutSuffix(p, "/"); ok {
			isFolder[f] = true
		}
	}
	for _, p := range listed {
		if isFolder[p] {
			continue // a local store cannot hold both
		}
		if strings.HasSuffix(p, "/") {
			p += "x"
		}
		paths = append(paths, p)
	}
	for _, p := range paths {
		put(t, s, p, p)
	}
	slices.Sort(paths)
	return paths
}

func testListOrder(t *testing.T, s objstore.Store) {
	require.Empty(t, list(t, s, "", ""), "a new store")
	paths := fill(t, s)
	require.Equal(t, paths, list(t, s, "", ""))
	for info, err := range s.List(t.Context(), "", "") {
		require.NoError(t, err)
		require.EqualValues(t, len(info.Path), info.Size)
		require.False(t, info.Modified.IsZero())
	}
}

// testListFilters tries every prefix and every place to go on from, against
// the plain definition of both.
func testListFilters(t *testing.T, s objstore.Store) {
	paths := fill(t, s)
	prefixes := map[string]bool{"none/": true, "zz": true}
	for _, p := range paths {
		for i := range len(p) + 1 {
			if objstore.CheckPrefix("", p[:i]) == nil {
				prefixes[p[:i]] = true
			}
		}
	}
	afters := []string{"", "\x00", "a/", "a/b/x0", "a/b0", "zzz", "/"}
	for _, p := range paths {
		afters = append(afters, p, p+"!", p[:len(p)-1])
	}
	if testing.Short() {
		afters = afters[:len(afters)/4]
	}
	for prefix := range prefixes {
		for _, after := range afters {
			want := []string{}
			for _, p := range paths {
				if strings.HasPrefix(p, prefix) && p > after {
					want = append(want, p)
				}
			}
			require.Equal(t, want, list(t, s, prefix, after), "prefix %q after %q", prefix, after)
		}
	}
}

func testListStops(t *testing.T, s objstore.Store) {
	paths := fill(t, s)
	seq := s.List(t.Context(), "", "")
	for range 2 { // a sequence can be gone through again
		var got []string
		for info, err := range seq {
			require.NoError(t, err)
			if got = append(got, info.Path); len(got) == 3 {
				break
			}
		}
		require.Equal(t, paths[:3], got)
	}
}

// testListDelete: what vacuum does, removing while it lists.
func testListDelete(t *testing.T, s objstore.Store) {
	for i := range 50 {
		put(t, s, fmt.Sprintf("f%d/%02d", i%3, i), "x")
	}
	seen := 0
	for info, err := range s.List(t.Context(), "", "") {
		require.NoError(t, err)
		require.NoError(t, s.Delete(t.Context(), info.Path))
		seen++
	}
	require.Equal(t, 50, seen)
	require.Empty(t, list(t, s, "", ""))
}
