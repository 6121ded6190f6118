package tablefmt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/xxh3"

	"github.com/lakeload/lakeload/tablefmt/dv"
)

// blockFiles is how many files a block packs: enough for what they have in
// common to be written once, few enough to be unpacked for the sake of one.
const blockFiles = 256

// fileBlock is logical files, packed: an [AddFile] takes several hundred
// bytes, most of them texts that are alike from file to file, and a table may
// have a million. It never changes.
type fileBlock struct {
	ids   []uint64 // identityOf the files
	sizes []int64  // their AddFile.Size
	heads []byte   // all but sizes and statistics, see appendHead, compressed
	stats []byte   // the statistics, each with its length before it, compressed
	// unpacked is what unpack gave last, for as long as somebody has it.
	unpacked atomic.Pointer[weak.Pointer[[]*AddFile]]
}

// hashOf and identityOf are what a file is found by: 64 bits of its path, and 64
// other bits of path and deletion vector. Two files of a table that agree in
// both are taken for one. Of a million files that happens once in 10^25 tables;
// who made it happen on purpose could as well have written another log.
// Paths are canonical here.
func hashOf(key string) uint64 { return xxh3.HashString(key) }

func identityOf(key, vectorID string) uint64 {
	b := make([]byte, 0, 256)
	b = append(append(append(b, key...), 0), vectorID...)
	return xxh3.HashSeed(b, 0x6c616b656c6f6164)
}

// packFiles makes a block of at most blockFiles files.
func packFiles(files []*AddFile) *fileBlock {
	b := new(fileBlock)
	b.pack(files, make([]placed, len(files)))
	return b
}

// pack makes b of files, and sets the hashes of their paths.
func (b *fileBlock) pack(files []*AddFile, at []placed) {
	b.ids, b.sizes = make([]uint64, len(files)), make([]int64, len(files))
	p := packers.Get().(*packer)
	defer packers.Put(p)
	p.heads, p.stats = p.heads[:0], p.stats[:0]
	var last AddFile
	for i, a := range files {
		key := canonicalPath(a.Path)
		at[i].hash = hashOf(key)
		b.ids[i], b.sizes[i] = identityOf(key, vectorID(a.DeletionVector)), a.Size
		p.heads = appendHead(p.heads, a, &last)
		p.stats = appendText(p.stats, a.Stats)
		last = *a
	}
	b.heads = slices.Clone(p.compress(p.heads))
	b.stats = slices.Clone(p.compress(p.stats))
}

// packersMost is how many blocks are packed at a time: as many as one goroutine
// keeps busy that reads a checkpoint.
const packersMost = 2

// packer is what packing and unpacking need for a moment.
type packer struct {
	heads, stats, out []byte
}

var (
	packers     = sync.Pool{New: func() any { return new(packer) }}
	blockCoders = sync.OnceValue(func() (c struct {
		enc *zstd.Encoder
		dec *zstd.Decoder
	},
	) {
		var err error
		c.enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(packersMost),
			zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(128<<10), zstd.WithEncoderCRC(false))
		if err == nil {
			c.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true))
		}
		if err != nil {
			panic(fmt.Sprintf("the options of zstd are constants, and refused: %v", err))
		}
		return c
	})
)

// compress gives b compressed, after its length; valid until the next call.
func (p *packer) compress(b []byte) []byte {
	p.out = binary.AppendUvarint(p.out[:0], uint64(len(b)))
	p.out = blockCoders().enc.EncodeAll(b, p.out)
	return p.out
}

func decompress(b, to []byte) ([]byte, error) {
	n, w := binary.Uvarint(b)
	if w <= 0 {
		return nil, errPacked
	}
	return blockCoders().dec.DecodeAll(b[w:], slices.Grow(to[:0], int(n)))
}

// unpack gives the block's files. They are shared, as all that a snapshot gives
// is. What was packed here comes out again; anything else means that memory is
// damaged, and panics.
func (b *fileBlock) unpack() []*AddFile {
	if w := b.unpacked.Load(); w != nil {
		if files := w.Value(); files != nil {
			return *files
		}
	}
	files, err := b.read()
	if err != nil {
		panic(fmt.Sprintf("a block of files in memory cannot be read: %v", err))
	}
	w := weak.Make(&files)
	b.unpacked.Store(&w)
	return files
}

var errPacked = errors.New("it ends too soon")

func (b *fileBlock) read() ([]*AddFile, error) {
	p := packers.Get().(*packer)
	defer packers.Put(p)
	var err error
	if p.heads, err = decompress(b.heads, p.heads); err != nil {
		return nil, fmt.Errorf("its heads: %w", err)
	}
	if p.stats, err = decompress(b.stats, p.stats); err != nil {
		return nil, fmt.Errorf("its statistics: %w", err)
	}
	h, s := unpacker{b: p.heads}, unpacker{b: p.stats}
	files := make([]*AddFile, len(b.ids))
	last := new(AddFile)
	for i := range files {
		a := &AddFile{Size: b.sizes[i]}
		h.head(a, last)
		a.Stats = s.text()
		files[i], last = a, a
	}
	return files, errors.Join(h.err, s.err)
}

// The bits of a head's first number: what of a file is there, or as in the file
// before.
const (
	headDataChange = 1 << iota
	headSamePartition
	headPartition
	headTags
	headVector
	headVectorOffset
	headRowID
	headRowVersion
	headClustering
)

// appendHead appends what is known of a file but for its size and statistics;
// last is the file before.
func appendHead(b []byte, a, last *AddFile) []byte {
	bits := uint64(0)
	set := func(bit uint64, is bool) bool {
		if is {
			bits |= bit
		}
		return is
	}
	set(headDataChange, a.DataChange)
	same := set(headSamePartition, sameValues(a.PartitionValues, last.PartitionValues))
	partition := set(headPartition, !same && a.PartitionValues != nil)
	tags := set(headTags, a.Tags != nil)
	vector := set(headVector, a.DeletionVector != nil)
	offset := set(headVectorOffset, vector && a.DeletionVector.Offset != nil)
	rowID := set(headRowID, a.BaseRowID != nil)
	rowVersion := set(headRowVersion, a.DefaultRowCommitVersion != nil)
	clustering := set(headClustering, a.ClusteringProvider != "")
	b = binary.AppendUvarint(b, bits)
	b = appendText(b, a.Path)
	b = binary.AppendVarint(b, a.ModificationTime-last.ModificationTime)
	if partition {
		b = binary.AppendUvarint(b, uint64(len(a.PartitionValues)))
		for _, k := range sortedKeys(a.PartitionValues) {
			b = appendText(b, k)
			v := a.PartitionValues[k]
			if v == nil {
				b = append(b, 0)
				continue
			}
			b = appendText(append(b, 1), *v)
		}
	}
	if tags {
		b = binary.AppendUvarint(b, uint64(len(a.Tags)))
		for _, k := range sortedKeys(a.Tags) {
			b = appendText(appendText(b, k), a.Tags[k])
		}
	}
	if vector {
		d := a.DeletionVector
		b = appendText(appendText(b, string(d.StorageType)), d.PathOrInlineDV)
		if offset {
			b = binary.AppendVarint(b, int64(*d.Offset))
		}
		b = binary.AppendVarint(b, int64(d.SizeInBytes))
		b = binary.AppendVarint(b, d.Cardinality)
	}
	if rowID {
		b = binary.AppendVarint(b, *a.BaseRowID)
	}
	if rowVersion {
		b = binary.AppendVarint(b, *a.DefaultRowCommitVersion)
	}
	if clustering {
		b = appendText(b, a.ClusteringProvider)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// sameValues reports whether two files may share their partition values.
func sameValues(a, b map[string]*string) bool {
	if len(a) != len(b) || (a == nil) != (b == nil) {
		return false
	}
	for k, v := range a {
		w, ok := b[k]
		if !ok || (v == nil) != (w == nil) || v != nil && *v != *w {
			return false
		}
	}
	return true
}

// unpacker reads what appendHead and appendText wrote.
type unpacker struct {
	b   []byte
	err error
}

func (u *unpacker) head(a, last *AddFile) {
	bits := u.uint()
	has := func(bit uint64) bool { return bits&bit != 0 }
	a.DataChange = has(headDataChange)
	a.Path = u.text()
	a.ModificationTime = last.ModificationTime + u.int()
	switch {
	case has(headSamePartition):
		a.PartitionValues = last.PartitionValues
	case has(headPartition):
		n := u.uint()
		a.PartitionValues = make(map[string]*string, min(n, uint64(len(u.b))))
		for ; n > 0 && u.err == nil; n-- {
			k := u.text()
			if u.uint() == 0 {
				a.PartitionValues[k] = nil
				continue
			}
			v := u.text()
			a.PartitionValues[k] = &v
		}
	}
	if has(headTags) {
		n := u.uint()
		a.Tags = make(map[string]string, min(n, uint64(len(u.b))))
		for ; n > 0 && u.err == nil; n-- {
			k := u.text()
			a.Tags[k] = u.text()
		}
	}
	if has(headVector) {
		d := &dv.Descriptor{StorageType: dv.StorageType(u.text()), PathOrInlineDV: u.text()}
		if has(headVectorOffset) {
			offset := int32(u.int())
			d.Offset = &offset
		}
		d.SizeInBytes, d.Cardinality = int32(u.int()), u.int()
		a.DeletionVector = d
	}
	if has(headRowID) {
		n := u.int()
		a.BaseRowID = &n
	}
	if has(headRowVersion) {
		n := u.int()
		a.DefaultRowCommitVersion = &n
	}
	if has(headClustering) {
		a.ClusteringProvider = u.text()
	}
}

func (u *unpacker) uint() uint64 {
	n, w := binary.Uvarint(u.b)
	if w <= 0 {
		u.b, u.err = nil, errPacked
		return 0
	}
	u.b = u.b[w:]
	return n
}

func (u *unpacker) int() int64 {
	n := u.uint() // zigzag, as of binary.AppendVarint
	return int64(n>>1) ^ -int64(n&1)
}

func (u *unpacker) text() string {
	n := u.uint()
	if n > uint64(len(u.b)) {
		u.b, u.err = nil, errPacked
		return ""
	}
	s := string(u.b[:n])
	u.b = u.b[n:]
	return s
}
