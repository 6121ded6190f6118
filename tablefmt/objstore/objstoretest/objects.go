package objstoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// testRace: of any number of concurrent PutIfAbsent exactly one wins, its
// bytes are those that stay, and all others are told so.
func testRace(t *testing.T, s objstore.Store) {
	const writers, rounds = 16, 20
	for round := range rounds {
		path := fmt.Sprintf("_delta_log/%020d.json", round)
		start := make(chan struct{})
		errs := make([]error, writers)
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				<-start
				errs[i] = s.PutIfAbsent(t.Context(), path, content(i))
			})
		}
		close(start)
		wg.Wait()
		winner := -1
		for i, err := range errs {
			if err == nil {
				require.Equal(t, -1, winner, "round %d: two winners", round)
				winner = i
				continue
			}
			require.ErrorIs(t, err, objstore.ErrExists)
		}
		require.NotEqual(t, -1, winner, "round %d: nobody won", round)
		got, err := s.Get(t.Context(), path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(content(winner), got), "round %d: not the winner's bytes", round)
	}
	require.Len(t, list(t, s, "", ""), rounds)
}

func content(i int) []byte { return bytes.Repeat([]byte{byte('a' + i)}, 1000+i) }

func testCreate(t *testing.T, s objstore.Store) {
	w, err := s.Create(t.Context(), "data/part-0.parquet")
	require.NoError(t, err)
	defer w.Abort()
	for range 3 {
		_, err = w.Write(bytes.Repeat([]byte("x"), 100_000))
		require.NoError(t, err)
		requireAbsent(t, s, "data/part-0.parquet")
	}
	require.NoError(t, w.Close())
	requireHolds(t, s, "data/part-0.parquet", strings.Repeat("x", 300_000))
	w.Abort() // after Close it does nothing
	requireHolds(t, s, "data/part-0.parquet", strings.Repeat("x", 300_000))

	require.NoError(t, write(t.Context(), s, "data/empty"))
	requireHolds(t, s, "data/empty", "")
}

func testAbort(t *testing.T, s objstore.Store) {
	put(t, s, "f/other", "1")
	w, err := s.Create(t.Context(), "f/x")
	require.NoError(t, err)
	_, err = w.Write([]byte("abc"))
	require.NoError(t, err)
	w.Abort()
	w.Abort()
	requireAbsent(t, s, "f/x")
	require.Equal(t, []string{"f/other"}, list(t, s, "", ""))
}

// testWriterEnd: a writer that has ended refuses, and does no harm.
func testWriterEnd(t *testing.T, s objstore.Store) {
	for name, end := range map[string]func(objstore.Writer){
		"closed":  func(w objstore.Writer) { require.NoError(t, w.Close()) },
		"aborted": objstore.Writer.Abort,
	} {
		w, err := s.Create(t.Context(), name)
		require.NoError(t, err)
		_, err = w.Write([]byte("abc"))
		require.NoError(t, err)
		end(w)
		_, err = w.Write([]byte("late"))
		require.Error(t, err, name)
		require.Error(t, w.Close(), name)
	}
	requireHolds(t, s, "closed", "abc")
	requireAbsent(t, s, "aborted")
}

func testCreateReplaces(t *testing.T, s objstore.Store) {
	require.NoError(t, write(t.Context(), s, "x", []byte("first, and long")))
	require.NoError(t, write(t.Context(), s, "x", []byte("second")))
	requireHolds(t, s, "x", "second")
}

func testReadAt(t *testing.T, s objstore.Store) {
	const data = "0123456789"
	put(t, s, "f/x", data)
	r, err := s.Open(t.Context(), "f/x")
	require.NoError(t, err)
	defer r.Close()
	require.EqualValues(t, len(data), r.Size())
	for off := range len(data) {
		for n := 1; off+n <= len(data); n++ {
			b := make([]byte, n)
			got, err := r.ReadAt(b, int64(off))
			if err != nil {
				require.ErrorIs(t, err, io.EOF) // allowed where it ends at the end
				require.Equal(t, len(data), off+n)
			}
			require.Equal(t, n, got)
			require.Equal(t, data[off:off+n], string(b))
		}
	}
	b := make([]byte, 8)
	n, err := r.ReadAt(b, 7)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, "789", string(b[:n]))
	n, err = r.ReadAt(b, int64(len(data)))
	require.ErrorIs(t, err, io.EOF)
	require.Zero(t, n)
	_, err = r.ReadAt(b, -1)
	require.Error(t, err)

	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			for off := range 2 * len(data) {
				b := make([]byte, 3)
				n, err := r.ReadAt(b, int64(off%8))
				if err != nil && !errors.Is(err, io.EOF) || string(b[:n]) != data[off%8:min(off%8+3, len(data))] {
					errs[i] = fmt.Errorf("at %d: %q, %w", off%8, b[:n], err)
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
}

func testBig(t *testing.T, s objstore.Store) {
	const size = 24 << 20 // more than one part of a multipart upload
	data := make([]byte, size)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(data) // never fails
	require.NoError(t, write(t.Context(), s, "big/stream", data[:1], data[1:7<<20], data[7<<20:]))
	require.NoError(t, s.Put(t.Context(), "big/whole", data))
	for _, path := range []string{"big/stream", "big/whole"} {
		got, err := s.Get(t.Context(), path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got), path)
		r, err := s.Open(t.Context(), path)
		require.NoError(t, err)
		b := make([]byte, 1<<20)
		_, err = r.ReadAt(b, size-1<<20)
		if !errors.Is(err, io.EOF) {
			require.NoError(t, err)
		}
		require.True(t, bytes.Equal(data[size-1<<20:], b), path)
		require.NoError(t, r.Close())
	}
}

// testNoPartial: while an object is replaced again and again, a reader sees
// one whole content or another.
func testNoPartial(t *testing.T, s objstore.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	whole := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i%26)}, 200_000+i%26) }
	require.NoError(t, s.Put(ctx, "x", whole(0)))
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for i := 1; ctx.Err() == nil; i++ {
			var err error
			if i%2 == 0 {
				err = s.Put(ctx, "x", whole(i))
			} else {
				err = write(ctx, s, "x", whole(i))
			}
			if err != nil && ctx.Err() == nil {
				t.Errorf("writing: %v", err)
				return
			}
		}
	})
	defer cancel()
	for range 100 {
		got, err := s.Get(t.Context(), "x")
		require.NoError(t, err)
		require.NotEmpty(t, got)
		require.True(t, bytes.Equal(whole(int(got[0]-'a')), got), "%d bytes of %q", len(got), got[0])
	}
}
