package variant

// Dict is the dictionary of a variant's metadata: the names that objects refer
// to by number. It shows the bytes that it was parsed from. The zero value is
// an empty one. (Metadata encoding)
type Dict struct {
	offsets []byte // one more than there are names
	width   int    // of an offset, in bytes
	n       int
	text    []byte
}

const metadataVersion = 1

// ParseMetadata reads the metadata of a variant, and checks the whole of it
// but for what is written in the names.
func ParseMetadata(b []byte) (Dict, error) {
	if len(b) == 0 {
		return Dict{}, corruptf("no metadata")
	}
	if v := b[0] & 15; v != metadataVersion {
		return Dict{}, corruptf("metadata of version %d", v)
	}
	width := int(b[0]>>6) + 1
	rest := b[1:]
	if len(rest) < width {
		return Dict{}, corruptf("metadata of %d bytes", len(b))
	}
	n := unsigned(rest[:width])
	rest = rest[width:]
	if n >= len(rest)/width { // there are n+1 offsets
		return Dict{}, corruptf("metadata of %d bytes with %d names", len(b), n)
	}
	d := Dict{offsets: rest[:(n+1)*width], width: width, n: n, text: rest[(n+1)*width:]}
	before := 0
	for i := range n + 1 {
		at := d.offset(i)
		if i == 0 && at != 0 || at < before || at > len(d.text) {
			return Dict{}, corruptf("name %d of %d at %d in %d bytes", i, n, at, len(d.text))
		}
		before = at
	}
	return d, nil
}

func (d *Dict) offset(i int) int { return unsigned(d.offsets[i*d.width : (i+1)*d.width]) }

// Len is the number of names.
func (d *Dict) Len() int { return d.n }

// Name is a name of the dictionary, 0 <= i < Len.
func (d *Dict) Name(i int) []byte { return d.text[d.offset(i):d.offset(i+1)] }
