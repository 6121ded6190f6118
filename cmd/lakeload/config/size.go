package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// units of sizes. 1 kB is 1000 bytes, 1 KiB is 1024.
var units = []struct {
	name  string
	bytes float64
}{
	{"kib", 1 << 10},
	{"mib", 1 << 20},
	{"gib", 1 << 30},
	{"tib", 1 << 40},
	{"kb", 1e3},
	{"mb", 1e6},
	{"gb", 1e9},
	{"tb", 1e12},
	{"b", 1},
}

// ParseSize reads a number of bytes: 1048576, 512MiB, 1.5GB.
func ParseSize(s string) (int64, error) {
	number, unit := strings.ToLower(strings.TrimSpace(s)), 1.0
	for _, u := range units {
		if rest, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	v *= unit
	if err != nil || math.IsNaN(v) || v < 1 || v >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is not a size such as 512MiB, 2GiB or 1048576", s)
	}
	return int64(v), nil
}
