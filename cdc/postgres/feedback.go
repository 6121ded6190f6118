package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lakeload/lakeload/cdc"
)

const (
	// maxFeedbackInterval is the longest time between two status messages.
	maxFeedbackInterval = 10 * time.Second
	// feedbackGap is the shortest time between two: acknowledgements and
	// requests that come faster share one.
	feedbackGap = 100 * time.Millisecond
	// defaultSilence is how long a server may say nothing before it is taken
	// for gone, where it has no wal_sender_timeout of its own.
	defaultSilence = 60 * time.Second
	// shutdownGrace is how long a server that is being shut down is kept
	// waiting for us to make the rest durable.
	shutdownGrace = 5 * time.Second
)

var (
	errSilence  = errors.New("the server has been silent for too long, also after it was asked to answer")
	errStopping = errors.New("the server is being shut down and waits for us: let go, to come back when it is up again")
)

// feedback tells the server, from a goroutine of its own and however busy the
// reader and the caller are, up to where everything is durable. Write, flush
// and apply are always the same position, and never 0: for 0 the server would
// take what it has sent.
//
// It also watches the server. One that has not sent anything for long while
// the reader waits for it is asked to answer, and after twice that time given
// up. One that asks for an answer again and again at the same position is
// being shut down, and waits for the flush position to reach what it has sent;
// if that does not come within shutdownGrace the connection is dropped, so
// that its shutdown is not held up. What was not acknowledged is sent again.
type feedback struct {
	conn     net.Conn
	interval time.Duration
	silence  time.Duration
	kill     func(cause error)

	acked     atomic.Uint64
	given     atomic.Uint64 // the cut that Next has delivered; bounds acked
	waitsFrom atomic.Int64  // when the reader began to wait, in ns; 0: it does not
	wake      chan struct{} // something is to be sent, capacity 1
	quit      chan struct{}
	done      chan struct{}

	mu       sync.Mutex
	pings    pings
	stopping time.Time // when the server's shutdown was noticed; zero: it was not
}

func newFeedback(conn net.Conn, from cdc.LSN, senderTimeout time.Duration, kill func(error)) *feedback {
	f := &feedback{
		conn: conn, interval: maxFeedbackInterval, silence: defaultSilence, kill: kill,
		wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	if senderTimeout > 0 {
		f.interval = max(min(senderTimeout/3, maxFeedbackInterval), 10*time.Millisecond)
		f.silence = max(senderTimeout, time.Second)
	}
	f.acked.Store(uint64(from))
	f.given.Store(uint64(from))
	return f
}

func (f *feedback) start() { go f.run() }

// stop ends the goroutine and waits for it.
func (f *feedback) stop() {
	close(f.quit)
	<-f.done
}

// delivered notes what the caller has got, and may acknowledge.
func (f *feedback) delivered(cut cdc.LSN) { raise(&f.given, uint64(cut)) }

// ack notes what is durable: no more than has been delivered.
func (f *feedback) ack(lsn cdc.LSN) {
	if raise(&f.acked, min(uint64(lsn), f.given.Load())) {
		signal(f.wake)
	}
}

// raise sets v to to if that is more.
func raise(v *atomic.Uint64, to uint64) bool {
	for {
		now := v.Load()
		if to <= now {
			return false
		}
		if v.CompareAndSwap(now, to) {
			return true
		}
	}
}

// waiting notes that the reader waits for the server, or no longer does.
func (f *feedback) waiting(yes bool) {
	var at int64
	if yes {
		at = time.Now().UnixNano()
	}
	f.waitsFrom.Store(at)
}

// ping answers a server that asked for it.
func (f *feedback) ping(end cdc.LSN) {
	now := time.Now()
	f.mu.Lock()
	stopping := f.pings.add(now, end)
	if !stopping {
		f.stopping = time.Time{}
	} else if f.stopping.IsZero() {
		f.stopping = now
	}
	f.mu.Unlock()
	signal(f.wake)
}

// run is the goroutine.
func (f *feedback) run() {
	defer close(f.done)
	// The first message asks for an answer, which tells the server's position.
	last, wanted := time.Now(), false
	if !f.send(true) {
		return
	}
	timer := time.NewTimer(f.interval)
	defer timer.Stop()
	for {
		select {
		case <-f.quit:
			return
		case <-f.wake:
			wanted = true
		case <-timer.C:
		}
		now := time.Now()
		silent, cause := f.watch(now)
		if cause != nil {
			f.kill(cause)
			return
		}
		due := last.Add(f.interval)
		if wanted {
			due = last.Add(min(feedbackGap, f.interval))
		}
		if !now.Before(due) {
			if !f.send(silent) {
				return
			}
			last, wanted, due = now, false, now.Add(f.interval)
		}
		timer.Reset(min(due.Sub(now), f.silence/4, shutdownGrace/4))
	}
}

// watch looks at the server. silent: it should be asked to answer.
func (f *feedback) watch(now time.Time) (silent bool, cause error) {
	if from := f.waitsFrom.Load(); from != 0 {
		waited := now.Sub(time.Unix(0, from))
		if waited > f.silence {
			return true, retry(fmt.Errorf("%w (%s)", errSilence, waited.Round(time.Second)))
		}
		silent = waited > f.silence/2
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.stopping.IsZero() && now.Sub(f.stopping) > shutdownGrace {
		return silent, retry(errStopping)
	}
	return silent, nil
}

// send sends a status; false means that the connection is gone.
func (f *feedback) send(wantReply bool) bool {
	if err := f.write(statusMessage(cdc.LSN(f.acked.Load()), time.Now(), wantReply)); err != nil {
		f.kill(retry(fmt.Errorf("sending the durable position: %w", err)))
		return false
	}
	return true
}

func (f *feedback) write(b []byte) error {
	if err := f.conn.SetWriteDeadline(time.Now().Add(f.silence)); err != nil {
		return err
	}
	_, err := f.conn.Write(b)
	return err
}

// goodbye sends the last position and the end of the stream. The goroutine
// has been stopped before.
func (f *feedback) goodbye() error {
	b := statusMessage(cdc.LSN(f.acked.Load()), time.Now(), false)
	b = append(b, 'c', 0, 0, 0, 4) // CopyDone
	if err := f.conn.SetWriteDeadline(time.Now().Add(farewell)); err != nil {
		return err
	}
	_, err := f.conn.Write(b)
	return err
}

// statusMessage is a standby status update in a CopyData message.
func statusMessage(lsn cdc.LSN, now time.Time, wantReply bool) []byte {
	b := make([]byte, 0, 64)
	b = append(b, 'd', 0, 0, 0, 4+34, 'r')
	for range 3 { // written, flushed, applied
		b = binary.BigEndian.AppendUint64(b, uint64(lsn))
	}
	b = binary.BigEndian.AppendUint64(b, uint64(now.UnixMicro()-epochMicros))
	if wantReply {
		return append(b, 1)
	}
	return append(b, 0)
}

// pings tells a server that is being shut down from one that is idle: at its
// shutdown it asks again as soon as it has our answer, an idle one only after
// half its wal_sender_timeout without any.
type pings struct {
	at    cdc.LSN
	first time.Time
	count int
}

const (
	pingsOfShutdown = 4
	pingWindow      = time.Second
)

// add notes a request, and reports whether the server is being shut down.
func (p *pings) add(now time.Time, at cdc.LSN) bool {
	if at != p.at || p.count < pingsOfShutdown && now.Sub(p.first) > pingWindow {
		*p = pings{at: at, first: now}
	}
	p.count++
	return p.count >= pingsOfShutdown
}
