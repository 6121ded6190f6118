//go:build !linux

package postgres

import "net"

// socket does and knows nothing here: see socket_linux.go.
type socket struct{}

func newSocket(net.Conn) socket { return socket{} }

func (socket) wakeAt(int) {}

func (socket) unheard() (times, unread int) { return 0, 0 }
