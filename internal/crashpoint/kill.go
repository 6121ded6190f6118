package crashpoint

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// EnvVar is the environment variable that FromEnv reads: a point's name, and
// after a colon the number of the hit at which to crash; without it, 1. With
// ":hang" or ":stop" after the number the process does not crash: see Hang and
// Stop.
const EnvVar = "LAKELOAD_CRASHPOINT"

// all is in the order in which one flush passes the points.
var all = []Point{
	SlotCreating, SlotCreated, SlotReady,
	CopyRangeStaged, CopyRangeLogged, CopyBeforeSwap, CopyAfterSwap, CopyClearing,
	ChunkReceived, FlushBegin, DataFileWritten, VectorsWritten, BeforeCommit, AfterCommit,
	IndexCommitted, TablesCommitted, EpochCommitted, Acknowledged,
	IdleBefore, IdleAfter,
	CheckpointBefore, CheckpointAfter,
	StoreTempWritten, StoreSynced, StoreLinked,
}

// All gives every point, in the order in which they are declared. The caller
// owns the slice.
func All() []Point { return slices.Clone(all) }

// Kill arranges that the nth time (from 1) that the process passes p, it dies
// at once, by SIGKILL where there is one: no deferred call runs, no buffer is
// flushed, no connection is closed. It replaces the hook that Set installed.
func Kill(p Point, nth int) error {
	if !slices.Contains(all, p) {
		return fmt.Errorf("arranging a crash: there is no crash point %q; there are %s", p, names())
	}
	if nth < 1 {
		return fmt.Errorf("arranging a crash at %s: the hit is counted from 1, not %d", p, nth)
	}
	Set(countdown(p, nth, die))
	return nil
}

// Hang arranges that from the nth time (from 1) on nothing that passes p ever
// gets past it, as if the store had ceased to answer there. It replaces the
// hook that Set installed.
func Hang(p Point, nth int) error {
	if !slices.Contains(all, p) || nth < 1 {
		return fmt.Errorf("arranging a hang: there is no hit %d of a crash point %q; there are %s", nth, p, names())
	}
	var hits atomic.Int64
	Set(func(at Point) {
		if at == p && hits.Add(1) >= int64(nth) {
			select {}
		}
	})
	return nil
}

// Stop arranges that the nth time (from 1) that the process passes p it is
// stopped, as by SIGSTOP, until somebody lets it go on (SIGCONT). It replaces the
// hook that Set installed.
func Stop(p Point, nth int) error {
	if !slices.Contains(all, p) || nth < 1 {
		return fmt.Errorf("arranging a stop: there is no hit %d of a crash point %q; there are %s", nth, p, names())
	}
	if !canStop {
		return errors.New("arranging a stop: this system cannot stop a process")
	}
	Set(countdown(p, nth, stop))
	return nil
}

// countdown gives a hook that calls f at the nth hit of p.
func countdown(p Point, nth int, f func()) func(Point) {
	var hits atomic.Int64
	return func(at Point) {
		if at == p && hits.Add(1) == int64(nth) {
			f()
		}
	}
}

func die() {
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill() // if it fails we go on to the next line
	}
	// The signal may take a moment: nothing after the point may run.
	select {}
}

// FromEnv calls Kill, Hang or Stop with what EnvVar says, and does nothing where it is not
// set. Only programs made for testing, and the demo, call it.
func FromEnv() error {
	text := os.Getenv(EnvVar)
	if text == "" {
		return nil
	}
	arrange := Kill
	plain, hang := strings.CutSuffix(text, ":hang")
	if hang {
		arrange = Hang
	}
	plain, stopped := strings.CutSuffix(plain, ":stop")
	if stopped {
		arrange = Stop
	}
	name, number, found := strings.Cut(plain, ":")
	nth := 1
	if found {
		var err error
		if nth, err = strconv.Atoi(number); err != nil {
			return fmt.Errorf("reading %s=%q: after the colon has to be a number, as in %s:3", EnvVar, text, name)
		}
	}
	if err := arrange(Point(name), nth); err != nil {
		return fmt.Errorf("reading %s=%q: %w", EnvVar, text, err)
	}
	return nil
}

func names() string {
	s := make([]string, len(all))
	for i, p := range all {
		s[i] = string(p)
	}
	return strings.Join(s, ", ")
}
