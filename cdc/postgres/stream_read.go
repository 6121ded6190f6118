package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

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

// read is the reader goroutine. An error ends the connection.
func (s *stream) read() {
	defer close(s.done)
	err := s.readAll()
	if cause := context.Cause(s.ctx); cause != nil {
		err = cause // why the connection was closed under the reader
	}
	if errors.Is(err, errNeedsText) && s.cfg.needText != nil {
		s.cfg.needText()
	}
	s.cancel(err)
	err = s.judged(err)
	s.leaveSpools(err)
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

// leaveSpools gives up what is kept of transactions in progress, which comes
// again, and notes it if it was that which could not go on.
func (s *stream) leaveSpools(err error) {
	var full *spoolError
	if errors.As(err, &full) {
		s.stats.failures.Add(1)
		xids := s.decoder.inProgressXIDs()
		s.cfg.logger.Warn("transactions in progress cannot be kept: the server is asked to keep them", "error", err, "transactions", len(xids))
		if s.cfg.noRoom != nil {
			s.cfg.noRoom(xids)
		}
	}
	s.decoder.leaveProgress()
	s.gauge()
}

// gauge tells the figures that only the reader knows.
func (s *stream) gauge() {
	n, largest := s.decoder.kept()
	s.stats.inProgress.Store(int64(n))
	s.stats.largest.Store(largest)
}

// readAll takes messages until an error or the end of the context.
func (s *stream) readAll() error {
	behind := false // rows waited when there was last nothing to read
	d := s.decoder
	for {
		kind, body, ok := s.inbox.next()
		if !ok {
			behind = d.hasRows()
			if err := s.wait(); err != nil {
				return err
			}
			continue
		}
		if err := s.take(kind, body); err != nil {
			return err
		}
		for d.isPlaying() {
			if err := d.playOn(s.ctx); err != nil {
				return err
			}
			if d.full() {
				if err := s.handOver(); err != nil {
					return err
				}
			}
			if !d.isPlaying() {
				s.gauge()
			}
		}
		// A caller that waits gets the first whole transactions that there are,
		// even if bytes come without a pause, or are waiting all the time because
		// the catalogue has to be asked again and again.
		behind, d.looked = behind || d.looked, false
		if d.full() || behind && !d.open && d.hasRows() && s.hungry.Load() {
			behind = false
			if err := s.handOver(); err != nil {
				return err
			}
		}
	}
}

// wait waits for messages, and leaves the decoder to Next meanwhile.
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
	err := s.inbox.wait(s.ctx.Done())
	s.mu.Lock()
	s.parked = false
	s.mu.Unlock()
	if err != nil {
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
		return notice(body)
	case 'S', 'A': // settings, notifications
		return nil
	case 'c', 'C', 'Z':
		return retry(errServerEnded)
	case 'E':
		err := serverError(body)
		if s.cfg.binary && sqlState(err) == codeUndefinedFunction {
			// A composite has got an attribute that the server cannot send in
			// binary, which no message has told.
			err = retry(fmt.Errorf("%w: %w", errNeedsText, err))
		}
		return err
	}
	return fmt.Errorf("message %q, which does not belong into a replication stream", kind)
}

// serverError is the error of an ErrorResponse.
func serverError(body []byte) error {
	var m pgproto3.ErrorResponse
	if err := m.Decode(body); err != nil {
		return fmt.Errorf("the server reported an error that cannot be read: %w", err)
	}
	err := pgconn.ErrorResponseToPgError(&m)
	if m.Code == codeUndefinedObject && strings.EqualFold(m.Routine, "get_publication_oid") {
		return noPublication(err)
	}
	return err
}

// notice looks for the one notice that is the loss of changes: PostgreSQL 18
// and newer go on without a publication that is not there, where older ones
// end the stream.
func notice(body []byte) error {
	var m pgproto3.NoticeResponse
	if err := m.Decode(body); err != nil {
		return fmt.Errorf("the server sent a notice that cannot be read: %w", err)
	}
	if m.Routine == "LoadPublications" {
		e := pgproto3.ErrorResponse(m)
		return noPublication(pgconn.ErrorResponseToPgError(&e))
	}
	return nil
}

// noPublication says that changes are missing from the stream for want of a
// publication. The server looks it up as of the place in its log that it
// decodes, so that making it now does not help: it is missing there.
func noPublication(err error) error {
	return &cdc.Error{
		Op: "decoding the log", Class: cdc.ClassResync, Err: err,
		Remedy: "find out who has made the publication anew: it is missing at this place of the log for ever; " + remedyAdopt,
	}
}

// data handles one message of the replication protocol. The inbox has looked
// at it before, and told the feedback goroutine what it has to know.
func (s *stream) data(body []byte) error {
	switch {
	case len(body) >= walDataHeader && body[0] == 'w':
		msg := body[walDataHeader:]
		err := s.decoder.message(s.ctx, msg)
		if len(msg) > 0 && (msg[0] == msgStreamStop || msg[0] == msgStreamAbort) {
			s.gauge()
		}
		return err
	case len(body) >= keepaliveSize && body[0] == 'k':
		s.decoder.keepalive(cdc.LSN(binary.BigEndian.Uint64(body[1:])))
		return nil
	}
	return &messageError{Kind: 'd', Err: fmt.Errorf("%w, or is of an unknown kind", errShort)}
}

// kill ends a connection that is of no use any more.
func (s *stream) kill(cause error) {
	s.cancel(cause)
	_ = s.conn.Conn().Close()
}
