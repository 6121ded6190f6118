package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/lakeload/lakeload/cdc"
)

const (
	walDataHeader = 25 // kind, start, end and time of a piece of the stream
	keepaliveSize = 18 // kind, end, time, reply wanted
)

// errServerEnded says that the server ended the stream in good order, which it
// does when it shuts down.
var errServerEnded = errors.New("the server has ended the stream; it is probably being shut down")

// read is the reader goroutine. An error ends the connection. Once Close has begun it only looks for the end
// of the stream.
func (s *stream) read() {
	defer close(s.done)
	err := s.readAll()
	if errors.Is(context.Cause(s.ctx), errStreamClosed) {
		for s.drainOne() == nil { // until the server says so, or Close's deadline
		}
	}
	if cause := context.Cause(s.ctx); cause != nil {
		err = cause // why the connection was closed under the reader
	}
	if errors.Is(err, errNeedsText) && s.cfg.needText != nil {
		s.cfg.needText()
	}
	s.cancel(err)
	err = s.judged(err)
	s.mu.Lock()
	s.err = failed("reading the replication stream", s.object, err)
	// What has arrived whole may still be taken, unless the decoder is lost.
	var broken *messageError
	s.parked = !s.decoder.open && !errors.As(err, &broken)
	s.mu.Unlock()
	signal(s.news)
	if !errors.Is(err, errStreamClosed) {
		// Nobody reads any more: the server must not wait for us, nor keep the
		// slot for us, until Close is called.
		_ = s.feedback.goodbye()
		_ = s.conn.Conn().Close()
	}
}

// readAll reads messages until an error or the end of the context.
func (s *stream) readAll() error {
	behind := false // rows waited when the socket was last read
	for {
		for {
			ok, err := s.frames.ready()
			if err != nil {
				return retry(err)
			}
			if ok {
				break
			}
			behind = s.decoder.hasRows()
			if err := s.wait(); err != nil {
				return err
			}
		}
		if err := s.take(s.frames.next()); err != nil {
			return err
		}
		d := s.decoder
		// A caller that waits gets the first whole transactions that there are,
		// even if bytes come without a pause.
		if d.full() || behind && !d.open && d.hasRows() && s.hungry.Load() {
			behind = false
			if err := s.handOver(); err != nil {
				return err
			}
		}
	}
}

// wait reads from the socket, and leaves the decoder to Next meanwhile.
func (s *stream) wait() error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	s.mu.Lock()
	s.parked = !s.decoder.open
	tell := s.parked && (s.decoder.hasRows() || s.decoder.hasProgress())
	s.mu.Unlock()
	if tell {
		signal(s.news)
	}
	s.feedback.waiting(true)
	err := s.frames.read()
	s.feedback.waiting(false)
	s.mu.Lock()
	s.parked = false
	s.mu.Unlock()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return retry(err)
	}
	return nil
}

// retry classes an error of the connection: another one may do.
func retry(err error) error {
	return &cdc.Error{Op: "receiving from the server", Class: cdc.ClassRetry, Err: err}
}

// handOver puts the chunk where Next finds it, once the one before is gone.
func (s *stream) handOver() error {
	for {
		s.mu.Lock()
		if s.waiting == nil {
			s.waiting = s.decoder.take()
			s.mu.Unlock()
			signal(s.news)
			return nil
		}
		s.mu.Unlock()
		select {
		case <-s.taken:
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
}

// take handles one message of the connection.
func (s *stream) take(kind byte, body []byte) error {
	switch kind {
	case 'd':
		return s.data(body)
	case 'N':
		return s.notice(body)
	case 'S', 'A': // settings, notifications
		return nil
	case 'c', 'C', 'Z':
		return retry(errServerEnded)
	case 'E':
		return serverError(body)
	}
	return fmt.Errorf("message %q, which does not belong into a replication stream", kind)
}

// serverError is the error of an ErrorResponse.
func serverError(body []byte) error {
	var m pgproto3.ErrorResponse
	if err := m.Decode(body); err != nil {
		return fmt.Errorf("the server reported an error that cannot be read: %w", err)
	}
	return pgconn.ErrorResponseToPgError(&m)
}

// data handles one message of the replication protocol.
func (s *stream) data(body []byte) error {
	switch {
	case len(body) >= walDataHeader && body[0] == 'w':
		s.advance(cdc.LSN(binary.BigEndian.Uint64(body[9:])))
		return s.decoder.message(s.ctx, body[walDataHeader:])
	case len(body) >= keepaliveSize && body[0] == 'k':
		end := cdc.LSN(binary.BigEndian.Uint64(body[1:]))
		s.advance(end)
		s.decoder.keepalive(end)
		if body[17] != 0 {
			s.feedback.ping(end)
		}
		return nil
	}
	return &messageError{Kind: 'd', Err: fmt.Errorf("%w, or is of an unknown kind", errShort)}
}

// advance notes a position that the server told.
func (s *stream) advance(lsn cdc.LSN) {
	if uint64(lsn) > s.progress.Load() { // the reader alone writes it
		s.progress.Store(uint64(lsn))
	}
}

// kill ends a connection that is of no use any more.
func (s *stream) kill(cause error) {
	s.cancel(cause)
	_ = s.conn.Conn().Close()
}

// drainOne throws one message away; an error is the end of the stream.
func (s *stream) drainOne() error {
	for {
		ok, err := s.frames.ready()
		if err != nil {
			return err
		}
		if ok {
			break
		}
		if err := s.frames.read(); err != nil {
			return err
		}
	}
	if kind, _ := s.frames.next(); kind == 'Z' || kind == 'E' {
		return errServerEnded
	}
	return nil
}
