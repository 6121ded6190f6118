package postgres

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
)

// defaultSpoolBytes is the limit of the spools on disk where none is set.
const defaultSpoolBytes = 20 << 30

// spoolPrefix begins the names of spool files.
const spoolPrefix = "lakeload-spool-"

// spoolStore makes the spools of one stream, and bounds what they take
// together. It is used by one goroutine; its counters may be read by any.
//
// What is on disk is of use to this store alone: it is encrypted with a key
// that is nowhere but in its memory, so that values which are masked later,
// or deleted, are never on disk in clear. Nothing is found again after a
// restart: the server sends everything once more.
type spoolStore struct {
	dir    string
	limit  int64
	counts *spoolCounters

	aead   cipher.AEAD
	sealed uint64 // pages so far, which makes each nonce another
	enc    *zstd.Encoder
	dec    *zstd.Decoder
	files  uint32 // so far
	page   int    // spoolPage; less in tests

	packed, stored []byte // a page after it was compressed, and encrypted; reused

	open   map[*txnSpool]struct{}
	memory int64 // what the open spools hold of it
	most   int64 // spoolMemoryAll
}

// newSpoolStore touches nothing: the folder is made with the first file. An
// empty dir is a folder of this user's in the system's folder for temporary
// files; a limit of 0 is the default one.
func newSpoolStore(dir string, limit int64, counts *spoolCounters) (*spoolStore, error) {
	if dir == "" {
		dir = filepath.Join(os.TempDir(), fmt.Sprintf("lakeload-%d", os.Getuid()))
	}
	if limit == 0 {
		limit = defaultSpoolBytes
	}
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return nil, fmt.Errorf("making a key for the spool: %w", err)
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, fmt.Errorf("making the spool's cipher: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("making the spool's cipher: %w", err)
	}
	s := &spoolStore{
		dir: dir, limit: limit, counts: counts, aead: aead, page: spoolPage,
		open: map[*txnSpool]struct{}{}, most: spoolMemoryAll,
	}
	s.sweep()
	return s, nil
}

// begin makes an empty spool.
func (s *spoolStore) begin() spool {
	t := &txnSpool{store: s, in: &memorySpool{counts: s.counts}}
	s.open[t] = struct{}{}
	return t
}

// close gives back what all spools hold.
func (s *spoolStore) close() {
	for t := range s.open {
		t.close()
	}
	if s.enc != nil {
		_ = s.enc.Close() // it writes to nowhere
		s.dec.Close()
	}
}

// account notes what a spool holds of the memory now, and has the largest
// ones go to disk when all together hold too much.
func (s *spoolStore) account(t *txnSpool) error {
	s.counts.held.Add(t.length() - t.long)
	t.long = t.length()
	held := t.buffered()
	s.memory += held - t.held
	t.held = held
	for s.memory > s.most {
		largest := t
		for o := range s.open {
			if o.held > largest.held {
				largest = o
			}
		}
		if largest.held == 0 {
			return nil
		}
		if err := largest.spill(); err != nil {
			return err
		}
		held := largest.buffered()
		if held >= largest.held {
			return nil // nothing more can be done
		}
		s.memory += held - largest.held
		largest.held = held
	}
	return nil
}

func (s *spoolStore) forget(t *txnSpool) {
	s.memory -= t.held
	s.counts.held.Add(-t.long)
	t.held, t.long = 0, 0
	delete(s.open, t)
}

// fail wraps an error of the file system.
func (s *spoolStore) fail(err error) error { return &spoolError{Dir: s.dir, Err: err} }

// sweep removes what an earlier process has left. Where open files can be
// removed, as on Unix, there is hardly ever anything: see create. Where they
// cannot, those that are in use stay.
func (s *spoolStore) sweep() {
	names, err := filepath.Glob(filepath.Join(s.dir, spoolPrefix+"*"))
	if err != nil {
		return // the folder's name has a wildcard in it
	}
	for _, name := range names {
		_ = os.Remove(name)
	}
}

// create makes the file of a spool. Its name is removed at once where the
// system can do that, so that the disk is free whatever becomes of us.
func (s *spoolStore) create() (*fileSpool, error) {
	if s.enc == nil {
		if err := s.codec(); err != nil {
			return nil, s.fail(err)
		}
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, s.fail(err)
	}
	file, err := os.CreateTemp(s.dir, spoolPrefix)
	if err != nil {
		return nil, s.fail(err)
	}
	f := &fileSpool{store: s, file: file, id: s.files}
	if err := os.Remove(file.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.name = file.Name()
	}
	s.files++
	s.counts.files.Add(1)
	return f, nil
}

// codec makes the compressor, which takes some megabytes, when it is needed.
func (s *spoolStore) codec() (err error) {
	if s.enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(spoolPage), zstd.WithEncoderCRC(false)); err != nil {
		return err
	}
	s.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*spoolPage))
	return err
}

// nonce is the n-th of the key's. None is used twice.
func (s *spoolStore) nonce(n uint64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 4, 12), n)
}

// spoolCounters are what Stats tells of the spools.
type spoolCounters struct {
	held    atomic.Int64 // bytes of messages that are kept, see spool.length
	total   atomic.Int64 // bytes of messages that were ever kept
	aborted atomic.Int64 // bytes of those that were dropped because of a rollback
	disk    atomic.Int64 // bytes of the files
	files   atomic.Int64
}
