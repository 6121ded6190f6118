// Package objstore is the contract between the table format and the place
// where bytes live: a local folder, memory, an object store. One conformance
// suite, package objstoretest, holds all implementations to it.
package objstore

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

// Store holds objects by path. Paths are relative, separated by slashes, with
// no empty, "." or ".." element and no leading or trailing slash; any other is
// refused by *PathError before anything happens. Folders are not objects: they
// appear with their first object and may linger.
//
// All methods may be called by many goroutines. All of them watch their
// context. An error that wraps ErrUnknownOutcome leaves open whether the
// object was written (I11): the caller reads it back to find out.
type Store interface {
	// Get reads a whole object. ErrNotFound where there is none.
	Get(ctx context.Context, path string) ([]byte, error)

	// Open gives random access to an object that is not written to any more.
	// ErrNotFound where there is none. The caller closes it.
	Open(ctx context.Context, path string) (Reader, error)

	// Stat tells size and time. ErrNotFound where there is none.
	Stat(ctx context.Context, path string) (Info, error)

	// PutIfAbsent writes an object, whole, durable and visible when it
	// returns nil; or leaves what is there and returns ErrExists. Of any
	// number of concurrent calls for a path exactly one gets nil. A reader
	// sees the whole object or none. After a crash the object is there whole
	// or not at all.
	PutIfAbsent(ctx context.Context, path string, data []byte) error

	// Put writes an object as PutIfAbsent does, replacing what is there.
	Put(ctx context.Context, path string, data []byte) error

	// Create begins a new object written in a stream. It is invisible until
	// Writer.Close returns nil, and then durable (I13). The path must be one
	// that nobody else uses (a UUID in it); an existing object may be replaced.
	Create(ctx context.Context, path string) (Writer, error)

	// List gives the objects whose path begins with prefix (a string, not a
	// folder) and is greater than after, in ascending byte order of their
	// paths. Objects written while it runs may or may not appear.
	List(ctx context.Context, prefix, after string) iter.Seq2[Info, error]

	// Delete removes an object; nil where there is none.
	Delete(ctx context.Context, path string) error

	// URL names the store for people and for other programs: a path, or
	// s3://bucket/prefix. It holds no secret.
	URL() string
}

// Reader is an open object. ReadAt may be called by many goroutines.
type Reader interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Writer is an object being written, by one goroutine.
type Writer interface {
	io.Writer
	// Close makes the object durable and visible.
	Close() error
	// Abort gives it up; nothing is visible. After Close it does nothing, so
	// it can be deferred.
	Abort()
}

// Info describes an object.
type Info struct {
	Path     string
	Size     int64
	Modified time.Time
}

// What a caller can ask for by errors.Is.
var (
	ErrNotFound       = errors.New("not found")
	ErrExists         = errors.New("exists already")
	ErrUnknownOutcome = errors.New("the outcome of the write is unknown")
)
