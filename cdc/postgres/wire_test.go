package postgres

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// wireMessage is one message of the connection.
func wireMessage(kind byte, body []byte) []byte {
	return append(append([]byte{kind}, be(4, int64(len(body)+4))...), body...)
}

// TestFraming: however the bytes are cut, pgconn's side gets the messages of
// the handshake and nothing more, and next gets all that follow.
func TestFraming(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bodies := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 40_000), 1, 8).Draw(t, "bodies")
		shaken := rapid.IntRange(0, 3).Draw(t, "handshake")
		var wire []byte
		for range shaken {
			wire = append(wire, wireMessage('S', []byte("TimeZone\x00UTC\x00"))...)
		}
		for _, b := range bodies {
			wire = append(wire, wireMessage('d', b)...)
		}
		var r io.Reader = &chopped{b: wire, sizes: rapid.SliceOfN(rapid.IntRange(1, 20_000), 1, 5).Draw(t, "cuts")}
		f := &framing{}
		front := f.buildFrontend(r, io.Discard)
		for range shaken {
			msg, err := front.Receive()
			require.NoError(t, err)
			require.IsType(t, &pgproto3.ParameterStatus{}, msg)
			require.Zero(t, front.ReadBufferLen())
		}
		f.startStreaming()
		for i, want := range bodies {
			for {
				ok, err := f.ready()
				require.NoError(t, err)
				if ok {
					break
				}
				require.NoError(t, f.read())
			}
			kind, body := f.next()
			require.Equal(t, byte('d'), kind)
			require.True(t, bytes.Equal(want, body), "message %d", i)
		}
		require.ErrorIs(t, f.read(), io.EOF)
	})
}

// chopped gives its bytes in pieces.
type chopped struct {
	b     []byte
	sizes []int
	at    int
}

func (c *chopped) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.sizes[c.at%len(c.sizes)])], c.b)
	c.at++
	c.b = c.b[n:]
	return n, nil
}

// TestFramingLarge: the buffer grows for a large message, and shrinks again.
func TestFramingLarge(t *testing.T) {
	big := bytes.Repeat([]byte("x"), 5<<20)
	f := &framing{}
	f.buildFrontend(io.MultiReader(bytes.NewReader(wireMessage('d', big)), bytes.NewReader(wireMessage('d', nil))), io.Discard)
	f.startStreaming()
	for ok := false; !ok; ok, _ = f.ready() {
		require.NoError(t, f.read())
	}
	_, body := f.next()
	require.Len(t, body, len(big))
	require.NoError(t, f.read())
	require.Len(t, f.buf, framingBuffer)
}

func TestFramingDamaged(t *testing.T) {
	for _, length := range []int64{0, 3, maxMessage + 1, 0xffffffff} {
		f := &framing{}
		front := f.buildFrontend(bytes.NewReader(append([]byte{'d'}, be(4, length)...)), io.Discard)
		_, err := front.Receive()
		require.ErrorIs(t, err, errMessageLength)
		f = &framing{}
		f.buildFrontend(bytes.NewReader(append([]byte{'d'}, be(4, length)...)), io.Discard)
		require.NoError(t, f.read())
		_, err = f.ready()
		require.ErrorIs(t, err, errMessageLength)
	}
	broken := errors.New("broken")
	f := &framing{}
	f.buildFrontend(iotest.ErrReader(broken), io.Discard)
	require.ErrorIs(t, f.read(), broken)
}

// TestPings: a server asks again and again at one place when it is being shut
// down; otherwise it asks seldom, or its position moves.
func TestPings(t *testing.T) {
	now := time.Now()
	var p pings
	for i := range 20 { // idle: half a wal_sender_timeout apart
		require.False(t, p.add(now.Add(time.Duration(i)*30*time.Second), 100))
	}
	p = pings{}
	for i := range 20 { // fast, but it moves
		require.False(t, p.add(now.Add(time.Duration(i)*time.Millisecond), mustLSN("0/100")+1<<i))
	}
	p = pings{}
	for i := range pingsOfShutdown - 1 {
		require.False(t, p.add(now.Add(time.Duration(i)*feedbackGap), 7))
	}
	require.True(t, p.add(now.Add(time.Second/2), 7))
	require.True(t, p.add(now.Add(9*time.Second), 7), "it stays so until the position moves")
	require.False(t, p.add(now.Add(9*time.Second), 8))
}

// TestAckNeverMoreThanDelivered, never less than before, never zero.
func TestAck(t *testing.T) {
	f := newFeedback(nil, 100, 0, nil)
	f.ack(0)
	f.ack(50)
	require.EqualValues(t, 100, f.acked.Load())
	f.ack(200)
	require.EqualValues(t, 100, f.acked.Load())
	f.delivered(150)
	f.ack(200)
	require.EqualValues(t, 150, f.acked.Load())
	msg := statusMessage(150, time.UnixMicro(epochMicros+1), true)
	require.Equal(t, unhex("64"+"00000026"+"72"+strings.Repeat("0000000000000096", 3)+"0000000000000001"+"01"), msg)
}
