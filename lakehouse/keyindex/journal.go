package keyindex

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
)

// logMeta is what the manifest says of a log: what it is sure to hold.
type logMeta struct {
	id, uid uint64
	size    int64
	sum     uint64 // of the last record within size
}

// logFile is a log being written, the journal or the log of files.
type logFile struct {
	meta logMeta // size and sum are where the log ends
	f    *os.File
	path string
	buf  []byte
	sync bool
}

// journalChunk is how many entries go into a record, so that no record's
// buffer is large.
const journalChunk = 16 << 10

func createLog(path string, id, uid uint64, sync bool) (*logFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create a log of the key index: %w", err)
	}
	head, sum := logHeader(uid)
	l := &logFile{meta: logMeta{id: id, uid: uid, sum: sum}, f: f, path: path, sync: sync}
	if err = l.write(head); err == nil {
		err = l.flush()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return l, nil
}

// openLog opens a log for more, after what the scan of it found good. What
// follows that is cut off.
func openLog(path string, meta logMeta, sync bool) (*logFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open a log of the key index: %w", err)
	}
	err = f.Truncate(meta.size)
	if err == nil {
		_, err = f.Seek(meta.size, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cut a log of the key index: %w", err), f.Close())
	}
	return &logFile{meta: meta, f: f, path: path, sync: sync}, nil
}

func (l *logFile) write(b []byte) error {
	n, err := l.f.Write(b)
	l.meta.size += int64(n)
	if err != nil {
		return fmt.Errorf("write %s of the key index: %w", l.path, err)
	}
	return nil
}

// append writes a record.
func (l *logFile) append(r *record) error {
	l.buf = r.appendTo(append(l.buf[:0], 0, 0, 0, 0))
	l.buf, l.meta.sum = frame(l.buf, l.meta.sum)
	return l.write(l.buf)
}

// commit writes a table's entries and, with the last of them, the rest of the
// record.
func (l *logFile) commit(t *table, last record) error {
	var chunk []byte
	for i := range t.slots {
		if t.slots[i].empty() {
			continue
		}
		if len(chunk) == journalChunk*entryBytes {
			if err := l.append(&record{entries: chunk}); err != nil {
				return err
			}
			chunk = chunk[:0]
		}
		n := len(chunk)
		if n+entryBytes > cap(chunk) {
			size := min(t.n, journalChunk) * entryBytes
			chunk = append(make([]byte, 0, size), chunk...)
		}
		chunk = chunk[:n+entryBytes]
		putSlot(chunk[n:], &t.slots[i])
	}
	last.end, last.entries = true, chunk
	if err := l.append(&last); err != nil {
		return err
	}
	if cap(l.buf) > 64<<10 && t.n < 1024 {
		l.buf = nil // do not hold a large change's buffer for small ones
	}
	return l.flush()
}

func (l *logFile) flush() error {
	if !l.sync {
		return nil
	}
	if err := l.f.Sync(); err != nil {
		return fmt.Errorf("sync %s of the key index: %w", l.path, err)
	}
	return nil
}

// scanLog gives each record of a log to use, and then where the last commit
// ends; records that use was given after that belong to none. The log must
// hold at least what the manifest says, exactly that if it is sealed. Past
// that a torn end is no damage but a commit that did not happen.
func scanLog(path string, want logMeta, sealed bool, use func(record) error) (logMeta, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return logMeta{}, unfit(path, "the log is missing")
	} else if err != nil {
		return logMeta{}, fmt.Errorf("open a log of the key index: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return logMeta{}, fmt.Errorf("look at a log of the key index: %w", err)
	}
	size := st.Size()
	if size < want.size {
		return logMeta{}, unfit(path, "it has %d bytes, fewer than %d", size, want.size)
	}
	if sealed {
		size = want.size
	}
	s := logScanner{r: bufio.NewReaderSize(f, 64<<10), left: size}
	if err := s.header(want.uid); err != nil {
		return logMeta{}, unfit(path, "%v", err)
	}
	end := logMeta{id: want.id, uid: want.uid, size: s.at, sum: s.sum}
	pinned := end == want
	for {
		r, err := s.next()
		if errors.Is(err, io.EOF) || (pinned && errors.Is(err, errTorn)) {
			break
		} else if errors.Is(err, errTorn) {
			return logMeta{}, unfit(path, "from byte %d on: %v", s.at, err)
		} else if err != nil {
			return logMeta{}, fmt.Errorf("read %s of the key index: %w", path, err)
		}
		if r.end {
			end.size, end.sum = s.at, s.sum
			pinned = pinned || end == want
		}
		if err := use(r); err != nil {
			return logMeta{}, err
		}
	}
	if !pinned {
		return logMeta{}, unfit(path, "it is not the log that the manifest names")
	}
	return end, nil
}
