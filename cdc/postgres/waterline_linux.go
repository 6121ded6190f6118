package postgres

import (
	"crypto/tls"
	"net"
	"syscall"
)

// waterline says how much has to lie in a socket before the system wakes us
// for it. The runtime's poller is woken for every packet otherwise, whether
// somebody wants to read just then or not.
type waterline struct{ raw syscall.RawConn }

// newWaterline gives one that does nothing where there is no socket.
func newWaterline(conn net.Conn) waterline {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if s, ok := conn.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			return waterline{raw}
		}
	}
	return waterline{}
}

// set sets it, in bytes. Where it cannot be set we are woken more often.
func (w waterline) set(n int) {
	if w.raw != nil {
		_ = w.raw.Control(func(fd uintptr) {
			_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, n)
		})
	}
}
