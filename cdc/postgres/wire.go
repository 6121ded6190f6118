package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5/pgproto3"
)

const (
	// framingBuffer is what is read from the socket at a time at most.
	framingBuffer = 512 << 10
	// maxMessage is more than the longest message that PostgreSQL can send.
	maxMessage = 1<<30 + 1<<10
	// trustedMessage is how much of a message has to be here before its length
	// is believed, and room is made for all of it at once.
	trustedMessage = 16 << 20
	// messageHeader is the kind and the length of every message.
	messageHeader = 5
)

var errMessageLength = errors.New("a protocol message of impossible length: this is not PostgreSQL, or the connection is damaged")

// framing reads protocol messages from a connection. pgconn uses it for the
// handshake, through a reader that never gives it more than one message, so
// that nothing of what follows stays behind in pgconn's own buffer. Once the
// replication stream has begun, next gives the messages without copying them.
//
// Its buildFrontend is set as pgconn.Config.BuildFrontend. It belongs to one
// connection and is used by one goroutine at a time.
type framing struct {
	r      io.Reader
	buf    []byte // buf[rp:wp] has been read and not yet given out
	rp, wp int
	left   int // bytes of the current message that pgconn has still to get
}

// buildFrontend begins anew with the connection that r reads.
func (f *framing) buildFrontend(r io.Reader, w io.Writer) *pgproto3.Frontend {
	*f = framing{r: r, buf: make([]byte, 16<<10)}
	return pgproto3.NewFrontend(handshake{f}, w)
}

// handshake is the reader that pgconn gets.
type handshake struct{ f *framing }

// Read gives bytes of one message only.
func (h handshake) Read(p []byte) (int, error) {
	f := h.f
	if f.left == 0 {
		for f.wp-f.rp < messageHeader {
			if err := f.fill(messageHeader); err != nil {
				return 0, err
			}
		}
		size, err := f.size()
		if err != nil {
			return 0, err
		}
		f.left = size
	}
	if f.rp == f.wp {
		if err := f.fill(1); err != nil {
			return 0, err
		}
	}
	n := copy(p, f.buf[f.rp:min(f.wp, f.rp+f.left)])
	f.rp += n
	f.left -= n
	return n, nil
}

// size is the whole length of the message that begins at rp, whose header has
// been read.
func (f *framing) size() (int, error) {
	n := int64(binary.BigEndian.Uint32(f.buf[f.rp+1:]))
	if n < 4 || n > maxMessage {
		return 0, fmt.Errorf("%w (kind %q, length %d)", errMessageLength, f.buf[f.rp], n)
	}
	return int(n) + 1, nil
}

// ready reports whether next can give a message without reading. If not, fill
// has to be called.
func (f *framing) ready() (bool, error) {
	have := f.wp - f.rp
	if have < messageHeader {
		return false, nil
	}
	size, err := f.size()
	return have >= size, err
}

// next gives the message that is ready. Its body is valid until the next fill.
func (f *framing) next() (kind byte, body []byte) {
	size, _ := f.size()
	kind, body = f.buf[f.rp], f.buf[f.rp+messageHeader:f.rp+size:f.rp+size]
	f.rp += size
	return kind, body
}

// read waits for bytes that complete the message at rp, or some of them.
func (f *framing) read() error {
	need := messageHeader
	if f.wp-f.rp >= messageHeader {
		var err error
		if need, err = f.size(); err != nil {
			return err
		}
	}
	return f.fill(need)
}

// fill reads once, into a buffer that has room for some of need bytes from rp
// on. A large message makes the buffer grow as it arrives, so that a damaged
// length costs no more memory than was sent.
func (f *framing) fill(need int) error {
	if f.rp == f.wp {
		f.rp, f.wp = 0, 0
		if len(f.buf) > 4*framingBuffer {
			f.buf = make([]byte, framingBuffer)
		}
	}
	if f.rp > 0 && f.rp+need > len(f.buf) {
		f.wp = copy(f.buf, f.buf[f.rp:f.wp])
		f.rp = 0
	}
	if f.wp == len(f.buf) {
		size := 2 * len(f.buf)
		if len(f.buf) >= trustedMessage {
			size = max(need, len(f.buf)+framingBuffer)
		}
		f.buf = append(make([]byte, 0, size), f.buf...)[:size]
	}
	n, err := f.r.Read(f.buf[f.wp:])
	f.wp += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// startStreaming makes the buffer as large as a busy stream wants it.
func (f *framing) startStreaming() {
	if len(f.buf) < framingBuffer {
		buf := make([]byte, framingBuffer)
		f.wp = copy(buf, f.buf[f.rp:f.wp])
		f.rp, f.buf = 0, buf
	}
}
