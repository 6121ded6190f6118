//go:build unix

package pgserver

import (
	"os"
	"syscall"
)

// signal tells the server to end, in PostgreSQL's own signals.
func signal(p *os.Process, how ending) {
	switch how {
	case fast:
		_ = p.Signal(syscall.SIGINT)
	case immediate:
		_ = p.Signal(syscall.SIGQUIT)
	default:
		// The whole group: it has its own, so that a terminal's Ctrl-C does not reach it before us.
		_ = syscall.Kill(-p.Pid, syscall.SIGKILL)
	}
}
