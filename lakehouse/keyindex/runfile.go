package keyindex

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/zeebo/xxh3"
)

// runFile is a finished run, open for reading. It is counted by who uses it;
// the last one closes it, and removes it unless the run is to stay.
type runFile struct {
	meta runMeta
	f    *os.File
	path string
	secs []*section
	refs atomic.Int64
	keep atomic.Bool // the manifest on the disk names it
	old  *trash      // takes the file when nobody uses it any more
}

func (r *runFile) retain() { r.refs.Add(1) }

func (r *runFile) release() error {
	if r.refs.Add(-1) > 0 {
		return nil
	}
	d := doomed{f: r.f}
	if !r.keep.Load() {
		d.path = r.path
	}
	return r.old.throw(d)
}

// section is the run's part of a partition, nil if it has none.
func (r *runFile) section(part int) *section {
	for _, s := range r.secs {
		if s.part == part {
			return s
		}
	}
	return nil
}

func (r *runFile) entries() (n, gone int64) {
	for _, s := range r.secs {
		n += s.n
		gone += s.gone
	}
	return n, gone
}

// openRun opens a run that the manifest names, and checks all of it but its
// blocks, which are checked as they are read.
func openRun(path string, want runMeta, old *trash) (*runFile, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, unfit(path, "the run is missing")
	} else if err != nil {
		return nil, fmt.Errorf("open a run of the key index: %w", err)
	}
	r := &runFile{meta: want, f: f, path: path, old: old}
	r.refs.Store(1)
	r.keep.Store(true)
	if err := r.load(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

func (r *runFile) load() error {
	st, err := r.f.Stat()
	if err != nil {
		return fmt.Errorf("look at a run of the key index: %w", err)
	}
	if st.Size() != r.meta.size || st.Size() < blockBytes+footerBytes {
		return unfit(r.path, "it has %d bytes instead of %d", st.Size(), r.meta.size)
	}
	var foot [footerBytes]byte
	if err := r.readAt(foot[:], r.meta.size-footerBytes); err != nil {
		return err
	}
	le := binary.LittleEndian
	sum := le.Uint64(foot[40:])
	if sum != xxh3.Hash(foot[:40]) || sum != r.meta.sum || le.Uint64(foot[24:]) != r.meta.uid || string(foot[32:40]) != runMagic {
		return unfit(r.path, "its footer is not the one that the manifest names")
	}
	head := make([]byte, blockBytes)
	if err := r.readAt(head, 0); err != nil {
		return err
	}
	if !bytes.Equal(head, runHeader(r.meta.uid)) {
		return unfit(r.path, "its header is not the one that the manifest names")
	}
	off, n := le.Uint64(foot[:]), le.Uint64(foot[8:])
	if off < blockBytes || off%blockBytes != 0 || off+n != uint64(r.meta.size-footerBytes) || off > uint64(r.meta.size) {
		return unfit(r.path, "its footer does not add up")
	}
	ix := make([]byte, n)
	if err := r.readAt(ix, int64(off)); err != nil {
		return err
	}
	if xxh3.HashSeed(ix, r.meta.uid) != le.Uint64(foot[16:]) {
		return unfit(r.path, "the checksum of its index is wrong")
	}
	if r.secs, err = decodeSections(ix, uint32(off/blockBytes)); err != nil {
		return unfit(r.path, "%v", err)
	}
	return nil
}

// decodeSections decodes a run's index; blocks is the number of blocks before
// it.
func decodeSections(b []byte, blocks uint32) ([]*section, error) {
	le := binary.LittleEndian
	var secs []*section
	next, last := uint32(1), -1
	for len(b) > 0 {
		if len(b) < sectionBytes {
			return nil, errors.New("its index ends within a section")
		}
		s := &section{part: int(le.Uint32(b)), first: le.Uint32(b[4:]), n: int64(le.Uint64(b[16:])), gone: int64(le.Uint64(b[24:]))}
		nf, nw := uint64(le.Uint32(b[8:])), uint64(le.Uint32(b[12:]))
		b = b[sectionBytes:]
		switch {
		case (nf+nw)*8 > uint64(len(b)),
			s.part <= last || s.part >= maxPartitions,
			s.first != next || nf == 0 || nf > uint64(blocks-next),
			s.n < int64(nf) || s.n > int64(nf)*maxBlockEntries || s.gone < 0 || s.gone > s.n,
			nw%filterWords != 0:
			return nil, errors.New("a section of its index does not add up")
		}
		s.fences = decodeWords(b, nf)
		b = b[nf*8:]
		if nw > 0 {
			s.filter = decodeWords(b, nw)
			b = b[nw*8:]
		}
		next += uint32(nf)
		last = s.part
		secs = append(secs, s)
	}
	if next != blocks {
		return nil, errors.New("its index does not account for all its blocks")
	}
	return secs, nil
}

func decodeWords(b []byte, n uint64) []uint64 {
	w := make([]uint64, n)
	for i := range w {
		w[i] = binary.LittleEndian.Uint64(b[i*8:])
	}
	return w
}

func (r *runFile) readAt(b []byte, off int64) error {
	if _, err := r.f.ReadAt(b, off); errors.Is(err, io.EOF) {
		return unfit(r.path, "it ends before byte %d", off+int64(len(b)))
	} else if err != nil {
		return fmt.Errorf("read a run of the key index: %w", err)
	}
	return nil
}

// readBlocks reads blocks of the file and leaves the checksums to the caller.
func (r *runFile) readBlocks(b []byte, no uint32) error {
	return r.readAt(b, int64(no)*blockBytes)
}

func (r *runFile) checkBlock(b []byte, no uint32) error {
	if !checkBlock(b, r.meta.uid, no) {
		return unfit(r.path, "the checksum of block %d is wrong", no)
	}
	return nil
}

func (r *runFile) unfitBlock(no uint32) error {
	return unfit(r.path, "block %d does not add up", no)
}
