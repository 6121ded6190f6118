package colfile

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// leafWriter is one leaf column: its open page, and the finished pages of the
// open row group.
type leafWriter struct {
	path           []string
	typ            arrow.DataType
	phys           physical
	width          int            // of physFixed, in bytes
	decimalMax     decimal128.Num // 10^precision
	maxDef, maxRep uint8
	nested         bool           // below a struct, list or map: levels are in defs, not in valid
	track          *columnTracker // nil: no statistics

	codec     Codec
	zstdLevel int
	pageBytes int // closes the page
	dictBytes int // gives up the dictionary; 0: never has one

	// The open page. Its values are in idx while dict is set, else in vals.
	*pageBuffers
	entries int // rows, or levels of a nested column
	nvals   int // those that are not null

	dict       *dictionary // nil once given up
	written    *dictionary // given up, but pages refer to it
	sampled    bool        // the dictionary has passed its first trial
	dictPages  int         // pages of the group with RLE_DICTIONARY
	plainPages int

	// The open row group.
	pages     chain
	rawBytes  int64 // finished pages with their headers, before compression
	groupVals int64 // levels, as num_values counts
	groupNull int64
}

// pageBuffers are the growing slices of an open page, pooled as one.
type pageBuffers struct {
	vals       []byte
	bits       int // booleans in vals
	idx        []uint32
	valid      []byte // bitmap of a flat column, empty until the first null
	defs, reps []uint8
}

var pageBufferPool = sync.Pool{New: func() any { return new(pageBuffers) }}

func (b *pageBuffers) reset() {
	b.vals, b.idx, b.valid, b.defs, b.reps = b.vals[:0], b.idx[:0], b.valid[:0], b.defs[:0], b.reps[:0]
	b.bits = 0
}

func (b *pageBuffers) bytes() int {
	return len(b.vals) + 4*len(b.idx) + len(b.valid) + len(b.defs) + len(b.reps)
}

func (b *pageBuffers) capacity() int {
	return cap(b.vals) + 4*cap(b.idx) + cap(b.valid) + cap(b.defs) + cap(b.reps)
}

// open prepares the leaf for a row group.
func (l *leafWriter) open() {
	if l.pageBuffers == nil {
		l.pageBuffers = pageBufferPool.Get().(*pageBuffers)
		l.reset()
	}
	if l.dictBytes > 0 && l.phys != physBool && l.dict == nil {
		l.dict = dictionaries.Get().(*dictionary)
	}
	if l.dict != nil {
		l.dict.reset()
	}
	l.sampled, l.dictPages, l.plainPages = false, 0, 0
	l.rawBytes, l.groupVals, l.groupNull = 0, 0, 0
}

// release gives all pooled memory back.
func (l *leafWriter) release() {
	l.pages.reset()
	if l.pageBuffers != nil && l.capacity() <= maxPooledScratch {
		pageBufferPool.Put(l.pageBuffers)
	}
	l.pageBuffers = nil
	l.releaseDict(&l.dict)
	l.releaseDict(&l.written)
}

func (l *leafWriter) releaseDict(d **dictionary) {
	if *d != nil {
		dictionaries.Put(*d)
		*d = nil
	}
}

// addValid counts n more rows , none of them null.
func (l *leafWriter) addValid(n int) {
	if len(l.valid) > 0 {
		l.growValid(l.entries + n)
		setBits(l.valid, l.entries, l.entries+n)
	}
	l.entries += n
}

// startValid makes the bitmap of the page, whose rows so far were not null.
func (l *leafWriter) startValid(n int) {
	if len(l.valid) == 0 {
		l.growValid(l.entries)
		setBits(l.valid, 0, l.entries)
	}
	l.growValid(l.entries + n)
}

func (l *leafWriter) growValid(n int) {
	for need := (n + 7) / 8; len(l.valid) < need; {
		l.valid = append(l.valid, 0)
	}
}

// setBits sets bits from lo up to hi.
func setBits(b []byte, lo, hi int) {
	for ; lo < hi && lo&7 != 0; lo++ {
		b[lo>>3] |= 1 << (lo & 7)
	}
	for ; lo+8 <= hi; lo += 8 {
		b[lo>>3] = 0xff
	}
	for ; lo < hi; lo++ {
		b[lo>>3] |= 1 << (lo & 7)
	}
}

// giveUpDict turns the open page to plain values, and the pages after it.
func (l *leafWriter) giveUpDict() {
	d := l.dict
	l.dict = nil
	for _, e := range l.idx {
		if len(d.nums) > 0 {
			l.vals = appendNumber(l.vals, d.nums[e], l.phys.size())
		} else {
			l.vals = l.appendBytesValue(l.vals, d.entry(e))
		}
	}
	l.idx = l.idx[:0]
	if l.dictPages > 0 {
		l.written = d
	} else {
		l.releaseDict(&d)
	}
}

// judgeDict gives the dictionary up if a first sample is too diverse.
func (l *leafWriter) judgeDict() {
	if l.dict == nil || l.sampled {
		return
	}
	l.sampled = true
	if 2*l.dict.len() > l.nvals {
		l.giveUpDict()
	}
}

// appendBytesValue appends a value of a byte array type in PLAIN encoding.
func (l *leafWriter) appendBytesValue(dst, v []byte) []byte {
	if l.phys == physBytes {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(v)))
	}
	return append(dst, v...)
}

// pageFull reports that the open page should be closed.
func (l *leafWriter) pageFull() bool {
	return l.bytes() >= l.pageBytes || l.entries >= maxPageEntries
}

// maxPageEntries closes pages of values that take next to no room, so that
// readers can skip and split.
const maxPageEntries = 1 << 18

// flushPage closes the open page, if it has anything.
func (l *leafWriter) flushPage(s *scratch) error {
	if l.entries == 0 {
		return nil
	}
	l.judgeDict()
	raw := s.page[:0]
	raw = l.appendLevels(raw)
	enc := format.Plain
	if l.dict != nil && l.nvals > 0 {
		enc = format.RLEDictionary
		l.dictPages++
		width := max(bitWidth(l.dict.len()-1), 1)
		raw = append(raw, byte(width))
		raw = appendHybrid(raw, l.idx, width)
	} else {
		l.plainPages++
		raw = append(raw, l.vals...)
	}
	s.page = raw
	if err := l.storePage(s, &l.pages, format.DataPage, raw, l.entries, enc); err != nil {
		return err
	}
	nulls := int64(l.entries - l.nvals)
	l.groupVals += int64(l.entries)
	l.groupNull += nulls
	l.entries, l.nvals = 0, 0
	l.reset()
	return nil
}

// storePage compresses a page and appends it with its header to the chain.
func (l *leafWriter) storePage(s *scratch, to *chain, typ format.PageType, raw []byte, values int, enc format.Encoding) error {
	if len(raw) > math.MaxInt32 {
		return unsupportedf("page of %d bytes", len(raw))
	}
	stored := raw
	if l.codec != Uncompressed {
		var err error
		if s.packed, err = compress(s.packed, raw, l.codec, l.zstdLevel); err != nil {
			return err
		}
		stored = s.packed
	}
	if len(stored) > math.MaxInt32 {
		return unsupportedf("page of %d bytes after compression", len(stored))
	}
	s.header = appendPageHeader(s.header[:0], typ, len(raw), len(stored), crc32.ChecksumIEEE(stored), values, enc)
	to.append(s.header)
	to.append(stored)
	l.rawBytes += int64(len(s.header) + len(raw))
	return nil
}

// appendLevels appends the repetition and definition levels, each with its
// length in front.
func (l *leafWriter) appendLevels(dst []byte) []byte {
	if l.maxRep > 0 {
		at := len(dst)
		dst = appendHybrid(append(dst, 0, 0, 0, 0), l.reps, bitWidth(int(l.maxRep)))
		binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	}
	if l.maxDef > 0 {
		at := len(dst)
		dst = append(dst, 0, 0, 0, 0)
		switch {
		case l.nested:
			dst = appendHybrid(dst, l.defs, bitWidth(int(l.maxDef)))
		case l.nvals == l.entries:
			dst = appendRun(dst, 1, l.entries, 1)
		case l.nvals == 0:
			dst = appendRun(dst, 0, l.entries, 1)
		default:
			dst = appendBitmapLevels(dst, l.valid, l.entries)
		}
		binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	}
	return dst
}

// held is the memory of the finished and the open page, roughly.
func (l *leafWriter) held() int64 { return l.pages.size + int64(l.bytes()) + l.dictSize() }

// raw is the size of the row group's part before compression.
func (l *leafWriter) raw() int64 {
	return l.rawBytes + int64(l.bytes()) + l.dictSize()
}

func (l *leafWriter) dictSize() int64 {
	n := int64(0)
	for _, d := range []*dictionary{l.dict, l.written} {
		if d != nil {
			n += int64(8*len(d.nums) + len(d.data) + 4*len(d.ends))
		}
	}
	return n
}

// endGroup writes the column chunk to w, whose position is offset, and
// describes it. The leaf is then ready for another row group.
func (l *leafWriter) endGroup(w *offsetWriter, s *scratch) (format.ColumnChunk, error) {
	var cc format.ColumnChunk
	if err := l.flushPage(s); err != nil {
		return cc, err
	}
	d := l.dict
	if d == nil {
		d = l.written
	}
	m := &cc.MetaData
	start := w.offset
	if d != nil && l.dictPages > 0 {
		s.page = d.appendPlain(s.page[:0], l)
		var page chain
		err := l.storePage(s, &page, format.DictionaryPage, s.page, d.len(), format.Plain)
		if err == nil {
			m.DictionaryPageOffset = start
			err = page.writeTo(w)
		}
		if err != nil {
			return cc, fmt.Errorf("dictionary: %w", err)
		}
	}
	m.DataPageOffset = w.offset
	if err := l.pages.writeTo(w); err != nil {
		return cc, err
	}
	m.Type = physicalFormat[l.phys]
	m.PathInSchema = thrift.Slice[string](l.path)
	m.Codec = l.codec.format()
	m.NumValues = l.groupVals
	m.TotalUncompressedSize = l.rawBytes
	m.TotalCompressedSize = w.offset - start
	l.encodings(m)
	m.Statistics.NullCount = l.groupNull
	if l.track != nil {
		l.track.nulls += l.groupNull
		l.track.footer(&m.Statistics, l)
		l.track.endGroup()
	}
	l.releaseDict(&l.written)
	l.open()
	return cc, nil
}

// encodings lists what the chunk uses.
func (l *leafWriter) encodings(m *format.ColumnMetaData) {
	m.Encoding = append(m.Encoding, format.Plain, format.RLE)
	if l.dictPages > 0 {
		m.Encoding = append(m.Encoding, format.RLEDictionary)
		m.EncodingStats = append(m.EncodingStats,
			format.PageEncodingStats{PageType: format.DictionaryPage, Encoding: format.Plain, Count: 1},
			format.PageEncodingStats{PageType: format.DataPage, Encoding: format.RLEDictionary, Count: int32(l.dictPages)})
	}
	if l.plainPages > 0 {
		m.EncodingStats = append(m.EncodingStats,
			format.PageEncodingStats{PageType: format.DataPage, Encoding: format.Plain, Count: int32(l.plainPages)})
	}
}
