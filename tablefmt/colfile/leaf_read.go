package colfile

import (
	"bytes"
	"fmt"

	"github.com/parquet-go/parquet-go/format"
)

// leafReader reads rows of one leaf in one row group, in order.
type leafReader struct {
	leaf  *readLeaf
	pages pageStream
	out   dense // the batch so far

	// Levels of a repeated column that were decoded and not used: where a
	// row ends is known only from the level after it.
	pendDefs, pendReps []uint8
	levelBuf           *[2][levelChunk]uint8 // nil: none was decoded yet
}

const levelChunk = 512

// start positions the reader at the first row of a row group.
func (r *leafReader) start(f *File, m *format.ColumnMetaData, window int) {
	buf := r.pages.src.buf
	raw, values := r.pages.raw, r.pages.values
	start, end := chunkRange(m)
	r.pages = pageStream{leaf: r.leaf, codec: m.Codec, raw: raw, values: values}
	r.pages.src = chunkSource{f: f, off: start, end: end, buf: buf, step: window}
	r.pendDefs, r.pendReps = nil, nil
}

// open makes sure that a page with levels left is open; false at the end.
func (r *leafReader) open() (bool, error) {
	for r.pages.left == 0 {
		h, ok, err := r.pages.nextHeader()
		if err != nil || !ok {
			return false, err
		}
		if err := r.pages.openPage(&h); err != nil {
			return false, err
		}
	}
	return true, nil
}

// read appends the next n rows to the batch.
func (r *leafReader) read(n int) error {
	if r.leaf.maxRep > 0 {
		return r.readNested(n, &r.out)
	}
	return r.readFlat(n, &r.out)
}

func (r *leafReader) readFlat(n int, out *dense) error {
	for n > 0 {
		ok, err := r.open()
		if err != nil {
			return err
		}
		if !ok {
			return corruptf("%d rows are missing", n)
		}
		k := min(n, r.pages.left)
		present := k
		if r.leaf.maxDef > 0 {
			at := len(out.defs)
			out.defs = growBytes(out.defs, k)
			defs := out.defs[at:]
			if !hybridRead(&r.pages.defs, defs) {
				return corruptf("definition levels end early")
			}
			if present, err = r.present(defs); err != nil {
				return err
			}
		}
		if err := r.pages.values.take(out, present); err != nil {
			return err
		}
		out.levels += k
		r.pages.left -= k
		n -= k
	}
	return nil
}

// present counts the levels of values that are there.
func (r *leafReader) present(defs []uint8) (int, error) {
	limit := r.leaf.maxDef
	if limit&(limit+1) != 0 { // levels have bits for more than the limit
		for _, d := range defs {
			if d > limit {
				return 0, corruptf("definition level %d of %d", d, limit)
			}
		}
	}
	return bytes.Count(defs, []byte{limit}), nil
}

// readNested takes levels until n rows are complete, that is until the level
// that begins the row after them, or the end of the chunk.
func (r *leafReader) readNested(n int, out *dense) error {
	rows := 0
	for {
		if len(r.pendReps) == 0 {
			ok, err := r.decodeLevels()
			if err != nil {
				return err
			}
			if !ok {
				if rows < n {
					return corruptf("%d rows are missing", n-rows)
				}
				return nil
			}
		}
		k := 0
		for ; k < len(r.pendReps); k++ {
			if rep := r.pendReps[k]; rep == 0 {
				if rows == n {
					break
				}
				rows++
			} else if rows == 0 || rep > r.leaf.maxRep {
				return corruptf("repetition level %d at the start of a row, or above %d", rep, r.leaf.maxRep)
			}
		}
		present, err := r.present(r.pendDefs[:k])
		if err != nil {
			return err
		}
		if err := r.pages.values.take(out, present); err != nil {
			return err
		}
		out.defs = append(out.defs, r.pendDefs[:k]...)
		out.reps = append(out.reps, r.pendReps[:k]...)
		out.levels += k
		r.pendDefs, r.pendReps = r.pendDefs[k:], r.pendReps[k:]
		if len(r.pendReps) > 0 {
			return nil
		}
	}
}

// decodeLevels decodes some levels of the open or the next page.
func (r *leafReader) decodeLevels() (ok bool, err error) {
	if ok, err = r.open(); err != nil || !ok {
		return false, err
	}
	k := min(levelChunk, r.pages.left)
	if r.levelBuf == nil {
		r.levelBuf = new([2][levelChunk]uint8)
	}
	r.pendReps, r.pendDefs = r.levelBuf[0][:k], r.levelBuf[1][:k]
	if !hybridRead(&r.pages.reps, r.pendReps) || !hybridRead(&r.pages.defs, r.pendDefs) {
		return false, corruptf("levels end early")
	}
	r.pages.left -= k
	return true, nil
}

// skip passes n rows, whole pages of a flat column without decoding them.
func (r *leafReader) skip(n int64) error {
	var waste dense
	for n > 0 {
		if r.leaf.maxRep == 0 && r.pages.left == 0 {
			h, ok, err := r.pages.nextHeader()
			if err != nil {
				return err
			}
			if !ok {
				return corruptf("%d rows are missing", n)
			}
			if int64(h.values) <= n {
				r.pages.src.skip(int(h.stored))
				n -= int64(h.values)
				continue
			}
			if err := r.pages.openPage(&h); err != nil {
				return err
			}
		}
		var err error
		k := min(n, levelChunk)
		if r.leaf.maxRep > 0 {
			err = r.readNested(int(k), &waste)
		} else {
			k = min(k, int64(r.pages.left))
			err = r.readFlat(int(k), &waste)
		}
		if err != nil {
			return err
		}
		waste = dense{fixed: waste.fixed[:0], offsets: waste.offsets[:0], data: waste.data[:0], defs: waste.defs[:0], reps: waste.reps[:0]}
		n -= k
	}
	return nil
}

// skip passes n bytes that header has said are there.
func (s *chunkSource) skip(n int) {
	if n <= len(s.win) {
		s.win = s.win[n:]
		return
	}
	s.off += int64(n - len(s.win))
	s.win = nil
}

// reset gives the batch away and begins the next, if there is one, expecting its
// size again.
func (r *leafReader) reset(more bool) {
	o := &r.out
	if !more {
		*o = dense{}
		return
	}
	*o = dense{
		fixed: make([]byte, 0, len(o.fixed)), offsets: make([]int32, 0, len(o.offsets)), data: make([]byte, 0, len(o.data)),
		defs: o.defs[:0], reps: o.reps[:0],
	}
}

func (r *leafReader) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("column %q: %w", r.leaf.path, err)
}
