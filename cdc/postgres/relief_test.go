package postgres

import (
	"encoding/binary"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// numbered gives messages that hold their numbers, size bytes each, until
// there have been limit bytes, and counts what was read.
type numbered struct {
	size, limit int
	left        []byte
	next        uint64
	read        atomic.Int64
}

var errNumbered = errors.New("the server is gone")

func (r *numbered) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(r.left) == 0 {
			if int(r.next)*(r.size+messageHeader) >= r.limit {
				break
			}
			body := make([]byte, r.size)
			binary.BigEndian.PutUint64(body, r.next)
			r.left, r.next = wireMessage('d', body), r.next+1
		}
		k := copy(p[n:], r.left)
		r.left = r.left[k:]
		n += k
	}
	r.read.Add(int64(n))
	if n == 0 {
		return 0, errNumbered
	}
	return n, nil
}

// deafSocket is one whose peer hears nothing, until so much has been read.
type deafSocket struct {
	r     *numbered
	until int64
}

func (s *deafSocket) unheard() (times, unread int) {
	if s.r.read.Load() >= s.until {
		return 0, 32 << 20
	}
	return reliefUnheard, 32 << 20
}

// TestEdge14DeafServer: while nobody takes messages, and the server does not
// hear us because its packets find no room, enough is read for it to hear
// again, no more, and never without bound; nothing of it is lost or overtaken,
// also where the connection ends meanwhile.
func TestEdge14DeafServer(t *testing.T) {
	const ahead = (inboxSlabs + 1) * framingBuffer // what is read in any case
	for name, c := range map[string]struct{ until, limit, least, most int }{
		"hears again":       {until: ahead + 5<<20, limit: 64 << 20, least: ahead + 5<<20, most: ahead + 5<<20 + reliefStep},
		"never hears again": {until: 1 << 40, limit: 64 << 20, least: reliefMost, most: ahead + reliefMost},
		"ends":              {until: 1 << 40, limit: 10 << 20, least: 10 << 20, most: 11 << 20},
		"hears":             {until: 0, limit: 64 << 20, least: framingBuffer, most: ahead},
	} {
		t.Run(name, func(t *testing.T) {
			r := &numbered{size: 1000, limit: c.limit}
			in, quit := pausedInbox(r)
			in.r.socket = &deafSocket{r: r, until: int64(c.until)}
			go in.run()
			var seen int64
			require.Eventually(t, func() bool { // until it stands still
				was := seen
				seen = r.read.Load()
				return seen > 0 && seen == was
			}, 30*time.Second, 5*reliefEvery)
			require.GreaterOrEqual(t, seen, int64(c.least))
			require.LessOrEqual(t, seen, int64(c.most))
			var err error
			got := uint64(0)
			for err == nil {
				_, body, ok := in.next()
				if !ok {
					err = in.wait(nil)
					continue
				}
				if n := binary.BigEndian.Uint64(body); n != got {
					require.Equal(t, got, n)
				}
				got++
			}
			require.ErrorIs(t, err, errNumbered)
			require.Equal(t, r.next, got)
			require.Zero(t, in.r.size)
			<-in.done
			quit()
		})
	}
}

// TestReliefReadsSmall: a connection that gives little at a time does not cost
// a step's memory for each of its reads.
func TestReliefReadsSmall(t *testing.T) {
	r := &numbered{size: 100, limit: 8 << 20}
	l := relief{r: &sips{r, 16 << 10}, socket: &deafSocket{r: r, until: 1 << 40}}
	for range 3 {
		l.step()
	}
	var memory int
	for _, b := range l.held {
		memory += cap(b)
	}
	require.Equal(t, 3*reliefStep, l.size)
	require.Less(t, memory, 2*l.size)
	n, err := io.Copy(io.Discard, io.LimitReader(&l, 4<<20))
	require.NoError(t, err)
	require.EqualValues(t, 4<<20, n)
	require.Zero(t, l.size)
}

type sips struct {
	r   io.Reader
	max int
}

func (c *sips) Read(p []byte) (int, error) { return c.r.Read(p[:min(len(p), c.max)]) }
