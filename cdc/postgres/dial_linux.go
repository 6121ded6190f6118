package postgres

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// limitUnanswered bounds how long what we have sent may stay without an
// answer of the peer's system: keepalive probes are not sent meanwhile.
func limitUnanswered(network, _ string, c syscall.RawConn) error {
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return nil
	}
	var inner error
	err := c.Control(func(fd uintptr) {
		inner = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadPeer.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return inner
}
