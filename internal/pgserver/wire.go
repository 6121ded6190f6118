package pgserver

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
)

// wire is a superuser's session over the Unix socket, which always trusts. It speaks just enough of the protocol for a few statements, so
// that this package needs neither psql, which a fetched server lacks, nor a driver.
type wire struct {
	conn net.Conn
	in   *bufio.Reader
}

// SQL runs statements one after the other in a session of its own, in the database postgres, and gives the rows of the last one as text;
// NULL is "".
func (s *Server) SQL(ctx context.Context, statements ...string) (rows [][]string, err error) {
	w, err := s.dialWire(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	for _, sql := range statements {
		if rows, err = w.query(ctx, sql); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

func (s *Server) dialWire(ctx context.Context) (*wire, error) {
	path := filepath.Join(s.socketDir, ".s.PGSQL."+strconv.Itoa(s.Port()))
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, failed("connect to", path, err, "see whether the server runs")
	}
	w := &wire{conn: conn, in: bufio.NewReader(conn)}
	startup := binary.BigEndian.AppendUint32(nil, 3<<16)
	for _, kv := range []string{"user", Superuser, "database", "postgres", "application_name", "pgserver", ""} {
		startup = append(append(startup, kv...), 0)
	}
	if _, err := w.exchange(ctx, 0, startup); err != nil {
		return nil, errors.Join(failed("connect to", path, err, "see the server's log"), conn.Close())
	}
	return w, nil
}

func (w *wire) close() error { return w.conn.Close() }

func (w *wire) query(ctx context.Context, sql string) ([][]string, error) {
	rows, err := w.exchange(ctx, 'Q', append([]byte(sql), 0))
	if err != nil {
		return nil, failed("run", sql, err, "see the server's log")
	}
	return rows, nil
}

// exchange sends one message and reads until the server is ready again.
func (w *wire) exchange(ctx context.Context, kind byte, body []byte) (rows [][]string, err error) {
	stop := context.AfterFunc(ctx, func() { _ = w.conn.Close() })
	defer stop()
	var msg []byte
	if kind != 0 {
		msg = append(msg, kind)
	}
	msg = binary.BigEndian.AppendUint32(msg, uint32(len(body)+4))
	if _, err := w.conn.Write(append(msg, body...)); err != nil {
		return nil, err
	}
	for {
		var head [5]byte
		if _, e := io.ReadFull(w.in, head[:]); e != nil {
			return nil, errors.Join(err, e, ctx.Err())
		}
		n := binary.BigEndian.Uint32(head[1:])
		if n < 4 || n > 64<<20 {
			return nil, fmt.Errorf("a message of %d bytes", n)
		}
		body := make([]byte, n-4)
		if _, e := io.ReadFull(w.in, body); e != nil {
			return nil, errors.Join(err, e, ctx.Err())
		}
		switch head[0] {
		case 'E':
			err = serverError(body)
		case 'D':
			rows = append(rows, dataRow(body))
		case 'Z':
			return rows, err
		}
	}
}

// serverError gives the message of an ErrorResponse.
func serverError(body []byte) error {
	for field := range strings.SplitSeq(string(body), "\x00") {
		if text, ok := strings.CutPrefix(field, "M"); ok {
			return errors.New(text)
		}
	}
	return errors.New("an error without a message")
}

func dataRow(b []byte) []string {
	var row []string
	for b = b[2:]; len(b) >= 4; {
		n := int32(binary.BigEndian.Uint32(b))
		if b = b[4:]; n < 0 {
			row = append(row, "")
			continue
		}
		row, b = append(row, string(b[:n])), b[n:]
	}
	return row
}
