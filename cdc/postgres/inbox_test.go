package postgres

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lakeload/lakeload/cdc"
)

// newTestInbox reads r as the stream's connection, with what the handshake has
// read beyond itself.
func newTestInbox(r io.Reader, left []byte) (*inbox, *feedback, context.CancelFunc) {
	in, cancel := pausedInbox(r, left...)
	go in.run()
	return in, in.feedback, cancel
}

// pausedInbox is one that is to be run.
func pausedInbox(r io.Reader, left ...byte) (*inbox, context.CancelFunc) {
	f := &framing{r: r, buf: append([]byte(nil), left...)}
	f.wp = len(left)
	ctx, cancel := context.WithCancel(context.Background())
	in := newInbox(f, socket{}, newFeedback(nil, 1, 0, nil), 1, &atomic.Int64{}, ctx.Done())
	in.nap = 0
	return in, cancel
}

// TestInbox: however the bytes are cut, and however late they are asked for,
// the messages come whole and in order, small ones and those that are larger
// than any block.
func TestInbox(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, 60_000), rapid.SampledFrom([]int{framingBuffer - 6, framingBuffer - 5, framingBuffer - 4, framingBuffer, 3*framingBuffer + 7})), 1, 30).Draw(t, "sizes")
		var wire []byte
		for i, n := range sizes {
			wire = append(wire, wireMessage('d', bytes.Repeat([]byte{byte(i + 1)}, n))...)
		}
		left := rapid.IntRange(0, min(len(wire), 10_000)).Draw(t, "left over")
		in, _, cancel := newTestInbox(&chopped{b: wire[left:], sizes: rapid.SliceOfN(rapid.IntRange(1, 700_000), 1, 5).Draw(t, "cuts")}, wire[:left])
		defer cancel()
		for i, n := range sizes {
			kind, body, ok := in.next()
			for !ok {
				require.NoError(t, in.wait(nil))
				kind, body, ok = in.next()
			}
			require.Equal(t, byte('d'), kind)
			require.Len(t, body, n, "message %d", i)
			require.Equal(t, n, bytes.Count(body, []byte{byte(i + 1)}), "message %d", i)
		}
		_, _, ok := in.next()
		require.False(t, ok)
		require.ErrorIs(t, in.wait(nil), io.ErrUnexpectedEOF)
		<-in.done
	})
}

// endless gives the same message for ever, and counts what was read.
type endless struct {
	message []byte
	at      int
	read    atomic.Int64
	over    atomic.Bool
}

func (e *endless) Read(p []byte) (n int, err error) {
	if e.over.Load() {
		return 0, io.EOF
	}
	for n < len(p) {
		k := copy(p[n:], e.message[e.at:])
		e.at = (e.at + k) % len(e.message)
		n += k
	}
	e.read.Add(int64(n))
	return n, nil
}

// TestInboxReadsAhead only as far as its blocks go, and ends when it is told.
func TestInboxReadsAhead(t *testing.T) {
	for _, size := range []int{100, 5000, 2 * framingBuffer} {
		r := &endless{message: wireMessage('d', make([]byte, size))}
		in, _, cancel := newTestInbox(r, nil)
		var seen int64
		require.Eventually(t, func() bool { // until it stands still
			was := seen
			seen = r.read.Load()
			return seen > 0 && seen == was
		}, 30*time.Second, 20*time.Millisecond)
		require.LessOrEqual(t, seen, int64(inboxSlabs*framingBuffer+2*max(framingBuffer, size)))
		for range 1000 {
			if _, _, ok := in.next(); !ok {
				require.NoError(t, in.wait(nil))
			}
		}
		cancel()
		r.over.Store(true) // else it would be drained for ever
		<-in.done
	}
}

// TestInboxHears: what the server asks for is noticed while nobody takes
// messages, and so is its position.
func TestInboxHears(t *testing.T) {
	keepalive := func(end int64, wants byte) []byte {
		return wireMessage('d', append(append(append([]byte{'k'}, be(8, end)...), be(8, 0)...), wants))
	}
	var wire []byte
	wire = append(wire, wireMessage('d', append(append(append([]byte{'w'}, be(8, 100)...), be(8, 200)...), append(be(8, 0), "x"...)...))...)
	wire = append(wire, keepalive(300, 0)...)
	for range pingsOfShutdown {
		wire = append(wire, keepalive(400, 1)...)
	}
	in, fb, cancel := newTestInbox(bytes.NewReader(wire), nil)
	defer cancel()
	<-in.done // nobody has taken anything
	require.EqualValues(t, 400, in.progress.Load())
	require.NotZero(t, in.told.Load())
	fb.mu.Lock()
	defer fb.mu.Unlock()
	require.Equal(t, pings{at: 400, first: fb.pings.first, count: pingsOfShutdown}, fb.pings)
	require.False(t, fb.stopping.IsZero())
}

// TestInboxDamaged: a length that cannot be ends the stream.
func TestInboxDamaged(t *testing.T) {
	for _, length := range []int64{0, 3, maxMessage + 1, 0xffffffff} {
		in, _, cancel := newTestInbox(bytes.NewReader(append(wireMessage('d', []byte("ok")), append([]byte{'d'}, be(4, length)...)...)), nil)
		var err error
		for err == nil {
			if _, _, ok := in.next(); !ok {
				err = in.wait(nil)
			}
		}
		require.ErrorIs(t, err, errMessageLength)
		cancel()
	}
	broken := errors.New("broken")
	in, _, cancel := newTestInbox(io.MultiReader(bytes.NewReader(wireMessage('d', nil)), &failing{broken}), nil)
	defer cancel()
	require.NoError(t, in.wait(nil))
	_, _, ok := in.next()
	require.True(t, ok)
	require.ErrorIs(t, in.wait(nil), broken)
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// TestStreamCommand: what is asked for, by the server's version.
func TestStreamCommand(t *testing.T) {
	cfg := streamConfig{slot: "s", publications: []string{"p", `it's "q"`}, from: mustLSN("1/2"), serverVersion: 140005}
	ask := func(change func(*streamConfig)) string {
		c := cfg
		change(&c)
		return c.command()
	}
	const head = `START_REPLICATION SLOT "s" LOGICAL 1/2 (proto_version '%', publication_names '"p","it''s ""q"""', messages 'true'`
	want := func(version, more string) string {
		return string(bytes.Replace([]byte(head), []byte("%"), []byte(version), 1)) + more + ")"
	}
	require.Equal(t, want("2", ""), ask(func(*streamConfig) {}))
	require.Equal(t, want("3", ", binary 'true'"), ask(func(c *streamConfig) { c.serverVersion, c.binary = 150000, true }))
	require.Equal(t, want("4", ", binary 'true', streaming 'on', origin 'none'"), ask(func(c *streamConfig) {
		c.serverVersion, c.binary, c.streaming, c.originNone = 160004, true, true, true
	}))
	require.Equal(t, want("4", ", streaming 'on'"), ask(func(c *streamConfig) { c.serverVersion, c.streaming = 190000, true }))
	_, err := startStream(t.Context(), streamConfig{from: 1, originNone: true, serverVersion: 150000})
	require.ErrorContains(t, err, "replicated from elsewhere")
	require.False(t, cdc.Retryable(err))
}
