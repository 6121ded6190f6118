package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

const (
	// spoolPage is how much of a spool is compressed, encrypted and written at
	// a time, in bytes.
	spoolPage = 256 << 10
	// spoolRuns is of how many runs of frames, each of one subtransaction, it is
	// remembered where they begin, so that aborted ones can be cut off.
	spoolRuns = 1024
)

// errSpoolDamaged says that what is read is not what was written.
var errSpoolDamaged = errors.New("a page of the spool is damaged: the disk, or somebody else, has altered it")

// fileSpool is a spool on disk: a run of frames, cut into pages wherever one
// is full, each compressed and then encrypted. The page that is being gathered
// is in memory.
//
// The ids of aborted subtransactions are remembered, and their frames passed
// over when they are read. Mostly an aborted subtransaction is the last that
// has added anything: then its frames are cut off, and take no more room.
type fileSpool struct {
	store *spoolStore
	file  *os.File
	name  string // to be removed at the end; "" if it has been already
	id    uint32 // among the store's

	pages []spoolPageAt
	end   int64  // of the file
	tail  []byte // what comes after the pages
	size  int64  // of all frames, the tail included

	runs    []spoolRun // the last ones
	aborted xidSet

	reading bool
	raw     []byte // the page that is being read
	at      int    // where next goes on in raw
	page    int    // the one after that in raw
	body    []byte // of a message that lies on several pages
}

// spoolPageAt is where a page lies.
type spoolPageAt struct {
	offset int64
	start  int64 // of its first byte among all frames
	stored int32
	nonce  uint64
}

// spoolRun says that frames of xid begin at start.
type spoolRun struct {
	xid   uint32
	start int64
}

var _ spool = (*fileSpool)(nil)

func (s *fileSpool) add(xid uint32, kind byte, body []byte) error {
	s.store.counts.total.Add(int64(frameHeader + len(body)))
	return s.put(xid, kind, body)
}

// put is add for what is counted already.
func (s *fileSpool) put(xid uint32, kind byte, body []byte) error {
	if n := len(s.runs); n == 0 || s.runs[n-1].xid != xid {
		if n == spoolRuns {
			s.runs = append(s.runs[:0], s.runs[spoolRuns/2:]...)
		}
		s.runs = append(s.runs, spoolRun{xid, s.size})
	}
	var header [frameHeader]byte
	if err := s.write(appendFrameHeader(header[:0], xid, kind, len(body))); err != nil {
		return err
	}
	return s.write(body)
}

func (s *fileSpool) write(b []byte) error {
	for len(b) > 0 {
		if s.tail == nil {
			s.tail = make([]byte, 0, s.store.page)
		}
		n := min(len(b), s.store.page-len(s.tail))
		s.tail = append(s.tail, b[:n]...)
		s.size += int64(n)
		b = b[n:]
		if len(s.tail) == s.store.page {
			if err := s.seal(); err != nil {
				return err
			}
		}
	}
	return nil
}

// seal writes the tail as a page.
func (s *fileSpool) seal() error {
	if len(s.tail) == 0 {
		return nil
	}
	st := s.store
	nonce := st.sealed
	st.sealed++ // whatever becomes of the page: no nonce is used twice
	st.packed = st.enc.EncodeAll(s.tail, st.packed[:0])
	st.stored = st.aead.Seal(st.stored[:0], st.nonce(nonce), st.packed, s.place(len(s.pages)))
	n := int64(len(st.stored))
	if st.counts.disk.Load()+n > st.limit {
		return st.fail(fmt.Errorf("%w of %d bytes", errSpoolCap, st.limit))
	}
	if _, err := s.file.WriteAt(st.stored, s.end); err != nil {
		return st.fail(err)
	}
	s.pages = append(s.pages, spoolPageAt{
		offset: s.end, start: s.size - int64(len(s.tail)), stored: int32(n), nonce: nonce,
	})
	s.end += n
	st.counts.disk.Add(n)
	s.tail = s.tail[:0]
	return nil
}

// place binds a page to where it belongs, so that no other can stand there.
func (s *fileSpool) place(page int) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(make([]byte, 0, 8), s.id), uint32(page))
}

// load appends the content of a page to dst.
func (s *fileSpool) load(dst []byte, page int) ([]byte, error) {
	st, p := s.store, &s.pages[page]
	st.stored = slices.Grow(st.stored[:0], int(p.stored))[:p.stored]
	if _, err := s.file.ReadAt(st.stored, p.offset); err != nil {
		if errors.Is(err, io.EOF) { // which is no end of the spool
			err = errSpoolDamaged
		}
		return nil, st.fail(fmt.Errorf("reading page %d: %w", page, err))
	}
	packed, err := st.aead.Open(st.stored[:0], st.nonce(p.nonce), st.stored, s.place(page))
	if err != nil {
		return nil, st.fail(fmt.Errorf("reading page %d: %w", page, errSpoolDamaged))
	}
	dst, err = st.dec.DecodeAll(packed, dst)
	if err != nil {
		return nil, st.fail(fmt.Errorf("reading page %d: %w (%w)", page, errSpoolDamaged, err))
	}
	return dst, nil
}

// flush writes out what is gathered, and gives its memory back.
func (s *fileSpool) flush() error {
	if err := s.seal(); err != nil {
		return err
	}
	s.tail = nil
	return nil
}

func (s *fileSpool) abort(xid uint32) error {
	s.aborted.add(xid)
	to := s.size
	for n := len(s.runs); n > 0 && s.aborted.has(s.runs[n-1].xid); n-- {
		to = s.runs[n-1].start
		s.runs = s.runs[:n-1]
	}
	if to == s.size {
		return nil
	}
	s.store.counts.aborted.Add(s.size - to)
	return s.cut(to)
}

// cut forgets everything from the offset on.
func (s *fileSpool) cut(to int64) error {
	sealed := s.size - int64(len(s.tail))
	s.size = to
	if to >= sealed {
		s.tail = s.tail[:to-sealed]
		return nil
	}
	s.tail = s.tail[:0]
	n := len(s.pages)
	for n > 0 && s.pages[n-1].start >= to {
		n--
		sealed = s.pages[n].start
	}
	if to < sealed { // inside of a page, which has to be gathered anew
		n--
		var err error
		if s.tail, err = s.load(s.tail, n); err != nil {
			return err
		}
		s.tail = s.tail[:to-s.pages[n].start]
	}
	s.store.counts.disk.Add(s.pages[n].offset - s.end)
	s.end = s.pages[n].offset
	s.pages = s.pages[:n]
	if err := s.file.Truncate(s.end); err != nil {
		return s.store.fail(err)
	}
	return nil
}

func (s *fileSpool) next() (kind byte, body []byte, err error) {
	for {
		if err := s.fill(); err != nil {
			return 0, nil, err
		}
		header, err := s.take(frameHeader)
		if err != nil {
			return 0, nil, err
		}
		xid, n, kind := binary.BigEndian.Uint32(header), int(binary.BigEndian.Uint32(header[4:])), header[8]
		if !s.aborted.has(xid) {
			body, err := s.take(n)
			return kind, body, err
		}
		s.store.counts.aborted.Add(int64(frameHeader + n))
		for n > 0 {
			if err := s.fill(); err != nil {
				return 0, nil, s.short(err)
			}
			part := min(n, len(s.raw)-s.at)
			s.at += part
			n -= part
		}
	}
}

// fill makes sure that raw has something to read; io.EOF at the end.
func (s *fileSpool) fill() (err error) {
	if s.at < len(s.raw) && s.reading {
		return nil
	}
	s.reading, s.at = true, 0
	switch {
	case s.page < len(s.pages):
		s.raw, err = s.load(s.raw[:0], s.page)
	case s.page == len(s.pages):
		s.raw, s.tail = append(s.raw[:0], s.tail...), nil
	default:
		s.raw = s.raw[:0]
	}
	s.page++
	if err == nil && len(s.raw) == 0 {
		err = io.EOF // pages have something in them
	}
	return err
}

// take gives the next n bytes, which are valid until the next call of next.
func (s *fileSpool) take(n int) ([]byte, error) {
	if n <= len(s.raw)-s.at {
		s.at += n
		return s.raw[s.at-n : s.at : s.at], nil
	}
	if cap(s.body) > 4*spoolPage && n <= spoolPage {
		s.body = nil // a huge value's
	}
	s.body = slices.Grow(s.body[:0], n)
	for len(s.body) < n {
		if err := s.fill(); err != nil {
			return nil, s.short(err)
		}
		part := min(n-len(s.body), len(s.raw)-s.at)
		s.body = append(s.body, s.raw[s.at:s.at+part]...)
		s.at += part
	}
	return s.body, nil
}

// short makes an end inside of a frame an error.
func (s *fileSpool) short(err error) error {
	if errors.Is(err, io.EOF) {
		return s.store.fail(fmt.Errorf("the spool ends inside a message: %w", errSpoolDamaged))
	}
	return err
}

func (s *fileSpool) length() int64 { return s.size }

func (s *fileSpool) buffered() int64 {
	return int64(cap(s.tail) + cap(s.raw) + cap(s.body))
}

func (s *fileSpool) close() {
	_ = s.file.Close() // of no use to anybody any more
	if s.name != "" {
		_ = os.Remove(s.name)
	}
	s.store.counts.disk.Add(-s.end)
	s.store.counts.files.Add(-1)
	*s = fileSpool{store: s.store}
}
