package dv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
)

// fileVersion is the first byte of a file of vectors ("Deletion Vector File
// Storage Format").
const fileVersion = 1

// Location is where a vector lies in its file.
type Location struct {
	Offset      int32 // of its size field
	Size        int32 // of the vector, without size field and checksum
	Cardinality int64
}

// Descriptor names the vector at this location in the file that NewFile gave
// pathOrInlineDV for.
func (l Location) Descriptor(pathOrInlineDV string) Descriptor {
	return Descriptor{
		StorageType:    Relative,
		PathOrInlineDV: pathOrInlineDV,
		Offset:         &l.Offset,
		SizeInBytes:    l.Size,
		Cardinality:    l.Cardinality,
	}
}

// FileWriter writes the vectors of one file, one after the other. It is used
// by one goroutine; after an error the file is useless.
type FileWriter struct {
	w   io.Writer
	pos int64
}

// NewFileWriter begins a file. The caller closes w.
func NewFileWriter(w io.Writer) *FileWriter { return &FileWriter{w: w} }

// Size is the length of the file so far.
func (f *FileWriter) Size() int64 { return f.pos }

// Write appends a vector and tells where it lies. A file ends at 2 GiB,
// because offsets are 32-bit numbers.
func (f *FileWriter) Write(b *Bitmap) (Location, error) {
	var out []byte
	if f.pos == 0 {
		out = []byte{fileVersion}
	}
	data := Encode(b)
	offset := f.pos + int64(len(out))
	if offset+int64(len(data))+8 > math.MaxInt32 {
		return Location{}, fmt.Errorf("writing a deletion vector of %d bytes at %d: its file would be larger than 2 GiB; begin another file", len(data), offset)
	}
	out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
	out = append(out, data...)
	out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(data))
	n, err := f.w.Write(out)
	f.pos += int64(n)
	if err != nil {
		return Location{}, fmt.Errorf("writing a deletion vector: %w", err)
	}
	return Location{Offset: int32(offset), Size: int32(len(data)), Cardinality: int64(b.Cardinality())}, nil
}

// WriteFile writes a whole file of vectors and tells where each lies. The
// caller closes w.
func WriteFile(w io.Writer, vectors []*Bitmap) ([]Location, error) {
	f := NewFileWriter(w)
	locs := make([]Location, len(vectors))
	for i, b := range vectors {
		var err error
		if locs[i], err = f.Write(b); err != nil {
			return nil, err
		}
	}
	return locs, nil
}

// ReadAt reads the vector at an offset of a file, of the size that its
// descriptor announces. It reads these bytes alone, and does not allocate
// more than the file has. Damage, a file that ends too early too, is an
// ErrCorrupt; other errors are the reader's own.
func ReadAt(r io.ReaderAt, offset int64, size int32) (*Bitmap, error) {
	if offset < firstOffset || size < 0 || offset > math.MaxInt64-int64(size)-8 {
		return nil, corrupt("it cannot lie at %d with %d bytes", offset, size)
	}
	framed := int64(size) + 8
	var buf bytes.Buffer
	if framed <= 1<<20 {
		buf.Grow(int(framed) + bytes.MinRead)
	}
	n, err := buf.ReadFrom(io.NewSectionReader(r, offset, framed))
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("reading a deletion vector of %d bytes at %d: %w", size, offset, err)
	}
	if n != framed {
		return nil, corrupt("its file ends %d bytes too early for %d bytes at %d", framed-n, size, offset)
	}
	b := buf.Bytes()
	if said := binary.BigEndian.Uint32(b); said != uint32(size) {
		return nil, corrupt("its file says %d bytes at %d, its descriptor %d", said, offset, size)
	}
	data := b[4 : 4+size]
	if want, got := binary.BigEndian.Uint32(b[4+size:]), crc32.ChecksumIEEE(data); want != got {
		return nil, corrupt("its checksum is %08x where its file says %08x", got, want)
	}
	return Decode(data)
}
