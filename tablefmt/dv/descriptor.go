package dv

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
)

// StorageType says where a vector is.
type StorageType string

// The storage types of the protocol.
const (
	Relative StorageType = "u" // in a file of the table, named by a UUID
	Stored   StorageType = "p" // in a file with an absolute path
	Inlined  StorageType = "i" // in the descriptor itself
)

// Descriptor is the deletionVector of an add or remove action (protocol:
// "Deletion Vector Descriptor Schema").
type Descriptor struct {
	StorageType StorageType `json:"storageType"`
	// PathOrInlineDV is the optional prefix and the UUID in Z85, the absolute
	// path, or the vector's bytes in Z85.
	PathOrInlineDV string `json:"pathOrInlineDv"`
	// Offset is where the vector begins in its file, at its size field; nil
	// for an inline vector. Other writers may leave it out for the only
	// vector of a file, which begins at 1.
	Offset *int32 `json:"offset,omitempty"`
	// SizeInBytes is the length of the vector alone, before Z85, without its
	// size field and checksum.
	SizeInBytes int32 `json:"sizeInBytes"`
	// Cardinality is the number of rows that are deleted.
	Cardinality int64 `json:"cardinality"`
}

// firstOffset is where the first vector of a file lies: after its version.
const firstOffset = 1

// uuidChars is the length of a UUID in Z85.
const uuidChars = 20

// UniqueID tells vectors of one data file apart, and with the data file's
// path identifies a logical file in the log ("Derived Fields").
func (d Descriptor) UniqueID() string {
	id := string(d.StorageType) + d.PathOrInlineDV
	if d.Offset != nil {
		id += "@" + strconv.Itoa(int(*d.Offset))
	}
	return id
}

// Position is where the vector begins in its file.
func (d Descriptor) Position() int64 {
	if d.Offset == nil {
		return firstOffset
	}
	return int64(*d.Offset)
}

// Validate reports what the protocol forbids in a descriptor; it does not
// look at the vector itself.
func (d Descriptor) Validate() error {
	err := func() error {
		switch {
		case d.SizeInBytes < 0:
			return fmt.Errorf("its size is %d bytes", d.SizeInBytes)
		case d.Cardinality < 0:
			return fmt.Errorf("it deletes %d rows", d.Cardinality)
		case d.Offset != nil && d.StorageType == Inlined:
			return errors.New("it is inline and has an offset")
		case d.Offset != nil && *d.Offset < firstOffset:
			return fmt.Errorf("its offset is %d", *d.Offset)
		case d.StorageType == Inlined:
			return nil
		}
		_, _, err := d.path()
		return err
	}()
	if err != nil {
		return fmt.Errorf("reading the descriptor of a deletion vector: %w", err)
	}
	return nil
}

// Path tells the file of a vector that is not inline: relative to the table,
// with slashes, and never leading out of it; or absolute, a path or a URL,
// just as the descriptor has it. Whoever follows an absolute path has to make
// sure that it is one that they want to read.
func (d Descriptor) Path() (path string, absolute bool, err error) {
	path, absolute, err = d.path()
	if err != nil {
		return "", false, fmt.Errorf("finding the file of a deletion vector: %w", err)
	}
	return path, absolute, nil
}

func (d Descriptor) path() (string, bool, error) {
	switch d.StorageType {
	case Relative:
		path, err := relativePath(d.PathOrInlineDV)
		return path, false, err
	case Stored:
		if d.PathOrInlineDV == "" {
			return "", false, errors.New("its path is empty")
		}
		return d.PathOrInlineDV, true, nil
	case Inlined:
		return "", false, errors.New("it is inline")
	}
	return "", false, fmt.Errorf("its storage type %q is none of u, i and p", d.StorageType)
}

func relativePath(text string) (string, error) {
	if len(text) < uuidChars {
		return "", fmt.Errorf("%q is shorter than a UUID in Z85", text)
	}
	prefix, encoded := text[:len(text)-uuidChars], text[len(text)-uuidChars:]
	raw, err := z85Decode(encoded)
	if err != nil {
		return "", fmt.Errorf("the UUID %q: %w", encoded, err)
	}
	if err := checkPrefix(prefix); err != nil {
		return "", err
	}
	return relativeFile(prefix, uuid.UUID(raw)), nil
}

func relativeFile(prefix string, id uuid.UUID) string {
	name := "deletion_vector_" + id.String() + ".bin"
	if prefix != "" {
		return prefix + "/" + name
	}
	return name
}

// checkPrefix accepts one ordinary folder's name, or nothing. Anything else
// would lead elsewhere than the protocol's random prefix does.
func checkPrefix(prefix string) error {
	bad := func(r rune) bool { return r == '/' || r == '\\' || r == '%' || r == ':' || unicode.IsControl(r) }
	switch {
	case prefix == "." || prefix == ".." || !utf8.ValidString(prefix) || strings.ContainsFunc(prefix, bad):
		return fmt.Errorf("the prefix %q is not the name of a folder", prefix)
	case strings.HasPrefix(prefix, "_delta_log"):
		return fmt.Errorf("the prefix %q leads into the log", prefix)
	}
	return nil
}

// NewFile makes the name for a file of vectors: its path relative to the
// table, for the store, and the text for the descriptors. prefix is empty, or
// a folder's name for tables that spread their files.
func NewFile(prefix string, id uuid.UUID) (path, pathOrInlineDV string, err error) {
	if err := checkPrefix(prefix); err != nil {
		return "", "", fmt.Errorf("naming a file of deletion vectors: %w", err)
	}
	return relativeFile(prefix, id), prefix + z85Encode(id[:]), nil
}

// Inline gives the descriptor that holds the vector itself. It is for small
// ones: they are read with the log, again and again.
func Inline(b *Bitmap) Descriptor {
	data := Encode(b)
	return Descriptor{
		StorageType:    Inlined,
		PathOrInlineDV: z85Encode(data),
		SizeInBytes:    int32(len(data)),
		Cardinality:    int64(b.Cardinality()),
	}
}

// DecodeInline gives the vector of an inline descriptor. Damage, a cardinality
// that is not the vector's too, is an ErrCorrupt.
func (d Descriptor) DecodeInline() (*Bitmap, error) {
	if d.StorageType != Inlined {
		return nil, fmt.Errorf("reading an inline deletion vector: its storage type is %q", d.StorageType)
	}
	data, err := z85Decode(d.PathOrInlineDV)
	if err != nil {
		return nil, corrupt("reading it inline: %w", err)
	}
	// Up to three bytes are padding.
	if size := int(d.SizeInBytes); size < 0 || size > len(data) || len(data)-size > 3 {
		return nil, corrupt("it is inline, of %d bytes where %d are announced", len(data), size)
	}
	b, err := Decode(data[:d.SizeInBytes])
	if err != nil {
		return nil, err
	}
	return b, d.check(b)
}

// Read gives the vector from its file, opened by the caller (see Path).
// Damage, a cardinality that is not the vector's too, is an ErrCorrupt.
func (d Descriptor) Read(file io.ReaderAt) (*Bitmap, error) {
	b, err := ReadAt(file, d.Position(), d.SizeInBytes)
	if err != nil {
		return nil, err
	}
	return b, d.check(b)
}

func (d Descriptor) check(b *Bitmap) error {
	if n := b.Cardinality(); int64(n) != d.Cardinality {
		return corrupt("it deletes %d rows where its descriptor says %d", n, d.Cardinality)
	}
	return nil
}
