package keyindex

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/zeebo/xxh3"
)

// A run's file, all numbers little-endian:
//
//	header   one block: magic, uid; the rest zero
//	blocks   the sections' blocks, one section after the other
//	index    for each section: partition u32, first block u32, blocks u32,
//	         filter words u32, entries u64, gone u64, then for each block the
//	         first eight bytes of its first hash, then the filter
//	footer   index offset u64, index length u64, index checksum u64, uid u64,
//	         magic 8 bytes, checksum u64 of the 40 bytes before
const (
	runMagic     = "LLKIRUN2"
	footerBytes  = 48
	sectionBytes = 32
)

// section is the part of a run that holds one partition's entries, and what
// is kept of it in memory.
type section struct {
	part   int
	first  uint32   // number of its first block, counted from the file's start
	n      int64    // entries
	gone   int64    // entries that say that a key is gone
	fences []uint64 // per block, the first eight bytes of its first hash
	filter filter   // nil: none
}

// runMeta is what the manifest says of a run.
type runMeta struct {
	id, uid uint64
	size    int64
	sum     uint64 // of the footer
}

// runWriter writes a run: sections by ascending partition, within a section
// entries by strictly ascending hash.
type runWriter struct {
	f       *os.File
	path    string
	meta    runMeta
	buf     []byte // whole blocks
	slots   []slot // of the block being filled
	spread  spread // of slots
	blockNo uint32
	secs    []*section
	cur     *section
	sync    bool
	old     *trash // of the finished run
}

func newRunWriter(path string, id, uid uint64, bufBytes int, sync bool, old *trash) (*runWriter, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create a run of the key index: %w", err)
	}
	w := &runWriter{f: f, path: path, meta: runMeta{id: id, uid: uid}, sync: sync, old: old}
	w.buf = make([]byte, 0, max(bufBytes, 2*blockBytes)/blockBytes*blockBytes)
	w.buf = append(w.buf, runHeader(uid)...)
	w.blockNo = 1
	return w, nil
}

// runHeader is the first block of a run's file.
func runHeader(uid uint64) []byte {
	b := make([]byte, blockBytes)
	copy(b, runMagic)
	binary.LittleEndian.PutUint64(b[8:], uid)
	return b
}

// begin starts a partition's section; it gets a filter if it is for more than
// no keys.
func (w *runWriter) begin(part int, filterKeys int64) {
	w.cur = &section{part: part, first: w.blockNo}
	if filterKeys > 0 {
		w.cur.filter = make(filter, filterSize(filterKeys))
	}
}

func (w *runWriter) add(s *slot) error {
	next := w.spread.with(s)
	if len(w.slots) > 0 && (len(w.slots)+1)*next.entryBytes() > blockRoom {
		if err := w.sealBlock(); err != nil {
			return err
		}
	}
	if len(w.slots) == 0 {
		next = spreadOf(s)
		w.cur.fences = append(w.cur.fences, s.hi)
	}
	w.slots, w.spread = append(w.slots, *s), next
	w.cur.n++
	if s.gone() {
		w.cur.gone++
	}
	if w.cur.filter != nil {
		w.cur.filter.add(s.hi, s.lo)
	}
	return nil
}

// sealBlock writes the block being filled to the buffer's end.
func (w *runWriter) sealBlock() error {
	if len(w.buf) == cap(w.buf) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.buf = w.buf[:len(w.buf)+blockBytes]
	b := w.buf[len(w.buf)-blockBytes:]
	encodeBlock(b, w.slots, &w.spread)
	binary.LittleEndian.PutUint64(b[blockSumStart:], blockSum(b, w.meta.uid, w.blockNo))
	w.blockNo++
	w.slots = w.slots[:0]
	return nil
}

func (w *runWriter) flush() error {
	n, err := w.f.Write(w.buf)
	w.meta.size += int64(n)
	if err != nil {
		return fmt.Errorf("write a run of the key index: %w", err)
	}
	w.buf = w.buf[:0]
	return nil
}

// end ends a section; one without entries leaves no trace.
func (w *runWriter) end() error {
	if len(w.slots) > 0 {
		if err := w.sealBlock(); err != nil {
			return err
		}
	}
	if w.cur.n > 0 {
		w.secs = append(w.secs, w.cur)
	}
	w.cur = nil
	return nil
}

// finish writes index and footer, and gives the run, open for reading. Its
// one reference is the caller's.
func (w *runWriter) finish() (*runFile, error) {
	if err := w.flush(); err != nil {
		return nil, w.abort(err)
	}
	var ix []byte
	for _, s := range w.secs {
		ix = s.appendTo(ix)
	}
	foot := make([]byte, 0, footerBytes)
	foot = binary.LittleEndian.AppendUint64(foot, uint64(w.meta.size))
	foot = binary.LittleEndian.AppendUint64(foot, uint64(len(ix)))
	foot = binary.LittleEndian.AppendUint64(foot, xxh3.HashSeed(ix, w.meta.uid))
	foot = binary.LittleEndian.AppendUint64(foot, w.meta.uid)
	foot = append(foot, runMagic...)
	w.meta.sum = xxh3.Hash(foot)
	foot = binary.LittleEndian.AppendUint64(foot, w.meta.sum)
	w.buf = append(ix, foot...)
	if err := w.flush(); err != nil {
		return nil, w.abort(err)
	}
	if w.sync {
		if err := w.f.Sync(); err != nil {
			return nil, w.abort(fmt.Errorf("sync a run of the key index: %w", err))
		}
	}
	r := &runFile{meta: w.meta, f: w.f, path: w.path, secs: w.secs, old: w.old}
	r.refs.Store(1)
	return r, nil
}

// abort removes the unfinished file and gives back why.
func (w *runWriter) abort(why error) error {
	return errors.Join(why, w.f.Close(), os.Remove(w.path))
}

func (s *section) appendTo(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(s.part))
	b = binary.LittleEndian.AppendUint32(b, s.first)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s.fences)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s.filter)))
	b = binary.LittleEndian.AppendUint64(b, uint64(s.n))
	b = binary.LittleEndian.AppendUint64(b, uint64(s.gone))
	for _, f := range s.fences {
		b = binary.LittleEndian.AppendUint64(b, f)
	}
	return s.filter.appendTo(b)
}
