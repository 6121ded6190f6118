// Command pebble measures the key index of package keyindex beside pebble, in
// one run on one machine, over the same batches and with the same memory. It is
// a module of its own, so that the program does not depend on pebble:
//
//	cd bench/pebble && go run . -keys 20000000
//
// Each side runs in a process of its own, whose memory and CPU time are told.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/lakeload/lakeload/lakehouse/keyindex"
)

// store is what is measured: where keys are.
type store interface {
	// load puts keys that are new, at places in the first file.
	load(ctx context.Context, entries []keyindex.Entry) error
	// loaded is called once after them: what is due is done before it returns.
	loaded(ctx context.Context) error
	// batch looks the entries' keys up, and replaces their places.
	batch(ctx context.Context, hashes []keyindex.Hash, found []keyindex.Loc, entries []keyindex.Entry, n int) error
	// settle waits until there is nothing to do in the background.
	settle(ctx context.Context) error
	close() error
}

type settings struct {
	Keys    uint64
	Batches int
	Size    int
	Memory  int64
	Dir     string
}

// result is a side's figures.
type result struct {
	Load, LoadCPU time.Duration
	CPU, Wall     time.Duration
	P50, P99, Max time.Duration
	Changes       int
	RSS           int64
	Disk          int64
	Keys          uint64
	Reopen        time.Duration
}

var sides = map[string]func(ctx context.Context, s settings, dir string) (store, error){"lakeload": openIndex, "pebble": openPebble}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench/pebble:", err)
		os.Exit(1)
	}
}

func run() error {
	var s settings
	flag.Uint64Var(&s.Keys, "keys", 20_000_000, "keys that are there before the first batch")
	flag.IntVar(&s.Batches, "batches", 2000, "batches that are measured")
	flag.IntVar(&s.Size, "size", 20_000, "changes of a batch: half of them new keys, half old ones at random")
	memory := flag.Int64("memory", 128, "memory of the index, and of pebble's block cache, in MiB")
	only := flag.String("only", "", "one side alone: lakeload or pebble")
	flag.StringVar(&s.Dir, "dir", os.TempDir(), "where the data lies meanwhile")
	side := flag.String("side", "", "for the program's own use: the side that this process is")
	flag.Parse()
	s.Memory = *memory << 20
	ctx := context.Background()
	if *side != "" {
		r, err := measure(ctx, s, sides[*side])
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	fmt.Printf("%d keys, %d batches of %d changes, %d MiB, %d processors, %s\n\n", s.Keys, s.Batches, s.Size, *memory, runtime.GOMAXPROCS(0), runtime.Version())
	fmt.Println("| | loaded in | of CPU | changes a second | changes a CPU second | p50 | p99 | most | most memory | bytes a key | opened in |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|")
	for _, name := range []string{"lakeload", "pebble"} {
		if *only != "" && *only != name {
			continue
		}
		r, err := child(name)
		if err != nil {
			return fmt.Errorf("measuring %s: %w", name, err)
		}
		ms := func(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d.Microseconds())/1000) }
		fmt.Printf("| %s | %.0f s | %.0f s | %.0f | **%.0f** | %s | %s | %s | %d MiB | %.1f | %s |\n", name, r.Load.Seconds(), r.LoadCPU.Seconds(),
			float64(r.Changes)/r.Wall.Seconds(), float64(r.Changes)/r.CPU.Seconds(), ms(r.P50), ms(r.P99), ms(r.Max), r.RSS>>20,
			float64(r.Disk)/float64(r.Keys), ms(r.Reopen))
	}
	return nil
}

// child measures a side in a process of its own.
func child(name string) (*result, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, append(slices.Clone(os.Args[1:]), "-side", name)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var r result
	return &r, json.Unmarshal(out, &r)
}

func measure(ctx context.Context, s settings, open func(context.Context, settings, string) (store, error)) (r *result, err error) {
	dir, err := os.MkdirTemp(s.Dir, "bench-index")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	st, err := open(ctx, s, dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if st != nil {
			err = errors.Join(err, st.close())
		}
	}()
	r = &result{}
	begun, cpu := time.Now(), usage().cpu
	if err := load(ctx, st, s); err != nil {
		return nil, err
	}
	r.Load, r.LoadCPU = time.Since(begun), usage().cpu-cpu
	debug.FreeOSMemory()
	if err := batches(ctx, st, s, r); err != nil {
		return nil, err
	}
	r.RSS = usage().rss
	if err := st.settle(ctx); err != nil {
		return nil, err
	}
	if r.Disk, err = size(dir); err != nil {
		return nil, err
	}
	if err := st.close(); err != nil {
		return nil, err
	}
	begun = time.Now()
	st, err = open(ctx, s, dir)
	r.Reopen = time.Since(begun)
	return r, err
}

func load(ctx context.Context, st store, s settings) error {
	entries := make([]keyindex.Entry, 0, 10_000)
	for k := range s.Keys {
		entries = append(entries, keyindex.Entry{Hash: hash(k), Loc: keyindex.Loc{File: 1, Row: uint32(k)}})
		if len(entries) == cap(entries) || k == s.Keys-1 {
			if err := st.load(ctx, entries); err != nil {
				return err
			}
			entries = entries[:0]
		}
	}
	return st.loaded(ctx)
}

func batches(ctx context.Context, st store, s settings, r *result) error {
	rng := rand.New(rand.NewPCG(1, 2))
	hashes, found, entries := make([]keyindex.Hash, s.Size), make([]keyindex.Loc, s.Size), make([]keyindex.Entry, s.Size)
	next := s.Keys
	took := make([]time.Duration, 0, s.Batches)
	cpu := usage().cpu
	for n := range s.Batches {
		c := usage().cpu
		before := next
		for i := range entries {
			k := rng.Uint64N(before)
			if i%2 == 0 {
				k = next
				next++
			}
			hashes[i] = hash(k)
			entries[i] = keyindex.Entry{Hash: hashes[i], Loc: keyindex.Loc{File: keyindex.FileID(n + 2), Row: uint32(i)}}
		}
		cpu += usage().cpu - c // the making of the batch is not theirs
		begun := time.Now()
		if err := st.batch(ctx, hashes, found, entries, n); err != nil {
			return err
		}
		took = append(took, time.Since(begun))
		r.Wall += took[n]
		for i := range found {
			if there := found[i].File != keyindex.NoFile; there != (i%2 == 1) {
				return fmt.Errorf("batch %d: key %d: found is %v", n, i, there)
			}
		}
	}
	r.CPU, r.Changes, r.Keys = usage().cpu-cpu, s.Batches*s.Size, next
	slices.Sort(took)
	r.P50, r.P99, r.Max = took[len(took)/2], took[len(took)*99/100], took[len(took)-1]
	return nil
}

// hash is that of a key, evenly spread and cheap to make.
func hash(n uint64) (h keyindex.Hash) {
	for i := range 2 {
		x := n + uint64(i)<<40 + 0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		x ^= x >> 31
		for b := range 8 {
			h[8*i+b] = byte(x >> (8 * b))
		}
	}
	return h
}

type used struct {
	cpu time.Duration
	rss int64
}

// usage is what the process has used: CPU time, and the most memory.
func usage() used {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return used{time.Duration(u.Utime.Nano() + u.Stime.Nano()), u.Maxrss << 10}
}

func size(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasSuffix(path, "LOCK") {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}
