package colfile

import "github.com/parquet-go/parquet-go/format"

// Page headers are written for every page, so they are encoded by hand:
// Thrift's compact protocol, of parquet.thrift's PageHeader the fields below.
const (
	thriftI32    = 5
	thriftStruct = 12
)

type thriftWriter struct {
	buf  []byte
	last [2]int16 // last field id, for the two levels that a page header has
	lvl  int
}

func (w *thriftWriter) field(id int16, typ byte) {
	w.buf = append(w.buf, byte(id-w.last[w.lvl])<<4|typ)
	w.last[w.lvl] = id
}

func (w *thriftWriter) i32(id int16, v int32) {
	w.field(id, thriftI32)
	u := uint32(v<<1) ^ uint32(v>>31)
	for u >= 0x80 {
		w.buf = append(w.buf, byte(u)|0x80)
		u >>= 7
	}
	w.buf = append(w.buf, byte(u))
}

func (w *thriftWriter) begin(id int16) {
	w.field(id, thriftStruct)
	w.lvl++
	w.last[w.lvl] = 0
}

func (w *thriftWriter) end() { w.buf = append(w.buf, 0); w.lvl-- }

// appendPageHeader appends the header of a version 1 data page, or of a
// dictionary page.
func appendPageHeader(dst []byte, typ format.PageType, raw, stored int, crc uint32, values int, enc format.Encoding) []byte {
	w := thriftWriter{buf: dst}
	w.i32(1, int32(typ))
	w.i32(2, int32(raw))
	w.i32(3, int32(stored))
	w.i32(4, int32(crc))
	if typ == format.DictionaryPage {
		w.begin(7)
		w.i32(1, int32(values))
		w.i32(2, int32(enc))
		w.end()
	} else {
		w.begin(5)
		w.i32(1, int32(values))
		w.i32(2, int32(enc))
		w.i32(3, int32(format.RLE))
		w.i32(4, int32(format.RLE))
		w.end()
	}
	return append(w.buf, 0)
}
