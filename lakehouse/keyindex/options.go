package keyindex

import (
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
)

// Options say where an index on the disk is and what it may use.
type Options struct {
	// Dir is the index's folder; one index a folder, which holds nothing
	// else. It is created if need be. Required.
	Dir string

	// Memory is the budget in bytes for the tables, buffers and filters of
	// this index; 0 means DefaultMemory. While all keys fit into three
	// quarters of it (about 31 bytes a key) they are kept in memory and
	// lookups do not touch the disk; past it lookups read runs. Beside the
	// budget there are 0.1 bytes a key for the runs' block index, the paths
	// of the data files, and some hundred KiB of I/O buffers.
	Memory int64

	// Partitions is into how many parts the hashes are divided, each merged
	// on its own: a power of two, at most 256; 0 means DefaultPartitions. It
	// is fixed when an index is created: Open takes it from the disk.
	Partitions int

	// Sync makes Commit wait until the change is on the disk. Without it a
	// change survives the end of the process, but not surely the end of the
	// machine: then the index is at an older stamp, or unfit, never wrong.
	Sync bool

	// Logger is told of merges and of damage; nil means nobody is.
	Logger *slog.Logger

	// step is called by tests between any two steps on the disk.
	step func(what string)
}

const (
	// DefaultMemory is the budget of an index that is given none: 64 MiB.
	DefaultMemory = 64 << 20

	// DefaultPartitions is the number of partitions of an index that is
	// given none.
	DefaultPartitions = 16

	maxPartitions = 256
	minMemory     = 64 << 10
)

// Validate lists all that is wrong with the options; zero values are right
// where a default is documented. A budget of less than 64 KiB is taken as 64
// KiB.
func (o Options) Validate() error {
	var errs []error
	if o.Dir == "" {
		errs = append(errs, errors.New("key index options: Dir is empty"))
	}
	if o.Memory < 0 {
		errs = append(errs, fmt.Errorf("key index options: Memory is %d, less than nothing", o.Memory))
	}
	if p := o.Partitions; p < 0 || p > maxPartitions || bits.OnesCount(uint(p)) > 1 {
		errs = append(errs, fmt.Errorf("key index options: Partitions is %d, not a power of two up to %d", p, maxPartitions))
	}
	return errors.Join(errs...)
}

func (o Options) withDefaults() Options {
	if o.Memory == 0 {
		o.Memory = DefaultMemory
	}
	o.Memory = max(o.Memory, minMemory)
	if o.Partitions == 0 {
		o.Partitions = DefaultPartitions
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.step == nil {
		o.step = func(string) {}
	}
	return o
}

// budget is how many bytes an index may take. Its shares: in memory 3/4 keys,
// 1/8 a change, the rest slack; in runs 1/8 a change, 1/4 the table that commits
// go to, as much again while the previous one is being written, 1/4 filters.
type budget int64

func (b budget) keysBytes() int64   { return int64(b) / 4 * 3 }
func (b budget) filterBytes() int64 { return int64(b) / 4 }

// changeKeys is how many entries a change holds before it spills: no more
// than fit into a processor's cache, as a larger table is slower to fill than
// its spilled parts are to merge.
func (b budget) changeKeys() int { return min(clampKeys(int64(b)/8), 256<<10) }

// memtableKeys is how many entries the table of recent commits holds before
// it is written to a run.
func (b budget) memtableKeys() int { return clampKeys(int64(b) / 4) }

// clampKeys is how many keys fit into a table that doubles when it is full,
// the old half still there.
func clampKeys(b int64) int { return int(min(max(b/64, 256), 2<<20)) }

// journalBytes is what the journal may grow to in memory mode before the
// table is written out, if the table is not larger.
func (b budget) journalBytes() int64 { return min(16<<20, int64(b)) }

// MemoryFor is the budget with which an index of so many keys keeps them in
// memory, with room for some more.
func MemoryFor(keys int64) int64 {
	room := min(256*keys, 96<<10) + min(12*keys, 1<<20) // in shards that are not full
	return max((keys*bytesPerKey+room)/3*4, minMemory)
}

// ioBytes is the size of a sequential read or write.
func (o *Options) ioBytes() int {
	if o.Memory < 8<<20 {
		return 16 << 10
	}
	return 128 << 10
}
