package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/cdc"
)

// Limits of a batch of a copy; it ends when it has reached one of them.
const (
	copyBatchRows  = 64 << 10
	copyBatchBytes = 8 << 20
)

// copyDecoder turns the data of a binary COPY into batches. It is pure: bytes
// in, batches out. Data may be cut anywhere; the server cuts them at rows, so
// that nothing is copied here.
//
// The format (PostgreSQL manual, COPY, "Binary Format"): a signature of 11
// bytes, flags and the length of a header extension; for each row the number
// of fields as int16, and each field's length as int32 (-1 for NULL) before
// it; -1 instead of a number of fields at the end.
type copyDecoder struct {
	build  *batchBuilder
	binary []bool // one a column: it is in binary form, else in text form
	emit   func(*cdc.Batch) error

	header, done bool
	rest         []byte // a row that is not complete yet
	seq          int64
}

func newCopyDecoder(t *tableInfo, mem memory.Allocator, emit func(*cdc.Batch) error) *copyDecoder {
	d := &copyDecoder{build: newBatchBuilder(t.rel, t.cols, mem), binary: make([]bool, len(t.cols)), emit: emit}
	for i, c := range t.cols {
		d.binary[i] = copyBinary(c)
	}
	d.build.beginTxn(cdc.Txn{})
	return d
}

var copySignature = []byte("PGCOPY\n\xff\r\n\x00")

// errCut says that the data end in the middle of something.
var errCut = errors.New("the data of COPY are cut off")

// feed decodes data, which it keeps no reference to.
func (d *copyDecoder) feed(data []byte) error {
	if len(d.rest) > 0 {
		d.rest = append(d.rest, data...)
		data = d.rest
	}
	for len(data) > 0 {
		n, err := d.next(data)
		if err != nil {
			return err
		}
		if n == 0 { // not complete
			break
		}
		data = data[n:]
	}
	d.rest = append(d.rest[:0], data...)
	if len(d.rest) == 0 && cap(d.rest) > 1<<20 {
		d.rest = nil
	}
	return nil
}

// next decodes the header, a row or the end, and tells its length; 0 if it is
// not complete.
func (d *copyDecoder) next(data []byte) (int, error) {
	switch {
	case d.done:
		return 0, errors.New("the data of COPY go on after their end")
	case !d.header:
		return d.readHeader(data)
	case len(data) < 2:
		return 0, nil
	}
	fields := int(int16(binary.BigEndian.Uint16(data)))
	if fields == -1 {
		d.done = true
		return 2, nil
	}
	if fields != len(d.binary) {
		return 0, fmt.Errorf("a row of COPY has %d fields, not %d", fields, len(d.binary))
	}
	end, err := rowEnd(data, fields)
	if end == 0 || err != nil {
		return 0, err
	}
	return end, d.row(data)
}

func (d *copyDecoder) readHeader(data []byte) (int, error) {
	const fixed = 11 + 4 + 4
	if n := min(len(data), len(copySignature)); !bytes.Equal(data[:n], copySignature[:n]) {
		return 0, errors.New("the data of COPY do not begin as its binary format does")
	}
	if len(data) < fixed {
		return 0, nil
	}
	if flags := binary.BigEndian.Uint32(data[11:]); flags>>16 != 0 {
		return 0, fmt.Errorf("the data of COPY have critical flags %#x, which are not known", flags)
	}
	extension := binary.BigEndian.Uint32(data[15:])
	if extension > 1<<20 {
		return 0, fmt.Errorf("the data of COPY have a header of %d bytes", extension)
	}
	if n := fixed + int(extension); len(data) >= n {
		d.header = true
		return n, nil
	}
	return 0, nil
}

// rowEnd finds where a row ends; 0 if it is not complete.
func rowEnd(data []byte, fields int) (int, error) {
	at := 2
	for range fields {
		if len(data)-at < 4 {
			return 0, nil
		}
		n := int32(binary.BigEndian.Uint32(data[at:]))
		at += 4
		if n < -1 {
			return 0, fmt.Errorf("a field of COPY has length %d", n)
		}
		if n > 0 {
			if len(data)-at < int(n) {
				return 0, nil
			}
			at += int(n)
		}
	}
	return at, nil
}

// row decodes a complete row.
func (d *copyDecoder) row(data []byte) error {
	at := 2
	for i, bin := range d.binary {
		n := int(int32(binary.BigEndian.Uint32(data[at:])))
		at += 4
		var err error
		switch {
		case n < 0:
			d.build.appendNull(i)
			continue
		case bin:
			err = d.build.appendBinary(i, data[at:at+n])
		default:
			err = d.build.appendText(i, data[at:at+n])
		}
		if err != nil {
			return err
		}
		at += n
	}
	d.build.endRow(cdc.OpInsert, d.seq)
	d.seq++
	if d.build.rows() >= copyBatchRows || d.build.bytes() >= copyBatchBytes {
		return d.flush()
	}
	return nil
}

// flush hands out the rows so far.
func (d *copyDecoder) flush() error {
	b := d.build.finish()
	d.build.beginTxn(cdc.Txn{})
	if b == nil {
		return nil
	}
	return d.emit(b)
}

// finish hands out the last rows, and makes sure that they were the last.
func (d *copyDecoder) finish() error {
	if !d.done || len(d.rest) > 0 {
		return errCut
	}
	b := d.build.finish()
	if b == nil {
		return nil
	}
	return d.emit(b)
}

// discard gives back the memory of rows that will not be handed out.
func (d *copyDecoder) discard() { d.build.discard() }
