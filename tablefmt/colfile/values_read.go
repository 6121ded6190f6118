package colfile

import (
	"encoding/binary"

	"github.com/parquet-go/parquet-go/format"
)

// dense gathers the values of a leaf that are not null, and the levels of all
// its slots, for one batch.
type dense struct {
	n       int     // values
	fixed   []byte  // of fixed-width types, one after the other; booleans a byte each
	offsets []int32 // of BYTE_ARRAY: n+1 places in data
	data    []byte
	defs    []uint8 // of all levels, if the column has any
	reps    []uint8
	levels  int
}

// maxBatchData keeps offsets in 32 bits.
const maxBatchData = 1<<31 - 1

func (d *dense) bytes() int { return len(d.fixed) + len(d.data) + 4*len(d.offsets) + 2*d.levels }

// valueSize is the width of a leaf's fixed-width values, 0 for BYTE_ARRAY.
func (l *readLeaf) valueSize() int {
	switch l.phys {
	case physBool:
		return 1
	case physFixed:
		return l.width
	}
	return l.phys.size()
}

// dictPage is a decoded dictionary.
type dictPage struct {
	n      int
	fixed  []byte
	data   []byte
	ends   []int64 // of BYTE_ARRAY entries in data
	widest int
}

func (d *dictPage) load(l *readLeaf, raw []byte, n int) error {
	d.n = n
	if size := l.valueSize(); size > 0 {
		if l.phys == physBool || n > len(raw)/size {
			return corruptf("dictionary of %d values in %d bytes", n, len(raw))
		}
		d.fixed, d.widest = raw, size
		return nil
	}
	if n > len(raw)/4 {
		return corruptf("dictionary of %d values in %d bytes", n, len(raw))
	}
	d.ends = make([]int64, n)
	d.data = raw[:0] // compacted in place: lengths go, values move down
	for i := range n {
		v, rest, err := plainBytes(raw)
		if err != nil {
			return err
		}
		d.data = append(d.data, v...)
		d.ends[i] = int64(len(d.data))
		d.widest = max(d.widest, len(v))
		raw = rest
	}
	return nil
}

// plainBytes takes one BYTE_ARRAY value in PLAIN encoding.
func plainBytes(b []byte) (v, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, corruptf("values are missing")
	}
	n := binary.LittleEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, nil, corruptf("value of %d bytes where %d are left", n, len(b)-4)
	}
	return b[4 : 4+n], b[4+n:], nil
}

func (d *dictPage) value(i uint32) []byte {
	start := int64(0)
	if i > 0 {
		start = d.ends[i-1]
	}
	return d.data[start:d.ends[i]]
}

// plainDictionary is the name that older writers, parquet-mr 1 among them,
// give to RLE_DICTIONARY in data pages.
const plainDictionary format.Encoding = 2

// valueForm is how the values of a page are at hand.
type valueForm uint8

const (
	formPlain   valueForm = iota // data: fixed-width values
	formBits                     // data: booleans, a bit each
	formRLE                      // hybrid: booleans
	formIndex                    // hybrid: dictionary indices
	formLengths                  // data: BYTE_ARRAY, each with its length
	formEnds                     // data and ends: BYTE_ARRAY, decoded
)

// pageValues gives the values of a data page in turn.
type pageValues struct {
	leaf   *readLeaf
	form   valueForm
	data   []byte
	bit    int // formBits: values taken
	hybrid hybridReader
	dict   *dictPage
	ends   []int64             // formEnds
	at     int                 // formEnds: values taken
	nums   []int64             // memory for delta decoding
	spare  []byte              // memory for values decoded from other encodings
	idx    *[indexChunk]uint32 // nil: none was decoded yet
}

// indexChunk is how many places in a dictionary are decoded at a time.
const indexChunk = 512

// open prepares the values of a page, of which there are at most h.values.
func (v *pageValues) open(p *pageStream, h *pageHeader, data []byte) error {
	v.leaf, v.data, v.bit, v.at = p.leaf, data, 0, 0
	phys, limit := p.leaf.phys, int(h.values)
	switch {
	case h.enc == format.Plain && phys == physBool:
		v.form = formBits
	case h.enc == format.Plain && phys == physBytes:
		v.form = formLengths
	case h.enc == format.Plain:
		v.form = formPlain
	case h.enc == format.RLEDictionary || h.enc == plainDictionary:
		return v.openIndex(p, data)
	case h.enc == format.RLE && phys == physBool:
		r, _, err := levelsReader(data, 1, format.RLE)
		if err != nil {
			return err
		}
		v.form, v.hybrid = formRLE, r
	case h.enc == format.DeltaBinaryPacked && (phys == physInt32 || phys == physInt64):
		return v.openDelta(data, limit)
	case h.enc == format.DeltaLengthByteArray && phys == physBytes:
		return v.openEnds(decodeDeltaLengths(data, limit))
	case h.enc == format.DeltaByteArray && (phys == physBytes || phys == physFixed):
		return v.openEnds(decodeFrontCoded(data, limit))
	case h.enc == format.ByteStreamSplit && phys != physBool && phys != physBytes && phys != physInt96:
		v.openSplit(data)
	default:
		return unsupportedf("%s values in encoding %s", physicalFormat[phys], h.enc)
	}
	return nil
}

func (v *pageValues) openIndex(p *pageStream, data []byte) error {
	if !p.hasDict {
		return corruptf("page refers to a dictionary that is not there")
	}
	v.form, v.dict = formIndex, &p.dict
	if len(data) == 0 { // all null
		v.hybrid = hybridReader{}
		return nil
	}
	if data[0] > 32 {
		return corruptf("dictionary indices of %d bits", data[0])
	}
	v.hybrid = newHybridReader(data[1:], int(data[0]))
	return nil
}

func (v *pageValues) openDelta(data []byte, limit int) (err error) {
	if v.nums, _, err = decodeDelta(v.nums, data, limit); err != nil {
		return err
	}
	v.form = formPlain
	if v.leaf.phys == physInt64 {
		v.data = byteView(v.nums)
		return nil
	}
	v.spare = v.spare[:0]
	for _, n := range v.nums {
		v.spare = binary.LittleEndian.AppendUint32(v.spare, uint32(n))
	}
	v.data = v.spare
	return nil
}

func (v *pageValues) openEnds(ends []int64, data []byte, err error) error {
	v.form, v.ends, v.data = formEnds, ends, data
	if v.leaf.phys != physFixed || err != nil {
		return err
	}
	v.form = formPlain
	for i, e := range ends {
		if e != int64(i+1)*int64(v.leaf.width) {
			return corruptf("value that is not of %d bytes", v.leaf.width)
		}
	}
	return nil
}

// openSplit undoes BYTE_STREAM_SPLIT: first bytes of all values, then second.
func (v *pageValues) openSplit(data []byte) {
	size := v.leaf.valueSize()
	n := len(data) / size
	v.spare = reserve(v.spare, n*size)
	for k := range size {
		for i, c := range data[k*n : (k+1)*n] {
			v.spare[i*size+k] = c
		}
	}
	v.form, v.data = formPlain, v.spare
}

// take appends the next n values to d.
func (v *pageValues) take(d *dense, n int) error {
	d.n += n
	switch v.form {
	case formPlain:
		size := n * v.leaf.valueSize()
		if size > len(v.data) {
			return corruptf("%d values where there are %d bytes", n, len(v.data))
		}
		d.fixed = append(d.fixed, v.data[:size]...)
		v.data = v.data[size:]
	case formBits:
		if v.bit+n > 8*len(v.data) {
			return corruptf("%d booleans where there are %d bytes", v.bit+n, len(v.data))
		}
		for range n {
			d.fixed = append(d.fixed, v.data[v.bit>>3]>>(v.bit&7)&1)
			v.bit++
		}
	case formRLE:
		at := len(d.fixed)
		d.fixed = growBytes(d.fixed, n)
		if !hybridRead(&v.hybrid, d.fixed[at:]) {
			return corruptf("booleans end early")
		}
	case formIndex:
		return v.takeIndexed(d, n)
	case formLengths:
		return v.takeLengths(d, n)
	case formEnds:
		return v.takeEnds(d, n)
	}
	return nil
}

func growBytes(b []byte, n int) []byte {
	if cap(b)-len(b) < n {
		b = append(make([]byte, 0, max(2*cap(b), len(b)+n)), b...)
	}
	return b[:len(b)+n]
}

func (v *pageValues) takeIndexed(d *dense, n int) error {
	if v.idx == nil {
		v.idx = new([indexChunk]uint32)
	}
	for n > 0 {
		idx := v.idx[:min(n, indexChunk)]
		n -= len(idx)
		if !hybridRead(&v.hybrid, idx) {
			return corruptf("dictionary indices end early")
		}
		for _, i := range idx {
			if int(i) >= v.dict.n {
				return corruptf("index %d in a dictionary of %d", i, v.dict.n)
			}
		}
		if err := v.lookup(d, idx); err != nil {
			return err
		}
	}
	return nil
}

// lookup appends the dictionary's values of idx, which are in range.
func (v *pageValues) lookup(d *dense, idx []uint32) error {
	size := v.leaf.valueSize()
	switch size {
	case 0:
		for _, i := range idx {
			if err := d.addBytes(v.dict.value(i)); err != nil {
				return err
			}
		}
	case 4:
		for _, i := range idx {
			d.fixed = append(d.fixed, v.dict.fixed[4*i:4*i+4]...)
		}
	case 8:
		for _, i := range idx {
			d.fixed = append(d.fixed, v.dict.fixed[8*i:8*i+8]...)
		}
	default:
		for _, i := range idx {
			d.fixed = append(d.fixed, v.dict.fixed[size*int(i):size*int(i)+size]...)
		}
	}
	return nil
}

func (d *dense) addBytes(v []byte) error {
	if len(d.offsets) == 0 {
		d.offsets = append(d.offsets, 0)
	}
	if len(d.data)+len(v) > maxBatchData {
		return unsupportedf("batch with more than %d bytes of one column", maxBatchData)
	}
	d.data = append(d.data, v...)
	d.offsets = append(d.offsets, int32(len(d.data)))
	return nil
}

func (v *pageValues) takeLengths(d *dense, n int) error {
	for range n {
		b, rest, err := plainBytes(v.data)
		if err != nil {
			return err
		}
		v.data = rest
		if err := d.addBytes(b); err != nil {
			return err
		}
	}
	return nil
}

func (v *pageValues) takeEnds(d *dense, n int) error {
	if n > len(v.ends)-v.at {
		return corruptf("%d values where there are %d", n, len(v.ends)-v.at)
	}
	for range n {
		start := int64(0)
		if v.at > 0 {
			start = v.ends[v.at-1]
		}
		if err := d.addBytes(v.data[start:v.ends[v.at]]); err != nil {
			return err
		}
		v.at++
	}
	return nil
}
