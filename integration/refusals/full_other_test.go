//go:build unix && !linux

package refusals

import "testing"

func full(t *testing.T, _ string) {
	t.Helper()
	t.Skip("left out: a disk that is full: it is made on Linux alone")
}
