package colfile

import (
	"encoding/binary"

	"github.com/parquet-go/parquet-go/format"
)

// thriftReader walks bytes in Thrift's compact protocol. It is used where the
// bytes may be damaged: page headers and footers. The first fault sticks in bad.
type thriftReader struct {
	b   []byte
	pos int
	bad bool
	// short says that bad is because b ended, so that more bytes may help.
	short bool
}

// The types of the compact protocol.
const (
	tTrue   = 1
	tFalse  = 2
	tByte   = 3
	tI16    = 4
	tI32    = 5
	tI64    = 6
	tDouble = 7
	tBinary = 8
	tList   = 9
	tSet    = 10
	tMap    = 11
	tStruct = 12
)

func (r *thriftReader) fail() { r.bad = true }

func (r *thriftReader) byte() byte {
	if r.bad || r.pos >= len(r.b) {
		r.short = r.short || !r.bad
		r.bad = true
		return 0
	}
	r.pos++
	return r.b[r.pos-1]
}

func (r *thriftReader) uvarint() uint64 {
	if r.bad {
		return 0
	}
	v, n := binary.Uvarint(r.b[r.pos:])
	if n <= 0 {
		r.short = n == 0
		r.bad = true
		return 0
	}
	r.pos += n
	return v
}

func (r *thriftReader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// i32 reads a 32-bit field; one that does not fit is a fault.
func (r *thriftReader) i32() int32 {
	v := r.varint()
	if v != int64(int32(v)) {
		r.fail()
	}
	return int32(v)
}

// field reads a field's header; typ 0 ends the struct. id is updated.
func (r *thriftReader) field(id *int16) (typ byte) {
	b := r.byte()
	if b == 0 || r.bad {
		return 0
	}
	if delta := b >> 4; delta != 0 {
		*id += int16(delta)
	} else {
		*id = int16(r.varint())
	}
	return b & 15
}

// list reads the header of a list whose elements must take a byte at least.
func (r *thriftReader) list() (typ byte, n int) {
	b := r.byte()
	size := uint64(b >> 4)
	if size == 15 {
		size = r.uvarint()
	}
	if r.bad || size > uint64(len(r.b)-r.pos) {
		r.short = r.short || !r.bad
		r.bad = true
		return 0, 0
	}
	return b & 15, int(size)
}

// advance passes n bytes.
func (r *thriftReader) advance(n uint64) {
	if r.bad || n > uint64(len(r.b)-r.pos) {
		r.short = r.short || !r.bad
		r.bad = true
		return
	}
	r.pos += int(n)
}

const maxThriftDepth = 16

// skip passes a value. cost, if not nil, is told of each list, by the depth
// of structs around it and the id of its field.
func (r *thriftReader) skip(typ byte, depth int, id int16, cost func(depth int, id int16, typ byte, n int)) {
	if depth > maxThriftDepth {
		r.fail()
	}
	if r.bad {
		return
	}
	switch typ {
	case tTrue, tFalse:
	case tByte:
		r.byte()
	case tI16, tI32, tI64:
		r.uvarint()
	case tDouble:
		r.advance(8)
	case tBinary:
		r.advance(r.uvarint())
	case tList, tSet:
		elem, n := r.list()
		if cost != nil {
			cost(depth, id, elem, n)
		}
		for range n {
			if r.bad {
				return
			}
			if elem == tTrue || elem == tFalse {
				r.byte()
				continue
			}
			r.skip(elem, depth+1, id, cost)
		}
	case tStruct:
		var field int16
		for {
			t := r.field(&field)
			if t == 0 || r.bad {
				return
			}
			r.skip(t, depth+1, field, cost)
		}
	default: // maps do not occur in Parquet
		r.fail()
	}
}

// pageHeader is what of a page's header matters for reading it.
type pageHeader struct {
	typ         format.PageType
	raw, stored int32 // sizes of the page without this header
	hasCRC      bool
	crc         uint32
	values      int32 // levels of a data page, entries of a dictionary
	enc         format.Encoding
	defEnc      format.Encoding // of version 1
	repEnc      format.Encoding
	rows        int32 // of version 2, as are the rest
	defBytes    int32
	repBytes    int32
	plainV2     bool // the values are not compressed
}

// parsePageHeader decodes the header at the start of b and says how long it
// is. If b ends before the header does, short is true.
func parsePageHeader(b []byte) (h pageHeader, n int, short bool, err error) {
	r := thriftReader{b: b}
	h.typ, h.raw, h.stored, h.values = -1, -1, -1, -1
	var id int16
	for {
		t := r.field(&id)
		if t == 0 {
			break
		}
		switch {
		case t == tI32 && id == 1:
			h.typ = format.PageType(r.i32())
		case t == tI32 && id == 2:
			h.raw = r.i32()
		case t == tI32 && id == 3:
			h.stored = r.i32()
		case t == tI32 && id == 4:
			h.hasCRC, h.crc = true, uint32(r.i32())
		case t == tStruct && (id == 5 || id == 7 || id == 8):
			r.dataHeader(&h, id == 8)
		default:
			r.skip(t, 0, id, nil)
		}
	}
	if r.bad {
		return h, 0, r.short, corruptf("page header cannot be decoded")
	}
	if h.typ < 0 || h.raw < 0 || h.stored < 0 {
		return h, 0, false, corruptf("page header without type or sizes")
	}
	if data := h.typ == format.DataPage || h.typ == format.DataPageV2 || h.typ == format.DictionaryPage; data && h.values < 0 {
		return h, 0, false, corruptf("page header without a number of values")
	}
	return h, r.pos, false, nil
}

// dataHeader decodes a DataPageHeader or DictionaryPageHeader, which begin
// alike, or a DataPageHeaderV2.
func (r *thriftReader) dataHeader(h *pageHeader, v2 bool) {
	var id int16
	for {
		t := r.field(&id)
		if t == 0 {
			return
		}
		switch {
		case t == tI32 && id == 1:
			h.values = r.i32()
		case t == tI32 && (id == 2 && !v2 || id == 4 && v2):
			h.enc = format.Encoding(r.i32())
		case t == tI32 && id == 3 && v2:
			h.rows = r.i32()
		case t == tI32 && id == 3:
			h.defEnc = format.Encoding(r.i32())
		case t == tI32 && id == 4:
			h.repEnc = format.Encoding(r.i32())
		case t == tI32 && id == 5 && v2:
			h.defBytes = r.i32()
		case t == tI32 && id == 6 && v2:
			h.repBytes = r.i32()
		case (t == tTrue || t == tFalse) && id == 7 && v2:
			h.plainV2 = t == tFalse
		default:
			r.skip(t, 1, id, nil)
		}
	}
}
