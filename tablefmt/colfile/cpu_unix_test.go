//go:build unix

package colfile

import (
	"syscall"
	"time"
)

// cpuTime is what this process has used of the CPUs, which a busy machine
// distorts less than the clock.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
