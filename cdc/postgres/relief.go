package postgres

import (
	"io"
	"time"
)

const (
	// reliefEvery is how often an inbox that is held up looks whether the server
	// still gets what we send.
	reliefEvery = 100 * time.Millisecond
	// reliefStep is how much is read then if it does not, reliefMost how much is
	// kept in this way: more than a socket's buffer has to be emptied by until it
	// takes data again, which was 8 MiB of 32.
	reliefStep = 1 << 20
	reliefMost = 16 << 20
	// reliefUnheard is how often our message has to have been sent again in vain,
	// and reliefUnread what has to lie in the socket: in this state there are
	// megabytes, and no read waits for the rest of a TLS record.
	reliefUnheard = 2
	reliefUnread  = 64 << 10
)

// relief is the reader of a connection that is not read for long, so that the
// server is held up. On Linux that can cut off the other direction, too. A full
// receive buffer has the kernel drop a packet that its window had allowed, and
// close the window; the server's confirmations then carry the position behind
// that packet, by less than the window's scale too far, and are dropped in turn
// (TcpExtBeyondWindow). So the kernel takes what we send for lost, sends its
// oldest part again and again, and none of what follows: the server hears no
// status any more, and ends the stream after wal_sender_timeout. All that helps
// is to read until the window opens. What is read meanwhile is kept here, and
// given first.
type relief struct {
	r      io.Reader
	socket interface{ unheard() (times, unread int) }

	held [][]byte
	size int   // of held
	err  error // what came after it
}

// step reads one if the server does not hear us.
func (l *relief) step() {
	for n := 0; n < reliefStep && l.deaf() && l.err == nil; {
		b := make([]byte, min(reliefStep, reliefMost-l.size))
		var k int
		k, l.err = l.r.Read(b)
		if k == 0 {
			return
		}
		if k < len(b)/2 { // TLS gives a record at a time
			b = append([]byte(nil), b[:k]...)
		}
		l.held = append(l.held, b[:k])
		l.size += k
		n += k
	}
}

// deaf is whether to read: the server hears nothing, and there is room.
func (l *relief) deaf() bool {
	times, unread := l.socket.unheard()
	return times >= reliefUnheard && unread >= reliefUnread && l.size < reliefMost
}

// Read gives what is kept before anything else.
func (l *relief) Read(p []byte) (int, error) {
	if len(l.held) == 0 {
		if l.err != nil {
			return 0, l.err
		}
		return l.r.Read(p)
	}
	n := copy(p, l.held[0])
	l.size -= n
	if l.held[0] = l.held[0][n:]; len(l.held[0]) == 0 {
		l.held = l.held[1:]
	}
	return n, nil
}
