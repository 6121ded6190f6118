package postgres

import (
	"errors"

	"github.com/lakeload/lakeload/cdc"
)

// spool keeps the messages of one transaction in progress, in the order in
// which they arrived, until it commits or is rolled back. It is used by one
// goroutine. add and abort come first, in any order; from the first next on
// there is nothing but next. After an error it can only be closed.
type spool interface {
	// add appends a message of the subtransaction xid (the transaction itself
	// counts as one): its kind and its body without the xid. It keeps nothing
	// of body.
	add(xid uint32, kind byte, body []byte) error
	// abort forgets what a subtransaction has added. It adds nothing more.
	abort(xid uint32) error
	// next gives the next message that was not aborted; io.EOF after the last.
	// The body is valid until the next call. Damage is an error, never a
	// message.
	next() (kind byte, body []byte, err error)
	// length is the number of bytes that the messages take, those included
	// that were aborted and have not been cut away.
	length() int64
	// buffered is the memory that it holds, in bytes.
	buffered() int64
	// close gives memory and disk back. It may be called at any time, once.
	close()
}

const (
	// spoolMemory is how long a spool may become before it goes to disk.
	spoolMemory = 256 << 10
	// spoolMemoryAll bounds the memory of all spools. Beyond it the largest go
	// to disk, or write out what they have begun to gather.
	spoolMemoryAll = 16 << 20
	// frameHeader is xid, length of the body, and kind, before each message.
	frameHeader = 9
)

// spoolError says that transactions in progress cannot be kept here. The
// server can keep them instead: it has to be asked for a stream without them.
type spoolError struct {
	Dir string
	Err error
}

func (e *spoolError) Error() string { return e.Err.Error() }
func (e *spoolError) Unwrap() error { return e.Err }

// errSpoolCap is the cause where the configured limit has been reached.
var errSpoolCap = errors.New("the spool has reached its limit")

// txnSpool is a spool that begins in memory and moves to disk when it becomes
// too long for it.
type txnSpool struct {
	store *spoolStore
	in    spool
	disk  bool
	// What the store's totals count of it: memory, and length.
	held, long int64
}

func (s *txnSpool) add(xid uint32, kind byte, body []byte) error {
	if !s.disk && s.in.length()+frameHeader+int64(len(body)) > spoolMemory {
		if err := s.spill(); err != nil {
			return err
		}
	}
	if err := s.in.add(xid, kind, body); err != nil {
		return err
	}
	return s.store.account(s)
}

func (s *txnSpool) abort(xid uint32) error {
	if err := s.in.abort(xid); err != nil {
		return err
	}
	return s.store.account(s)
}

// spill moves a spool out of memory, as far as it can.
func (s *txnSpool) spill() error {
	if f, ok := s.in.(*fileSpool); ok {
		return f.flush()
	}
	from := s.in.(*memorySpool)
	to, err := s.store.create()
	if err != nil {
		return err
	}
	s.in, s.disk = to, true
	return from.each(to.put)
}

func (s *txnSpool) next() (kind byte, body []byte, err error) { return s.in.next() }
func (s *txnSpool) length() int64                             { return s.in.length() }
func (s *txnSpool) buffered() int64                           { return s.in.buffered() }

func (s *txnSpool) close() {
	s.in.close()
	s.store.forget(s)
}

// explain turns the failure of a spool into an error of the stream. The next
// stream leaves such transactions to the server.
func (e *spoolError) explain() error {
	remedy := "make room in " + e.Dir + ", or choose another folder for the spool; until the transaction has ended the server keeps it"
	if errors.Is(e.Err, errSpoolCap) {
		remedy = "raise the limit of the spool; until the transaction has ended the server keeps it"
	}
	return &cdc.Error{Op: "spooling a transaction in progress", Object: e.Dir, Class: cdc.ClassRetry, Remedy: remedy, Err: e}
}
