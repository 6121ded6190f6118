package objstore

import (
	"errors"
	"io"
)

type memReader struct {
	m    *Memory
	path string
	data []byte
}

func (r *memReader) Size() int64  { return int64(len(r.data)) }
func (r *memReader) Close() error { return nil }

func (r *memReader) ReadAt(b []byte, off int64) (int, error) {
	r.m.mu.Lock()
	crashed := r.m.crashed
	r.m.mu.Unlock()
	switch {
	case crashed:
		return 0, r.m.fail("ReadAt", r.path, ErrCrashed)
	case off < 0:
		return 0, r.m.fail("ReadAt", r.path, errors.New("the offset is negative"))
	case off >= int64(len(r.data)) && len(b) > 0:
		return 0, io.EOF
	case len(b) == 0:
		return 0, nil
	}
	n := copy(b, r.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}
