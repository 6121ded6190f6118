//go:build unix

package lakehouse

import (
	"time"

	"golang.org/x/sys/unix"
)

// processTime is the time that this process has spent on all processors.
func processTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
