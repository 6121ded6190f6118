// Package variant is the encoding of Parquet's variant values: values of any
// type and shape, in two parts, the metadata (a dictionary of the names of
// object fields) and the value itself. (VariantEncoding.md of the Parquet
// format, version 1) It knows no files; package colfile reads and writes them.
//
// [Check] tells whether two parts are a variant, [AppendJSON] prints one,
// [Builder] makes one, [Fields] takes an object apart, and [Type] and [Array]
// are variants in Arrow. The bytes of others are never trusted: whatever they
// are, there is an error that wraps [ErrCorrupt] or [ErrUnknownType], no panic,
// and no work or memory out of proportion to their length.
package variant

import (
	"errors"
	"fmt"
)

var (
	// ErrCorrupt marks errors of bytes that are no variant.
	ErrCorrupt = errors.New("damaged variant")
	// ErrUnknownType marks errors of a variant that holds a value of a type
	// that was added to the format later: it can be copied, not printed.
	ErrUnknownType = errors.New("unknown type in a variant")
)

func corruptf(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrCorrupt, fmt.Errorf(format, args...))
}

// Null are the two parts of the variant that is null, which is not the same as
// no variant.
var (
	NullMetadata = []byte{1, 0, 0}
	NullValue    = []byte{0}
)
