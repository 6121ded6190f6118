package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/lakeload/lakeload/cdc"
)

const (
	// inboxSlabs is how many blocks of framingBuffer bytes are read ahead of the
	// decoder at most.
	inboxSlabs = 4
	// inboxViews is how many reads of the socket may wait for the decoder: so
	// many messages of an idle server are still noticed while it is busy.
	inboxViews = 64
	// inboxPatience is how long what the server sends may lie in the socket
	// while the decoder has not yet taken what was read before. Then it is read
	// all the same, to hear whether the server asks for something. Reading less
	// often means reading more at a time, and leaves more of the processors to
	// the server.
	inboxPatience = 25 * time.Millisecond
	// A server sends each row for itself. While reads come faster than one in
	// inboxBusy, and give less than inboxPlenty, we sleep for inboxNap before the
	// next one, and are not woken for less than inboxDeaf: hundreds of rows cost
	// one read then, and hardly anything for the server to send. What comes first
	// after a pause is read at once.
	inboxNap    = 2 * time.Millisecond
	inboxBusy   = 3 * inboxNap
	inboxPlenty = 128 << 10
	inboxDeaf   = 1 << 20 // more than comes meanwhile: beyond it every packet wakes us
)

// inbox reads the connection of a stream, in a goroutine of its own, and gives
// whole messages to the decoder's without copying them. It reads ahead as far
// as its memory goes. So however long the decoder is busy with a transaction,
// or waits for the caller, what the server asks for is noticed, and its silence
// is told from ours.
//
// The memory is a few blocks, each of which is read into once and reused when
// the decoder has done with all its messages. A message that is larger than a
// block gets a block of its own, of which there is one at a time.
type inbox struct {
	r        relief
	socket   socket
	every    *time.Ticker // for relief
	feedback *feedback
	quit     <-chan struct{}
	nap      time.Duration // inboxNap; 0 in tests

	views chan view     // whole messages, in order; closed at the end
	free  chan *slab    // of inboxSlabs
	large chan struct{} // holds a token while a block is larger
	eager chan struct{} // the decoder has taken all that was read, capacity 1
	done  chan struct{}
	err   error // why it has ended; to be read once views is closed
	ended bool  // the server has ended the stream after our goodbye; to be read once done is closed

	progress atomic.Uint64 // the newest position that the server has told
	arrived  atomic.Int64  // when data of the log last came, in ns
	told     *atomic.Int64 // the same, for others; not before the first

	// The reader's.
	cur             *slab
	sent, whole, wp int  // of cur: given out, looked at, read
	hasty           bool // little was read, shortly after the read before

	// The decoder's.
	have view
}

// slab is a block of memory with messages.
type slab struct {
	buf   []byte
	large bool         // made for one message
	refs  atomic.Int32 // views, and one while it is read into
}

// view is a run of whole messages in a slab.
type view struct {
	b    []byte
	slab *slab
}

// newInbox goes on where the framing of the handshake has stopped; sock is the
// connection's.
func newInbox(f *framing, sock socket, fb *feedback, from cdc.LSN, told *atomic.Int64, quit <-chan struct{}) *inbox {
	in := &inbox{
		r: relief{r: f.r, socket: sock}, socket: sock, feedback: fb, told: told, quit: quit, nap: inboxNap, views: make(chan view, inboxViews), free: make(chan *slab, inboxSlabs),
		large: make(chan struct{}, 1), eager: make(chan struct{}, 1), done: make(chan struct{}),
	}
	for range inboxSlabs - 1 {
		in.free <- &slab{buf: make([]byte, framingBuffer)}
	}
	in.cur = &slab{buf: make([]byte, max(framingBuffer, f.wp-f.rp))}
	in.cur.refs.Store(1)
	in.wp = copy(in.cur.buf, f.buf[f.rp:f.wp])
	in.progress.Store(uint64(from))
	in.arrived.Store(time.Now().UnixNano())
	return in
}

var errInboxQuit = errors.New("the stream was ended")

// idle is for how long no data have come.
func (in *inbox) idle() time.Duration { return time.Since(time.Unix(0, in.arrived.Load())) }

// run is the goroutine.
func (in *inbox) run() {
	defer close(in.done)
	in.every = time.NewTicker(reliefEvery)
	defer in.every.Stop()
	in.err = in.pump()
	close(in.views)
	if errors.Is(in.err, errInboxQuit) {
		in.drain()
	}
}

// pump reads until an error or the end of the stream.
func (in *inbox) pump() error {
	timer := time.NewTimer(inboxPatience)
	defer timer.Stop()
	var last time.Time
	for {
		if err := in.look(); err != nil {
			return err
		}
		if in.quitting() { // what has just come may be the end that drain looks for
			return errInboxQuit
		}
		if in.whole > in.sent {
			in.cur.refs.Add(1)
			if _, err := hold(in, in.views, nil, view{in.cur.buf[in.sent:in.whole:in.whole], in.cur}); err != nil {
				return err
			}
			in.sent = in.whole
		}
		if len(in.views) > 0 && !in.pause(timer, inboxPatience, in.eager) {
			return errInboxQuit
		}
		if in.hasty && in.nap > 0 {
			in.socket.wakeAt(inboxDeaf)
			slept := in.pause(timer, in.nap, nil)
			in.socket.wakeAt(1)
			if !slept {
				return errInboxQuit
			}
		}
		if err := in.room(); err != nil {
			return err
		}
		in.feedback.waiting(true)
		n, err := in.r.Read(in.cur.buf[in.wp:])
		in.feedback.waiting(false)
		in.wp += n
		if n == 0 {
			switch {
			case err == nil:
				err = io.ErrNoProgress
			case errors.Is(err, io.EOF):
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		now := time.Now()
		in.hasty = n < inboxPlenty && now.Sub(last) < inboxBusy
		last = now
	}
}

// hold sends v to one channel or takes it from the other, whichever there is.
// As long as it has to wait, it sees to it that the server hears us.
func hold[T any](in *inbox, to chan<- T, from <-chan T, v T) (T, error) {
	for {
		select {
		case to <- v:
			return v, nil
		case v = <-from:
			return v, nil
		case <-in.every.C:
			in.r.step()
		case <-in.quit:
			return v, errInboxQuit
		}
	}
}

// pause waits for a while, or until it is told to go on; false: until the end.
func (in *inbox) pause(timer *time.Timer, d time.Duration, goOn <-chan struct{}) bool {
	timer.Reset(d)
	select {
	case <-goOn:
	case <-timer.C:
	case <-in.quit:
		return false
	}
	return true
}

func (in *inbox) quitting() bool {
	select {
	case <-in.quit:
		return true
	default:
		return false
	}
}

// look goes through the messages that have arrived whole.
func (in *inbox) look() error {
	var data bool
	var end uint64
	for {
		size, err := messageSize(in.cur.buf[in.whole:in.wp])
		if err != nil {
			return err
		}
		if size == 0 || size > in.wp-in.whole {
			break
		}
		body := in.cur.buf[in.whole+messageHeader : in.whole+size]
		if in.cur.buf[in.whole] == 'd' && len(body) >= keepaliveSize {
			switch {
			case body[0] == 'w' && len(body) >= walDataHeader:
				data = true
				end = max(end, binary.BigEndian.Uint64(body[9:]))
			case body[0] == 'k':
				at := binary.BigEndian.Uint64(body[1:])
				end = max(end, at)
				if body[17] != 0 {
					in.feedback.ping(cdc.LSN(at))
				}
			}
		}
		in.whole += size
	}
	raise(&in.progress, end)
	if data {
		now := time.Now().UnixNano()
		in.arrived.Store(now)
		in.told.Store(now)
	}
	return nil
}

// messageSize is the whole length of the message at the start of b, however
// much of it is there; 0 if its header is not.
func messageSize(b []byte) (int, error) {
	if len(b) < messageHeader {
		return 0, nil
	}
	n := int64(binary.BigEndian.Uint32(b[1:]))
	if n < 4 || n > maxMessage {
		return 0, fmt.Errorf("%w (kind %q, length %d)", errMessageLength, b[0], n)
	}
	return int(n) + 1, nil
}

// room makes sure that the rest of the message that has begun, or a part of
// it, can be read. A large message gets its memory as it arrives, so that a
// damaged length costs no more than was sent.
func (in *inbox) room() error {
	begun := in.cur.buf[in.whole:in.wp]
	need, _ := messageSize(begun) // looked at before
	need = max(need, messageHeader)
	if in.wp < len(in.cur.buf) && (in.whole+need <= len(in.cur.buf) || in.cur.large) {
		return nil
	}
	var next *slab
	var err error
	switch {
	case need <= framingBuffer:
		if next, err = hold(in, nil, in.free, nil); err != nil {
			return err
		}
	case !in.cur.large:
		if _, err = hold(in, in.large, nil, struct{}{}); err != nil {
			return err
		}
		next = &slab{large: true, buf: make([]byte, min(need, 2*framingBuffer))}
	default:
		next = &slab{large: true, buf: make([]byte, min(need, 2*len(begun)))}
	}
	copy(next.buf, begun)
	next.refs.Store(1)
	if !in.cur.large || !next.large { // else the token is the next one's now
		in.release(in.cur)
	}
	in.cur, in.sent, in.whole, in.wp = next, 0, 0, len(begun)
	return nil
}

// release lets go of a slab, which is free when the last has let go of it.
func (in *inbox) release(s *slab) {
	switch {
	case s.refs.Add(-1) > 0:
	case s.large:
		<-in.large
	default:
		in.free <- s
	}
}

// drain reads and throws away what the server still sends after it was told
// goodbye, until it has ended the stream, or until the deadline that Close has
// set.
func (in *inbox) drain() {
	f := framing{r: &in.r, buf: append(make([]byte, 0, framingBuffer), in.cur.buf[in.sent:in.wp]...)}
	f.wp = len(f.buf)
	f.buf = f.buf[:cap(f.buf)]
	for {
		ok, err := f.ready()
		if err == nil && !ok {
			err = f.read()
		}
		if err != nil {
			return
		}
		if ok {
			if kind, _ := f.next(); kind == 'Z' || kind == 'E' {
				in.ended = true
				return
			}
		}
	}
}

// next gives the next message that is there, to the decoder's goroutine. Its
// body is valid until the next call of next or wait.
func (in *inbox) next() (kind byte, body []byte, ok bool) {
	for len(in.have.b) == 0 {
		in.letGo()
		select {
		case v, open := <-in.views:
			if !open {
				return 0, nil, false
			}
			in.took(v)
		default:
			return 0, nil, false
		}
	}
	b := in.have.b
	size := int(binary.BigEndian.Uint32(b[1:])) + 1
	in.have.b = b[size:]
	return b[0], b[messageHeader:size:size], true
}

// took notes the view that is read next, and lets more be read behind it if it
// was the last.
func (in *inbox) took(v view) {
	in.have = v
	if len(in.views) == 0 {
		signal(in.eager)
	}
}

// letGo gives back the slab of the view that has been read.
func (in *inbox) letGo() {
	if in.have.slab != nil {
		in.release(in.have.slab)
		in.have = view{}
	}
}

// wait waits until there is a message. An error is the end of the stream, or
// of the wait.
func (in *inbox) wait(quit <-chan struct{}) error {
	if len(in.have.b) > 0 {
		return nil
	}
	in.letGo()
	select {
	case v, open := <-in.views:
		if !open {
			return in.err
		}
		in.took(v)
		return nil
	case <-quit:
		return errInboxQuit
	}
}
