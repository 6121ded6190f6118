//go:build !unix

package postgres

import "time"

// cpuTime is not told here.
func cpuTime() time.Duration { return 0 }
