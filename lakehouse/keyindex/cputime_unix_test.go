//go:build unix

package keyindex

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is the time that this process has spent on all processors.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakRSS is the most memory, in bytes, that the process has had.
func peakRSS() (int64, error) {
	var u unix.Rusage
	err := unix.Getrusage(unix.RUSAGE_SELF, &u)
	return u.Maxrss << 10, err
}
