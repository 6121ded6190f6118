//go:build !linux

package postgres

import "net"

// waterline does nothing here: see waterline_linux.go.
type waterline struct{}

func newWaterline(net.Conn) waterline { return waterline{} }

func (waterline) set(int) {}
