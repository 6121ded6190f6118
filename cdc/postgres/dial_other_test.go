//go:build !linux

package postgres

import (
	"net"
	"testing"
)

func keepaliveIsOn(*testing.T, *net.TCPConn) {}
