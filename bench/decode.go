package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// decode measures the decoder of the replication stream on messages of a real
// server, 12 columns and about 230 bytes in binary: lakeload builds the columns
// of a batch, the peer only parses the messages. Both on one processor, by the
// processor's time.
func decode(ctx context.Context, b *bench) ([]pair, error) {
	var pairs []pair
	for range b.rounds {
		cmd := exec.CommandContext(ctx, "go", "test", "./cdc/postgres", "-run", "-", "-bench", "BenchmarkCaptured", "-benchtime", "2s", "-cpu", "1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
		}
		rates, err := captured(string(out))
		if err != nil {
			return nil, fmt.Errorf("%w in:\n%s", err, out)
		}
		for _, form := range []string{"binary", "text"} {
			pairs = append(pairs, pair{perCPU(rates[form+"/lakeload"]), perCPU(rates[form+"/pglogrepl"])})
		}
	}
	return pairs, nil
}

// perCPU is the cost of a million rows.
func perCPU(rate float64) cost {
	took := time.Duration(1e6 / rate * float64(time.Second))
	return cost{rows: 1e6, wall: took, cpu: took}
}

// captured reads the rows a CPU second of each benchmark.
func captured(out string) (map[string]float64, error) {
	rates := map[string]float64{}
	lines := bufio.NewScanner(strings.NewReader(out))
	for lines.Scan() {
		name, rest, ok := strings.Cut(strings.TrimPrefix(lines.Text(), "BenchmarkCaptured/"), " ")
		if !ok || !strings.HasPrefix(lines.Text(), "BenchmarkCaptured/") {
			continue
		}
		name, _, _ = strings.Cut(strings.TrimSpace(name), "-")
		f := strings.Fields(rest)
		for i := range f {
			if f[i] == "Mrows/cpu-s" {
				rate, err := strconv.ParseFloat(f[i-1], 64)
				if err != nil {
					return nil, fmt.Errorf("reading a rate: %w", err)
				}
				rates[name] = rate * 1e6
			}
		}
	}
	if len(rates) != 4 {
		return nil, errors.New("no four rates (is PostgreSQL on the machine?)")
	}
	return rates, nil
}
