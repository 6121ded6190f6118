package postgres

import (
	"crypto/tls"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is what the operating system knows of a connection, and is told.
type socket struct{ raw syscall.RawConn }

// newSocket gives one that does and knows nothing where there is no socket.
func newSocket(conn net.Conn) socket {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if s, ok := conn.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			return socket{raw}
		}
	}
	return socket{}
}

// wakeAt sets how much has to have arrived, in bytes, before the system wakes
// us for it. The runtime's poller is woken for every packet otherwise, whether
// somebody wants to read just then or not; where it cannot be set we are woken
// more often.
func (s socket) wakeAt(n int) {
	if s.raw != nil {
		_ = s.raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, n)
		})
	}
}

// unheard is how often in a row what we have sent was sent again, because the
// peer's system has not confirmed it; unread, how much has arrived and waits
// to be read, in bytes.
func (s socket) unheard() (times, unread int) {
	if s.raw != nil {
		_ = s.raw.Control(func(fd uintptr) {
			if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
				times = int(info.Retransmits)
			}
			unread, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ)
		})
	}
	return times, unread
}
