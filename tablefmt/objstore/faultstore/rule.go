package faultstore

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Op names a call of a store, or of a reader or writer that it gave.
type Op string

// The calls that a rule can name.
const (
	OpGet         Op = "Get"
	OpOpen        Op = "Open"
	OpReadAt      Op = "ReadAt"
	OpStat        Op = "Stat"
	OpPutIfAbsent Op = "PutIfAbsent"
	OpPut         Op = "Put"
	OpCreate      Op = "Create"
	OpWrite       Op = "Write"
	OpClose       Op = "Close" // of a Writer
	OpList        Op = "List"  // its path is the prefix
	OpDelete      Op = "Delete"
)

// Action is what happens to a call that a rule hits.
type Action int

// The actions. After Delay and Hold the call goes on to the store.
const (
	// Fail does nothing to the store and gives the rule's error.
	Fail Action = iota
	// SucceedThenFail makes the call, and if it succeeds gives the rule's
	// error all the same: the answer was lost on the way. For calls that
	// write, the error wraps objstore.ErrUnknownOutcome.
	SucceedThenFail
	// FailUnknown does nothing to the store, but claims not to know: the
	// error wraps objstore.ErrUnknownOutcome. The request was lost.
	FailUnknown
	// Land gives what FailUnknown gives, and keeps the call until
	// Store.Land makes it: the request was slow, not lost. Only PutIfAbsent,
	// Put and Delete can be kept; others fail as FailUnknown does.
	Land
	// Delay waits for Rule.Wait, or until the context ends.
	Delay
	// Hold waits until Rule.Until is closed, or until the context ends.
	Hold
	// Short cuts a List after Rule.Entries objects: with Rule.Err it then
	// gives that, without it says nothing, as a broken proxy does.
	Short
)

// Rule says which calls fail, and how. Rules are looked at in their order;
// the first that hits decides.
type Rule struct {
	Op Op // the call; empty for every one
	// Path is a pattern of paths: * stands for anything but slashes, ** for
	// anything, ? for one byte that is not a slash. Empty for every path.
	Path string
	// Nth is the first matching call that is hit, counting from 1; 0 is 1.
	Nth int
	// Count is how many matching calls in a row are hit; 0 is 1, negative all.
	Count int
	Do    Action
	// Err is what a failing call gives (wrapped); nil for ErrInjected.
	Err error
	// Transient marks the error as one that objstore.Retryable says yes to.
	Transient bool
	// Blocked marks it as one that objstore.Blocked says yes to.
	Blocked bool
	Wait    time.Duration   // for Delay
	Until   <-chan struct{} // for Hold
	Entries int             // for Short
}

// ErrInjected is the error of a rule that names no other.
var ErrInjected = errors.New("injected fault")

func (r *Rule) check() error {
	switch {
	case r.Do < Fail || r.Do > Short:
		return fmt.Errorf("faultstore: the rule for %q has no known action (%d)", r.Op, r.Do)
	case r.Do == Hold && r.Until == nil:
		return fmt.Errorf("faultstore: the rule for %q holds calls for ever: it has no Until", r.Op)
	case r.Do == Short && r.Op != OpList:
		return fmt.Errorf("faultstore: Short is for %s, not for %q", OpList, r.Op)
	case r.Nth < 0 || r.Entries < 0 || r.Wait < 0:
		return fmt.Errorf("faultstore: the rule for %q has a negative number", r.Op)
	}
	return nil
}

func (r *Rule) matches(op Op, path string) bool {
	return (r.Op == "" || r.Op == op) && (r.Path == "" || match(r.Path, path))
}

// hits tells of the seen-th matching call, from 1.
func (r *Rule) hits(seen int) bool {
	n := seen - max(r.Nth, 1)
	return n >= 0 && (r.Count < 0 || n < max(r.Count, 1))
}

// match reports whether the whole path fits the pattern.
func match(pattern, path string) bool {
	for pattern != "" {
		switch {
		case strings.HasPrefix(pattern, "**"):
			rest := pattern[2:]
			for i := 0; i <= len(path); i++ {
				if match(rest, path[i:]) {
					return true
				}
			}
			return false
		case pattern[0] == '*':
			rest := pattern[1:]
			for i := 0; ; i++ {
				if match(rest, path[i:]) {
					return true
				}
				if i == len(path) || path[i] == '/' {
					return false
				}
			}
		case path == "" || pattern[0] != path[0] && (pattern[0] != '?' || path[0] == '/'):
			return false
		}
		pattern, path = pattern[1:], path[1:]
	}
	return path == ""
}
