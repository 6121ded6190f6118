package colfile

import (
	"hash/crc32"

	"github.com/parquet-go/parquet-go/format"
)

// chunkSource gives the bytes of a column chunk in order, through a window.
type chunkSource struct {
	f        *File
	off, end int64  // of what is not in win yet
	win      []byte // bytes read and not consumed
	buf      []byte // the window's memory
	step     int    // bytes to read at a time
}

// peek gives n bytes without consuming them, fewer at the chunk's end. They
// are valid until the next call.
func (s *chunkSource) peek(n int) ([]byte, error) {
	if len(s.win) >= n || s.off >= s.end {
		return s.win[:min(n, len(s.win))], nil
	}
	start := s.off - int64(len(s.win))
	want := int(min(int64(max(n, s.step)), s.end-start))
	if s.f.cached(start) {
		win, err := s.f.readAt(nil, start, want)
		if err != nil {
			return nil, err
		}
		s.win, s.off = win, start+int64(want)
		return s.win[:min(n, want)], nil
	}
	if cap(s.buf) < want {
		grown := make([]byte, want)
		copy(grown, s.win)
		s.buf = grown
	} else {
		s.buf = s.buf[:cap(s.buf)]
		copy(s.buf, s.win)
	}
	have := len(s.win)
	got, err := s.f.readAt(s.buf[have:want], s.off, want-have)
	if err != nil {
		return nil, err
	}
	if len(got) > 0 && &got[0] != &s.buf[have] {
		copy(s.buf[have:], got) // it came from the cached tail
	}
	s.win, s.off = s.buf[:want], start+int64(want)
	return s.win[:min(n, want)], nil
}

func (s *chunkSource) discard(n int) { s.win = s.win[n:] }

// left is the number of bytes not consumed.
func (s *chunkSource) left() int64 { return s.end - s.off + int64(len(s.win)) }

func (f *File) cached(off int64) bool { return off >= f.size-int64(len(f.tail)) }

// header reads the next page's header; ok is false at the end of the chunk.
func (s *chunkSource) header() (h pageHeader, ok bool, err error) {
	if s.left() == 0 {
		return h, false, nil
	}
	for n := 256; ; n *= 4 {
		b, err := s.peek(n)
		if err != nil {
			return h, false, err
		}
		h, size, short, err := parsePageHeader(b)
		if err == nil {
			s.discard(size)
			if int64(h.stored) > s.left() {
				return h, false, corruptf("page of %d bytes where %d are left", h.stored, s.left())
			}
			return h, true, nil
		}
		if !short || int64(n) >= s.left() || n > maxPageHeader {
			return h, false, err
		}
	}
}

// maxPageHeader bounds headers, which may hold statistics of long values.
const maxPageHeader = 16 << 20

// body reads the bytes of the page whose header was read, and checks them.
func (s *chunkSource) body(h *pageHeader) ([]byte, error) {
	b, err := s.peek(int(h.stored))
	if err != nil {
		return nil, err
	}
	if len(b) < int(h.stored) {
		return nil, corruptf("page of %d bytes where %d are left", h.stored, len(b))
	}
	if h.hasCRC && crc32.ChecksumIEEE(b) != h.crc {
		return nil, corruptf("page of %d bytes fails its checksum", len(b))
	}
	s.discard(int(h.stored))
	return b, nil
}

// pageStream walks the data pages of one leaf in one row group.
type pageStream struct {
	leaf  *readLeaf
	src   chunkSource
	codec format.CompressionCodec
	raw   []byte // memory for a decompressed page

	dict    dictPage
	hasDict bool

	// The open data page.
	left   int // levels not consumed yet
	defs   hybridReader
	reps   hybridReader
	values pageValues
}

// maxPageLevels bounds the levels of one page; writers cut pages at some tens
// of thousands of rows.
const maxPageLevels = 1 << 26

// nextHeader passes over dictionary and other pages to the next data page.
func (p *pageStream) nextHeader() (h pageHeader, ok bool, err error) {
	for {
		h, ok, err = p.src.header()
		if err != nil || !ok {
			return h, ok, err
		}
		switch h.typ {
		case format.DataPage, format.DataPageV2:
			if h.values > maxPageLevels {
				return h, false, corruptf("page of %d values", h.values)
			}
			return h, true, nil
		case format.DictionaryPage:
			if err := p.readDict(&h); err != nil {
				return h, false, err
			}
		default:
			if _, err := p.src.peek(int(h.stored)); err != nil {
				return h, false, err
			}
			p.src.discard(int(h.stored))
		}
	}
}

func (p *pageStream) readDict(h *pageHeader) error {
	if p.hasDict {
		return corruptf("second dictionary")
	}
	b, err := p.src.body(h)
	if err != nil {
		return err
	}
	// Its values stay, so it gets memory of its own.
	raw, err := decompress(nil, b, int(h.raw), p.codec)
	if err != nil {
		return err
	}
	if p.codec == format.Uncompressed {
		raw = append([]byte(nil), raw...)
	}
	p.hasDict = true
	return p.dict.load(p.leaf, raw, int(h.values))
}

// openPage decodes the page of h so far that its levels and values can be
// taken in turn.
func (p *pageStream) openPage(h *pageHeader) error {
	b, err := p.src.body(h)
	if err != nil {
		return err
	}
	var data []byte
	if h.typ == format.DataPageV2 {
		data, err = p.levelsV2(h, b)
	} else {
		data, err = p.levelsV1(h, b)
	}
	if err != nil {
		return err
	}
	p.left = int(h.values)
	return p.values.open(p, h, data)
}

func (p *pageStream) levelsV1(h *pageHeader, b []byte) (data []byte, err error) {
	if p.raw, err = decompress(p.raw, b, int(h.raw), p.codec); err != nil {
		return nil, err
	}
	data = p.raw
	if p.codec == format.Uncompressed {
		p.raw = nil // it is the window's
	}
	if p.leaf.maxRep > 0 {
		if p.reps, data, err = levelsReader(data, p.leaf.maxRep, h.repEnc); err != nil {
			return nil, err
		}
	}
	if p.leaf.maxDef > 0 {
		if p.defs, data, err = levelsReader(data, p.leaf.maxDef, h.defEnc); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// levelsReader takes levels with their length in front.
func levelsReader(b []byte, limit uint8, enc format.Encoding) (r hybridReader, rest []byte, err error) {
	if enc != format.RLE {
		return r, nil, unsupportedf("levels in encoding %s", enc)
	}
	if len(b) < 4 {
		return r, nil, corruptf("levels are missing")
	}
	n := int64(b[0]) | int64(b[1])<<8 | int64(b[2])<<16 | int64(b[3])<<24
	if b = b[4:]; n > int64(len(b)) {
		return r, nil, corruptf("levels of %d bytes where %d are left", n, len(b))
	}
	return newHybridReader(b[:n], bitWidth(int(limit))), b[n:], nil
}

func (p *pageStream) levelsV2(h *pageHeader, b []byte) ([]byte, error) {
	levels := int64(h.defBytes) + int64(h.repBytes)
	if h.defBytes < 0 || h.repBytes < 0 || levels > int64(len(b)) || levels > int64(h.raw) {
		return nil, corruptf("levels of %d and %d bytes in a page of %d", h.repBytes, h.defBytes, len(b))
	}
	p.reps = newHybridReader(b[:h.repBytes], bitWidth(int(p.leaf.maxRep)))
	p.defs = newHybridReader(b[h.repBytes:levels], bitWidth(int(p.leaf.maxDef)))
	data := b[levels:]
	if h.plainV2 || p.codec == format.Uncompressed {
		return data, nil
	}
	if len(data) == 0 && int64(h.raw) == levels {
		return nil, nil // no values, and no frame either
	}
	var err error
	p.raw, err = decompress(p.raw, data, int(int64(h.raw)-levels), p.codec)
	return p.raw, err
}
