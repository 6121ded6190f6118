//go:build !unix

package keyindex

import "time"

var started = time.Now()

// cpuTime is the time that has passed: the next best thing.
func cpuTime() time.Duration { return time.Since(started) }
