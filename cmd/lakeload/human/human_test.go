package human

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567", 100000: "100,000", -100: "-100"} {
		require.Equal(t, want, Count(n))
	}
	require.Equal(t, "1 file", Plural(1, "file"))
	require.Equal(t, "2,000 files", Plural(2000, "file"))
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 3 << 19: "1.5 MiB", 5 << 40: "5.0 TiB", 1 << 62: "4096.0 PiB"} {
		require.Equal(t, want, Bytes(n))
	}
	require.Equal(t, "0.25 s", Seconds(250*time.Millisecond))
	require.Equal(t, "12 s", Seconds(12*time.Second))
}
