package tablefmt

import (
	"fmt"
	"iter"
	"math/bits"
	"slices"

	"golang.org/x/sync/errgroup"
)

// fileSet is an immutable set of logical files, by path: a path, however it is
// spelled (canonicalPath), has at most one of them at a time. Those that came last are kept as they are, in a map whose
// changed parts alone are copied, the others in packed blocks with an index
// beside them. So a snapshot is advanced at the cost of the files that change,
// a file that is packed takes about a hundred bytes with its statistics, and
// one that goes is not unpacked.
//
// Changes are made through an editor. The zero fileSet is empty.
type fileSet struct {
	young  pmap[*AddFile]
	blocks []blockRef
	index  fileIndex
	n      int
	gone   int // files of blocks that went since they were packed last
}

// blockRef is a block, and what of it still is in the set.
type blockRef struct {
	block *fileBlock
	live  int
	dead  [blockFiles / 64]uint64
}

func (r *blockRef) has(slot uint32) bool { return r.dead[slot/64]&(1<<(slot%64)) == 0 }

// fileIndex tells where files of blocks are, by the hash of their paths. It
// holds files, too, that have gone.
type fileIndex struct {
	hashes []uint64 // ascending
	places []uint32 // number of the block * blockFiles + slot
}

// find gives the range of entries that have a hash.
func (x *fileIndex) find(h uint64) (from, to int) {
	n := len(x.hashes)
	if n == 0 {
		return 0, 0
	}
	// Hashes lie evenly: the place can be guessed, and is close.
	guess, _ := bits.Mul64(h, uint64(n))
	lo, hi, step := int(guess), int(guess), 8
	for lo > 0 && x.hashes[lo-1] >= h {
		lo, step = max(lo-step, 0), step*2
	}
	for step = 8; hi < n && x.hashes[hi] < h; {
		hi, step = min(hi+step, n), step*2
	}
	from, _ = slices.BinarySearch(x.hashes[lo:hi], h)
	from += lo
	for to = from; to < n && x.hashes[to] == h; to++ {
	}
	return from, to
}

func (s *fileSet) len() int { return s.n }

// get gives the file of a path.
func (s *fileSet) get(path string) (*AddFile, bool) {
	key := canonicalPath(path)
	if a, ok := s.young.get(key); ok {
		return a, true
	}
	return s.fromBlocks(key)
}

// fromBlocks gives the file of a canonical path that is packed.
func (s *fileSet) fromBlocks(key string) (*AddFile, bool) {
	from, to := s.index.find(hashOf(key))
	for _, place := range s.index.places[from:to] {
		if r := &s.blocks[place/blockFiles]; r.block != nil && r.has(place%blockFiles) {
			if a := r.block.unpack()[place%blockFiles]; canonicalPath(a.Path) == key {
				return a, true
			}
		}
	}
	return nil, false
}

// has reports whether a logical file is there. It unpacks nothing.
func (s *fileSet) has(path, vector string) bool {
	key := canonicalPath(path)
	if a, ok := s.young.get(key); ok {
		return vectorID(a.DeletionVector) == vector
	}
	_, ok := s.place(key, vector)
	return ok
}

// place tells where the logical file of a canonical path is packed.
func (s *fileSet) place(key, vector string) (uint32, bool) {
	return s.placeOf(hashOf(key), identityOf(key, vector))
}

func (s *fileSet) placeOf(hash, id uint64) (uint32, bool) {
	from, to := s.index.find(hash)
	for _, place := range s.index.places[from:to] {
		if r := &s.blocks[place/blockFiles]; r.block != nil && r.has(place%blockFiles) && r.block.ids[place%blockFiles] == id {
			return place, true
		}
	}
	return 0, false
}

// all gives the files, those that came first first.
func (s *fileSet) all() iter.Seq2[string, *AddFile] {
	return func(yield func(string, *AddFile) bool) {
		for i := range s.blocks {
			if !s.blocks[i].walk(func(a *AddFile) bool { return yield(a.Path, a) }) {
				return
			}
		}
		for _, a := range s.young.all() {
			if !yield(a.Path, a) {
				return
			}
		}
	}
}

// minus gives the logical files that another set lacks, in the order of all.
// Blocks of which it lacks none are not unpacked.
func (s *fileSet) minus(o *fileSet) iter.Seq[*AddFile] {
	return func(yield func(*AddFile) bool) {
		lacks := make([][blockFiles / 64]uint64, len(s.blocks))
		sizes := o.packedSizes()
		for place, h := range s.packed() {
			n, slot := place/blockFiles, place%blockFiles
			if _, ok := sizes(h, s.blocks[n].block.ids[slot]); !ok {
				lacks[n][slot/64] |= 1 << (slot % 64)
			}
		}
		for n := range s.blocks {
			if lacks[n] == [blockFiles / 64]uint64{} {
				continue
			}
			for slot, a := range s.blocks[n].block.unpack() {
				if lacks[n][slot/64]&(1<<(slot%64)) != 0 && !yield(a) {
					return
				}
			}
		}
		for path, a := range s.young.all() {
			if !o.has(path, vectorID(a.DeletionVector)) && !yield(a) {
				return
			}
		}
	}
}

// sized gives the logical files of both sets of which they know different
// sizes.
func (s *fileSet) sized(o *fileSet) iter.Seq2[*AddFile, *AddFile] {
	return func(yield func(a, b *AddFile) bool) {
		sizes := o.packedSizes()
		for place, h := range s.packed() {
			b, slot := s.blocks[place/blockFiles].block, place%blockFiles
			if n, ok := sizes(h, b.ids[slot]); ok && n != b.sizes[slot] {
				a := b.unpack()[slot]
				if other, ok := o.get(a.Path); ok && !yield(a, other) {
					return
				}
			}
		}
		for path, a := range s.young.all() {
			if other, ok := o.get(path); ok && a.Size != other.Size && vectorID(a.DeletionVector) == vectorID(other.DeletionVector) && !yield(a, other) {
				return
			}
		}
	}
}

// packed gives where the files of blocks are, and their paths' hashes.
func (s *fileSet) packed() iter.Seq2[uint32, uint64] {
	return func(yield func(uint32, uint64) bool) {
		for i, place := range s.index.places {
			if r := &s.blocks[place/blockFiles]; r.block != nil && r.has(place%blockFiles) && !yield(place, s.index.hashes[i]) {
				return
			}
		}
	}
}

// packedSizes gives a function that tells the size of a logical file without
// its path.
func (s *fileSet) packedSizes() func(hash, id uint64) (size int64, ok bool) {
	young := make(map[[2]uint64]int64, s.young.n)
	for key, a := range s.young.all() {
		young[[2]uint64{hashOf(key), identityOf(key, vectorID(a.DeletionVector))}] = a.Size
	}
	return func(hash, id uint64) (int64, bool) {
		if size, ok := young[[2]uint64{hash, id}]; ok {
			return size, true
		}
		place, ok := s.placeOf(hash, id)
		if !ok {
			return 0, false
		}
		return s.blocks[place/blockFiles].block.sizes[place%blockFiles], true
	}
}

func (r *blockRef) walk(yield func(*AddFile) bool) bool {
	if r.block == nil {
		return true
	}
	for slot, a := range r.block.unpack() {
		if r.has(uint32(slot)) && !yield(a) {
			return false
		}
	}
	return true
}

// fileEditor changes a copy of a set. It is used by one goroutine and not after
// done.
type fileEditor struct {
	set   fileSet
	young *peditor[*AddFile]
	own   bool       // set.blocks is this editor's
	bulk  []*AddFile // what load got and has not packed
	fresh [][]placed // what is packed, or being packed, and the index lacks
	// packing are the blocks that are being packed. Who has called load waits for
	// them, by loaded or by wait.
	packing *errgroup.Group // nil: none
}

type placed struct {
	hash  uint64
	place uint32
}

func (s *fileSet) edit() *fileEditor {
	return &fileEditor{set: *s, young: s.young.edit()}
}

// get gives the file of a path.
func (e *fileEditor) get(path string) (*AddFile, bool) {
	key := canonicalPath(path)
	if a, ok := e.young.get(key); ok {
		return a, true
	}
	return e.set.fromBlocks(key)
}

// put puts a file, and gives the size of the one that it replaces, 0 for none.
func (e *fileEditor) put(a *AddFile) (replaced int64) {
	if old, ok := e.get(a.Path); ok {
		e.del(old.Path, vectorID(old.DeletionVector))
		replaced = old.Size
	}
	e.young.set(canonicalPath(a.Path), a)
	e.set.n++
	return replaced
}

// del takes a logical file out, and gives its size; ok is false where it is not
// there.
func (e *fileEditor) del(path, vector string) (size int64, ok bool) {
	key := canonicalPath(path)
	if a, ok := e.young.get(key); ok {
		if vectorID(a.DeletionVector) != vector {
			return 0, false
		}
		e.young.del(key)
		e.set.n--
		return a.Size, true
	}
	place, ok := e.set.place(key, vector)
	if !ok {
		return 0, false
	}
	if !e.own {
		e.set.blocks, e.own = slices.Clone(e.set.blocks), true
	}
	r, slot := &e.set.blocks[place/blockFiles], place%blockFiles
	size = r.block.sizes[slot]
	r.dead[slot/64] |= 1 << (slot % 64)
	if r.live--; r.live == 0 {
		r.block = nil
	}
	e.set.n--
	e.set.gone++
	return size, true
}

// load puts one of many files into a set that was empty. Whether a path came
// twice is told by loaded, which comes after the last one and before all else.
func (e *fileEditor) load(a *AddFile) {
	if e.bulk = append(e.bulk, a); len(e.bulk) == blockFiles {
		e.pack(e.bulk)
		e.bulk = make([]*AddFile, 0, blockFiles)
	}
	e.set.n++
}

func (e *fileEditor) loaded() error {
	e.wait()
	e.reindex(nil)
	for i := 1; i < len(e.set.index.hashes); i++ {
		if e.set.index.hashes[i] != e.set.index.hashes[i-1] {
			continue
		}
		p, q := e.set.index.places[i-1], e.set.index.places[i]
		a, b := e.set.blocks[p/blockFiles].block.unpack()[p%blockFiles], e.set.blocks[q/blockFiles].block.unpack()[q%blockFiles]
		if canonicalPath(a.Path) == canonicalPath(b.Path) {
			return fmt.Errorf("it holds %q twice", a.Path)
		}
	}
	for _, a := range e.bulk {
		if _, ok := e.get(a.Path); ok {
			return fmt.Errorf("it holds %q twice", a.Path)
		}
		e.young.set(canonicalPath(a.Path), a)
	}
	e.bulk = nil
	return nil
}

// wait waits until blocks are whole.
func (e *fileEditor) wait() {
	if e.packing != nil {
		_ = e.packing.Wait() // it does not fail
	}
}

// pack makes a block of files, which are not to be changed any more. It is whole
// after wait.
func (e *fileEditor) pack(files []*AddFile) {
	if !e.own {
		e.set.blocks, e.own = slices.Clone(e.set.blocks), true
	}
	fresh := make([]placed, len(files))
	for slot := range fresh {
		fresh[slot].place = uint32(len(e.set.blocks)*blockFiles + slot)
	}
	e.fresh = append(e.fresh, fresh)
	if e.packing == nil {
		e.packing = new(errgroup.Group)
		e.packing.SetLimit(packersMost)
	}
	b := new(fileBlock)
	e.packing.Go(func() error {
		b.pack(files, fresh)
		return nil
	})
	e.set.blocks = append(e.set.blocks, blockRef{block: b, live: len(files)})
}

// The bounds of what is not packed: so few files that their size does not
// matter, or a small part of all.
const (
	youngFiles = 4 * blockFiles
	youngPart  = 64
)

// done gives the changed set.
func (e *fileEditor) done() fileSet {
	most := max(youngFiles, e.set.n/youngPart)
	if e.young.n > most || e.set.gone > max(youngFiles, e.set.n/4) {
		e.repack()
	}
	s := e.set
	s.young = e.young.done()
	return s
}

// repack packs what is young, and anew what blocks hold of which most have
// gone.
func (e *fileEditor) repack() {
	var files []*AddFile
	for i := range e.set.blocks {
		if r := &e.set.blocks[i]; r.block != nil && 2*r.live < len(r.block.ids) {
			r.walk(func(a *AddFile) bool { files = append(files, a); return true })
		}
	}
	for _, a := range e.young.done().all() {
		files = append(files, a)
	}
	// What stays is moved together, so that numbers of blocks stay small.
	moved := make([]uint32, len(e.set.blocks)) // number + 1, 0: gone
	var blocks []blockRef
	for i := range e.set.blocks {
		if r := &e.set.blocks[i]; r.block != nil && 2*r.live >= len(r.block.ids) {
			blocks = append(blocks, *r)
			moved[i] = uint32(len(blocks))
		}
	}
	e.set.blocks, e.own, e.set.gone = blocks, true, 0
	for len(files) >= blockFiles {
		e.pack(files[:blockFiles])
		files = files[blockFiles:]
	}
	e.wait()
	e.reindex(moved)
	e.young = pmap[*AddFile]{}.edit()
	for _, a := range files {
		e.young.set(canonicalPath(a.Path), a)
	}
}

// reindex puts what was packed into the index, and takes out what has gone.
// moved tells the number + 1 that a block has now, 0 for none; nil: all as they
// were.
func (e *fileEditor) reindex(moved []uint32) {
	old, fresh := e.set.index, slices.Concat(e.fresh...)
	slices.SortFunc(fresh, func(a, b placed) int {
		switch {
		case a.hash < b.hash:
			return -1
		case a.hash > b.hash:
			return 1
		}
		return int(int64(a.place) - int64(b.place))
	})
	n := len(old.hashes) + len(fresh)
	x := fileIndex{make([]uint64, 0, n), make([]uint32, 0, n)}
	add := func(h uint64, place uint32) {
		x.hashes, x.places = append(x.hashes, h), append(x.places, place)
	}
	for i, h := range old.hashes {
		for len(fresh) > 0 && fresh[0].hash < h {
			add(fresh[0].hash, fresh[0].place)
			fresh = fresh[1:]
		}
		place := old.places[i]
		if moved != nil {
			to := moved[place/blockFiles]
			if to == 0 {
				continue
			}
			place = (to-1)*blockFiles + place%blockFiles
		}
		if r := &e.set.blocks[place/blockFiles]; r.block != nil && r.has(place%blockFiles) {
			add(h, place)
		}
	}
	for _, f := range fresh {
		add(f.hash, f.place)
	}
	e.set.index, e.fresh = x, nil
}
