//go:build unix

package crashpoint

import (
	"syscall"
	"time"
)

const canStop = true

// stopTakes is longer than the signal needs to reach all threads: nothing after
// the point runs before the process is stopped.
const stopTakes = 100 * time.Millisecond

func stop() {
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGSTOP) // we may signal ourselves
	time.Sleep(stopTakes)
}
