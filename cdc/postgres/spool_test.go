package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func newTestStore(t testing.TB, limit int64) *spoolStore {
	s, err := newSpoolStore(filepath.Join(t.TempDir(), "spool"), limit, &spoolCounters{})
	require.NoError(t, err)
	t.Cleanup(s.close)
	return s
}

// spoolKinds are the implementations that have to keep the contract of spool.
// Their pages are small, so that messages lie on several.
var spoolKinds = map[string]func(t testing.TB) (spool, *spoolStore){
	"memory": func(t testing.TB) (spool, *spoolStore) {
		st := newTestStore(t, 0)
		return &memorySpool{counts: st.counts}, st
	},
	"file": func(t testing.TB) (spool, *spoolStore) {
		st := newTestStore(t, 0)
		st.page = 64
		f, err := st.create()
		require.NoError(t, err)
		return f, st
	},
	"transaction": func(t testing.TB) (spool, *spoolStore) {
		st := newTestStore(t, 0)
		return st.begin(), st
	},
	"transaction under pressure": func(t testing.TB) (spool, *spoolStore) {
		st := newTestStore(t, 0)
		st.page, st.most = 100, 150
		return st.begin(), st
	},
}

// frame is a message of the model.
type frame struct {
	xid  uint32
	kind byte
	body []byte
}

// TestSpool holds every implementation to the contract, against a list.
func TestSpool(t *testing.T) {
	for name, make := range spoolKinds {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				s, st := make(t)
				var model []frame
				aborted := map[uint32]bool{}
				var total int64
				for range rapid.IntRange(0, 60).Draw(r, "steps") {
					xid := rapid.Uint32Range(1, 6).Draw(r, "xid")
					if aborted[xid] {
						continue // an aborted subtransaction adds nothing
					}
					if rapid.IntRange(0, 5).Draw(r, "what") == 0 {
						require.NoError(r, s.abort(xid))
						aborted[xid] = true
						kept := model[:0]
						for _, f := range model {
							if f.xid != xid {
								kept = append(kept, f)
							}
						}
						model = kept
						continue
					}
					f := frame{xid, rapid.Byte().Draw(r, "kind"), rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(r, "body")}
					own := bytes.Clone(f.body)
					require.NoError(r, s.add(xid, f.kind, own))
					clear(own) // which it must not keep
					total += int64(frameHeader + len(f.body))
					model = append(model, f)
				}
				for i, want := range model {
					kind, body, err := s.next()
					require.NoError(r, err, "message %d of %d", i, len(model))
					require.Equal(r, want.kind, kind)
					require.Equal(r, string(want.body), string(body), "message %d of %d", i, len(model))
				}
				for range 2 {
					_, _, err := s.next()
					require.ErrorIs(r, err, io.EOF)
				}
				require.Equal(r, total, st.counts.total.Load())
				var left int64
				for _, f := range model {
					left += int64(frameHeader + len(f.body))
				}
				require.GreaterOrEqual(r, s.length(), left)
				if _, ok := s.(*txnSpool); ok {
					require.Equal(r, s.length(), st.counts.held.Load())
				}
				require.Equal(r, total-left, st.counts.aborted.Load())
				s.close()
				require.Zero(r, st.counts.held.Load())
				require.Zero(r, st.counts.disk.Load())
				require.Zero(r, st.counts.files.Load())
				require.Zero(r, st.memory)
				st.close()
			})
		})
	}
}

// TestSpoolOfLargeMessages: what is larger than any page, and than the part
// that is kept in memory.
func TestSpoolOfLargeMessages(t *testing.T) {
	st := newTestStore(t, 0)
	s := st.begin()
	sizes := []int{0, 100, spoolMemory, 3*spoolPage + 17, 5 << 20, 0, 1}
	for i, n := range sizes {
		require.NoError(t, s.add(uint32(i), 'I', bytes.Repeat([]byte{byte(i)}, n)))
	}
	require.NoError(t, s.abort(3))
	require.LessOrEqual(t, s.buffered(), int64(2*spoolPage), "it does not gather a message as a whole")
	for i, n := range sizes {
		if i == 3 {
			continue
		}
		_, body, err := s.next()
		require.NoError(t, err)
		require.Len(t, body, n)
		require.Equal(t, n, bytes.Count(body, []byte{byte(i)}))
	}
	s.close()
	require.Zero(t, st.memory)
}

// TestEdge27AbortedSavepointsTakeNoRoom: a hundred thousand savepoints that
// are rolled back one after the other cost next to nothing, in memory and on
// disk, and what stood before and after them stays.
func TestEdge27AbortedSavepointsTakeNoRoom(t *testing.T) {
	st := newTestStore(t, 0)
	s := st.begin()
	row := bytes.Repeat([]byte("row "), 50)
	for range 2000 { // enough to be on disk
		require.NoError(t, s.add(1, 'I', row))
	}
	disk := st.counts.disk.Load()
	require.Positive(t, disk)
	for i := range uint32(100_000) {
		require.NoError(t, s.add(100+i, 'I', row))
		require.NoError(t, s.abort(100+i))
	}
	require.NoError(t, s.add(1, 'I', []byte("last")))
	require.LessOrEqual(t, s.length(), int64(2001*(frameHeader+len(row))))
	require.LessOrEqual(t, st.counts.disk.Load(), disk+spoolPage)
	n := 0
	var body []byte
	for ; ; n++ {
		_, b, err := s.next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		body = append(body[:0], b...)
	}
	require.Equal(t, 2001, n)
	require.Equal(t, "last", string(body))
	require.EqualValues(t, 100_000*(frameHeader+len(row)), st.counts.aborted.Load())
}

// TestSpoolHidesValues: nothing of what is kept can be read in the file, and
// the file's name is gone where the system allows that.
func TestSpoolHidesValues(t *testing.T) {
	st := newTestStore(t, 0)
	f, err := st.create()
	require.NoError(t, err)
	secret := []byte("4111 1111 1111 1111")
	for i := range 40_000 {
		require.NoError(t, f.put(1, 'I', fmt.Appendf(nil, "%s %d", secret, i)))
	}
	require.NoError(t, f.flush())
	data, err := io.ReadAll(io.NewSectionReader(f.file, 0, f.end))
	require.NoError(t, err)
	require.Greater(t, len(data), 10_000)
	require.False(t, bytes.Contains(data, secret))
	require.False(t, bytes.Contains(data, []byte{0x28, 0xb5, 0x2f, 0xfd}), "a zstd frame in clear")
	if runtime.GOOS != "windows" {
		require.Empty(t, spoolFiles(t, st.dir))
	}
	info, err := os.Stat(st.dir)
	require.NoError(t, err)
	require.Zero(t, info.Mode().Perm()&0o077, "others can look into the folder")
}

func spoolFiles(t testing.TB, dir string) (names []string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestSpoolSweeps: what an earlier process has left is removed, and nothing
// else is.
func TestSpoolSweeps(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{spoolPrefix + "123", "precious"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600))
	}
	st, err := newSpoolStore(dir, 0, &spoolCounters{})
	require.NoError(t, err)
	st.close()
	require.Equal(t, []string{"precious"}, spoolFiles(t, dir))
}

// TestSpoolDamage: no byte of a file can be altered, and no page put in
// another's place, without an error when it is read.
func TestSpoolDamage(t *testing.T) {
	fill := func(t testing.TB) *fileSpool {
		st := newTestStore(t, 0)
		st.page = 200
		f, err := st.create()
		require.NoError(t, err)
		for i := range 60 {
			require.NoError(t, f.add(1, 'I', fmt.Appendf(nil, "message %d", i)))
		}
		require.NoError(t, f.flush())
		require.Greater(t, len(f.pages), 4)
		return f
	}
	read := func(f *fileSpool) (n int, err error) {
		for ; ; n++ {
			if _, _, err = f.next(); err != nil {
				return n, err
			}
		}
	}
	f := fill(t)
	n, err := read(f)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 60, n)
	for at := int64(0); at < f.end; at += 7 {
		f := fill(t)
		var b [1]byte
		_, err := f.file.ReadAt(b[:], at)
		require.NoError(t, err)
		b[0] ^= 0x40
		_, err = f.file.WriteAt(b[:], at)
		require.NoError(t, err)
		_, err = read(f)
		require.ErrorIs(t, err, errSpoolDamaged, "byte %d", at)
	}
	st := newTestStore(t, 0)
	st.page = 2 * 100
	f, err = st.create() // whose pages hold whole messages
	require.NoError(t, err)
	for i := range byte(10) {
		require.NoError(t, f.add(1, 'I', bytes.Repeat([]byte{i}, 100-frameHeader)))
	}
	f.pages[1], f.pages[2] = f.pages[2], f.pages[1]
	_, err = read(f)
	require.ErrorIs(t, err, errSpoolDamaged, "pages in another's place")
	for i := range f.pages { // the file ends too early
		f := fill(t)
		require.NoError(t, f.file.Truncate(f.pages[i].offset+int64(i%3)))
		_, err = read(f)
		require.ErrorIs(t, err, errSpoolDamaged, "page %d", i)
		require.NotErrorIs(t, err, io.EOF, "it must not look like the end of the spool")
	}
}

// TestSpoolLimit: all spools together keep to the limit, and one that does
// not says so and what to do.
func TestSpoolLimit(t *testing.T) {
	st := newTestStore(t, 40<<10)
	st.page = 1 << 10
	a, b := st.begin(), st.begin()
	var err error
	for i := 0; err == nil; i++ {
		require.LessOrEqual(t, st.counts.disk.Load(), int64(40<<10))
		require.Less(t, i, 100_000)
		noise := make([]byte, 700)
		for j := range noise {
			noise[j] = byte(uint32(i*31+j) * 2654435761 >> 13)
		}
		if err = a.add(1, 'I', noise); err == nil {
			err = b.add(2, 'I', noise)
		}
	}
	require.ErrorIs(t, err, errSpoolCap)
	var full *spoolError
	require.ErrorAs(t, err, &full)
	require.Contains(t, failed("x", "y", full.explain()).(interface{ Hint() string }).Hint(), "raise the limit")
	a.close()
	b.close()
	require.Zero(t, st.counts.disk.Load())
	c := st.begin()
	require.NoError(t, c.add(3, 'I', bytes.Repeat([]byte("x"), spoolMemory+1)), "there is room again")
}

// TestSpoolDiskFails: what the file system says comes through, and no nonce is
// used for another page after one that was not written whole.
func TestSpoolDiskFails(t *testing.T) {
	st := newTestStore(t, 0)
	f, err := st.create()
	require.NoError(t, err)
	require.NoError(t, f.put(1, 'I', []byte("row")))
	require.NoError(t, f.file.Close())
	err = f.flush()
	require.ErrorIs(t, err, os.ErrClosed)
	var broken *spoolError
	require.ErrorAs(t, err, &broken)
	require.EqualValues(t, 1, st.sealed)
	hint := broken.explain().(interface{ Hint() string }).Hint()
	require.Contains(t, hint, st.dir)
	require.Contains(t, hint, "make room")
}

// TestSpoolMemoryOfAll: many transactions in progress do not hold much memory
// between them.
func TestSpoolMemoryOfAll(t *testing.T) {
	st := newTestStore(t, 0)
	st.most = 1 << 20
	row := []byte(strings.Repeat("r", 1000))
	spools := make([]spool, 200)
	for i := range spools {
		spools[i] = st.begin()
	}
	for n := range 100 {
		for i, s := range spools {
			require.NoError(t, s.add(uint32(i), 'I', row))
		}
		require.LessOrEqual(t, st.memory, st.most+spoolPage, "after %d rounds", n)
	}
	for _, s := range spools {
		for range 100 {
			_, body, err := s.next()
			require.NoError(t, err)
			require.Equal(t, row, body)
		}
		s.close()
	}
	require.Zero(t, st.memory)
}

// TestXIDSet against a map.
func TestXIDSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s xidSet
		require.False(t, s.has(7))
		model := map[uint32]bool{}
		id := rapid.OneOf(rapid.Uint32Range(4000, 4200), rapid.Uint32())
		for range rapid.IntRange(0, 50).Draw(t, "n") {
			x := id.Draw(t, "add")
			s.add(x)
			model[x] = true
			y := id.Draw(t, "ask")
			require.Equal(t, model[y], s.has(y))
		}
		for x := range model {
			require.True(t, s.has(x))
		}
	})
}
