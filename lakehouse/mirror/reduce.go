// Package mirror reduces a run of changes of one table to the last state of
// each key. It is pure: no store, no index, no clock. What it needs to know of
// the lake it asks for as expectations, which the caller checks against the
// key index, and as fills, which the caller reads.
package mirror

import (
	"encoding/binary"
	"fmt"

	"github.com/lakeload/lakeload/lakehouse/keyindex"
)

// Ref is the place of a row image among the batches being reduced.
type Ref struct{ Batch, Row int32 }

// Lake marks an image that is not in the batches but in the lake.
const lakeBatch = -1

// Entry is what became of one key. Entries are in the order of first touch.
type Entry struct {
	Hash keyindex.Hash
	// Final is the key's last image, meaningful if Image. Where the key is not
	// present any more it is the one that it had last, with its fills.
	Final Ref
	Image bool
	// Present says that the key exists after the changes.
	Present bool
	// Gone is the change by which the key went; meaningful if not Present.
	Gone Ref
	// ExpectPresent is what the first change of the key says of the lake: an
	// insert that the key is not there, any other change that it is.
	ExpectPresent bool
	any           bool // the first change says nothing of the lake
	filled        bool
}

// Fill is a value that an entry's final image lacks, because the source did
// not send what had not changed.
type Fill struct {
	Col int32
	// From is the image that has the value; if InLake, the value is in the
	// lake's row of the key Key, as it was before these changes.
	From   Ref
	InLake bool
	Key    keyindex.Hash
}

// Violation says that a change contradicts what was before it: something was
// lost or came twice. The table must not go on.
type Violation struct {
	Op      string // "insert", "update", "delete"
	Present bool   // whether the key was there
	Row     Ref    // the image; its Batch is -1 where only the key is known
}

func (v *Violation) Error() string {
	if v.Present {
		return fmt.Sprintf("an %s of a row that is there already", v.Op)
	}
	article := "a"
	if v.Op == "update" || v.Op == "insert" {
		article = "an"
	}
	return fmt.Sprintf("%s %s of a row that is not there", article, v.Op)
}

// Reducer collects changes. The zero value is ready; it is for one goroutine.
type Reducer struct {
	entries []Entry
	slots   []int32 // open addressing over entries, +1; length a power of two
	fills   map[int32][]Fill
}

// Reset forgets everything and keeps the memory.
func (r *Reducer) Reset() {
	r.entries = r.entries[:0]
	clear(r.slots)
	r.fills = nil
}

// Entries are the keys touched. They are valid until the next call.
func (r *Reducer) Entries() []Entry { return r.entries }

// Fills are the values that the final image of entry i lacks; mostly none.
func (r *Reducer) Fills(i int) []Fill {
	if !r.entries[i].filled {
		return nil
	}
	return r.fills[int32(i)]
}

// Insert takes the image of a new row.
func (r *Reducer) Insert(h keyindex.Hash, at Ref) error {
	i, fresh := r.entry(h)
	e := &r.entries[i]
	if !fresh && e.Present {
		return &Violation{Op: "insert", Present: true, Row: at}
	}
	if fresh {
		e.ExpectPresent = false
	}
	r.set(i, at, nil)
	return nil
}

// Update takes the new image of a row whose key did not change. unchanged
// lists the columns that the source did not send.
func (r *Reducer) Update(h keyindex.Hash, at Ref, unchanged []int32) error {
	i, fresh := r.entry(h)
	e := &r.entries[i]
	if !fresh && !e.Present {
		return &Violation{Op: "update", Row: at}
	}
	var fills []Fill
	if len(unchanged) > 0 {
		fills = r.fillFrom(i, fresh, unchanged)
	}
	if fresh {
		e.ExpectPresent = true
	}
	r.set(i, at, fills)
	return nil
}

// Move takes the new image of a row whose key changed from before to after.
func (r *Reducer) Move(before, after keyindex.Hash, at Ref, unchanged []int32) error {
	if before == after {
		return r.Update(after, at, unchanged)
	}
	i, fresh := r.entry(before)
	if !fresh && !r.entries[i].Present {
		return &Violation{Op: "update", Row: at}
	}
	var fills []Fill
	if len(unchanged) > 0 {
		fills = r.fillFrom(i, fresh, unchanged)
	}
	if fresh {
		r.entries[i].ExpectPresent = true
	}
	r.unset(i, at)
	j, fresh := r.entry(after)
	if !fresh && r.entries[j].Present {
		return &Violation{Op: "update", Present: true, Row: at}
	}
	if fresh {
		r.entries[j].ExpectPresent = false
	}
	r.set(j, at, fills)
	return nil
}

// Delete takes the key of a row that is gone.
func (r *Reducer) Delete(h keyindex.Hash, at Ref) error {
	i, fresh := r.entry(h)
	if !fresh && !r.entries[i].Present {
		return &Violation{Op: "delete", Row: at}
	}
	if fresh {
		r.entries[i].ExpectPresent = true
	}
	r.unset(i, at)
	return nil
}

// Put takes an image that stands in place of whatever has its key.
func (r *Reducer) Put(h keyindex.Hash, at Ref) {
	i, fresh := r.entry(h)
	r.entries[i].any = r.entries[i].any || fresh
	r.set(i, at, nil)
}

// Drop takes a key of which there is no row any more, whether there was one or
// not; at is the change that says so.
func (r *Reducer) Drop(h keyindex.Hash, at Ref) {
	i, fresh := r.entry(h)
	r.entries[i].any = r.entries[i].any || fresh
	r.unset(i, at)
}

// Check compares what the first changes expected with what the lake holds:
// found(i) for the key of entry i.
func (r *Reducer) Check(found func(i int) bool) error {
	for i := range r.entries {
		e := &r.entries[i]
		if has := found(i); has != e.ExpectPresent && !e.any {
			op := "update"
			if !e.ExpectPresent {
				op = "insert"
			} else if !e.Present {
				op = "delete"
			}
			v := &Violation{Op: op, Present: has, Row: e.Final}
			if !e.Present {
				v.Row.Batch = lakeBatch
			}
			return v
		}
	}
	return nil
}

func (r *Reducer) set(i int, at Ref, fills []Fill) {
	e := &r.entries[i]
	e.Present, e.Image, e.Final = true, true, at
	if e.filled {
		delete(r.fills, int32(i))
	}
	e.filled = len(fills) > 0
	if e.filled {
		if r.fills == nil {
			r.fills = map[int32][]Fill{}
		}
		r.fills[int32(i)] = fills
	}
}

func (r *Reducer) unset(i int, at Ref) {
	e := &r.entries[i]
	e.Present, e.Gone = false, at
}

// fillFrom says where the columns' values are in the image that entry i has
// now: its last image, what that one lacks in turn, or the lake's row.
func (r *Reducer) fillFrom(i int, fresh bool, columns []int32) []Fill {
	e := &r.entries[i]
	fills := make([]Fill, 0, len(columns))
	var older []Fill
	if e.filled {
		older = r.fills[int32(i)]
	}
next:
	for _, c := range columns {
		if fresh {
			fills = append(fills, Fill{Col: c, InLake: true, Key: e.Hash})
			continue
		}
		for _, f := range older {
			if f.Col == c {
				fills = append(fills, f)
				continue next
			}
		}
		fills = append(fills, Fill{Col: c, From: e.Final})
	}
	return fills
}

// entry finds or makes the entry of a key. A fresh one is neither present nor
// expected yet.
func (r *Reducer) entry(h keyindex.Hash) (i int, fresh bool) {
	if 4*(len(r.entries)+1) > 3*len(r.slots) {
		r.grow()
	}
	mask := uint64(len(r.slots) - 1)
	for p := slot(h) & mask; ; p = (p + 1) & mask {
		n := r.slots[p]
		if n == 0 {
			r.entries = append(r.entries, Entry{Hash: h})
			r.slots[p] = int32(len(r.entries))
			return len(r.entries) - 1, true
		}
		if r.entries[n-1].Hash == h {
			return int(n - 1), false
		}
	}
}

func (r *Reducer) grow() {
	size := 2 * len(r.slots)
	if size == 0 {
		size = 64
	}
	r.slots = make([]int32, size)
	mask := uint64(size - 1)
	for i := range r.entries {
		p := slot(r.entries[i].Hash) & mask
		for r.slots[p] != 0 {
			p = (p + 1) & mask
		}
		r.slots[p] = int32(i + 1)
	}
}

// slot takes other bits than the index's partitions do.
func slot(h keyindex.Hash) uint64 { return binary.LittleEndian.Uint64(h[8:]) }
