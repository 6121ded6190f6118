package colfile

import (
	"errors"
	"fmt"
)

var (
	// ErrCorrupt marks errors of bytes that are not a valid Parquet file.
	// An error of the underlying reader never wraps it.
	ErrCorrupt = errors.New("damaged Parquet file")
	// ErrUnsupported marks errors of valid requests or files that this
	// package cannot serve: an Arrow type that Delta does not have, an
	// encrypted file, an unknown codec, a conversion that would lose values.
	ErrUnsupported = errors.New("not supported")
	// ErrNoFieldIDs says that columns were to be found by field ids in a file
	// that has none.
	ErrNoFieldIDs = errors.New("no field ids")
	// ErrClosed is returned by the methods of a Writer after Close or after
	// an earlier error of the same Writer made the file unusable.
	ErrClosed = errors.New("writer is closed")
)

func corruptf(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrCorrupt, fmt.Errorf(format, args...))
}

func unsupportedf(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUnsupported, fmt.Errorf(format, args...))
}
