package postgres

import (
	"encoding/binary"
	"errors"
	"io"
)

// memorySpool is the spool of a transaction that is small, or has only begun.
type memorySpool struct {
	counts *spoolCounters
	frames []byte
	at     int // where next goes on
}

var _ spool = (*memorySpool)(nil)

func (s *memorySpool) add(xid uint32, kind byte, body []byte) error {
	s.frames = appendFrameHeader(s.frames, xid, kind, len(body))
	s.frames = append(s.frames, body...)
	s.counts.total.Add(int64(frameHeader + len(body)))
	return nil
}

func appendFrameHeader(b []byte, xid uint32, kind byte, n int) []byte {
	b = binary.BigEndian.AppendUint32(b, xid)
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	return append(b, kind)
}

// abort closes the gaps. There is little to move, as there is little at all.
func (s *memorySpool) abort(xid uint32) error {
	kept := 0
	for at, n := 0, 0; at < len(s.frames); at += n {
		n = frameHeader + int(binary.BigEndian.Uint32(s.frames[at+4:]))
		if binary.BigEndian.Uint32(s.frames[at:]) == xid {
			s.counts.aborted.Add(int64(n))
			continue
		}
		if kept < at {
			copy(s.frames[kept:], s.frames[at:at+n])
		}
		kept += n
	}
	s.frames = s.frames[:kept]
	return nil
}

// each gives all frames to f, up to its first error.
func (s *memorySpool) each(f func(xid uint32, kind byte, body []byte) error) error {
	for rest := s.frames; len(rest) > 0; {
		n := frameHeader + int(binary.BigEndian.Uint32(rest[4:]))
		if err := f(binary.BigEndian.Uint32(rest), rest[8], rest[frameHeader:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

func (s *memorySpool) next() (kind byte, body []byte, err error) {
	rest := s.frames[s.at:]
	if len(rest) == 0 {
		return 0, nil, io.EOF
	}
	if len(rest) < frameHeader || len(rest)-frameHeader < int(binary.BigEndian.Uint32(rest[4:])) {
		return 0, nil, errors.New("a spool in memory ends inside a message")
	}
	n := frameHeader + int(binary.BigEndian.Uint32(rest[4:]))
	s.at += n
	return rest[8], rest[frameHeader:n:n], nil
}

func (s *memorySpool) length() int64   { return int64(len(s.frames)) }
func (s *memorySpool) buffered() int64 { return int64(cap(s.frames)) }

func (s *memorySpool) close() { s.frames, s.at = nil, 0 }
