package postgres

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

// recorder reads a stream's messages as the server sends them.
type recorder struct {
	t        testing.TB
	conn     *pgconn.PgConn
	frames   *framing
	from     cdc.LSN
	end      atomic.Uint64 // where to stop; 0: not yet known
	done     chan struct{}
	err      error
	messages [][]byte
}

func newRecorder(t testing.TB, s *Source, from cdc.LSN, binaryFormat bool) *recorder {
	t.Helper()
	r := &recorder{t: t, frames: &framing{}, from: from, done: make(chan struct{})}
	var err error
	r.conn, err = s.connector.connectFramed(testContext(t), connWalsender, r.frames)
	require.NoError(t, err)
	cfg := streamConfig{
		slot: s.config.Slot, publications: s.config.publications(), from: from, binary: binaryFormat, streaming: true,
		serverVersion: serverVersionNum(r.conn.ParameterStatus("server_version")),
	}
	require.NoError(t, beginCopy(testContext(t), r.conn, cfg.command()))
	go func() {
		defer close(r.done)
		r.err = r.read()
	}()
	return r
}

// ask asks the server for its position.
func (r *recorder) ask() error {
	_, err := r.conn.Conn().Write(statusMessage(r.from, timeZero, true))
	return err
}

func (r *recorder) read() error {
	for {
		ok, err := r.frames.ready()
		if err != nil {
			return err
		}
		if !ok {
			if err := r.frames.read(); err != nil {
				return err
			}
			continue
		}
		kind, body := r.frames.next()
		switch {
		case kind == 'd' && body[0] == 'w':
			r.messages = append(r.messages, append([]byte(nil), body[walDataHeader:]...))
		case kind == 'd' && body[0] == 'k':
			if end := r.end.Load(); end != 0 && binary.BigEndian.Uint64(body[1:]) >= end {
				return nil
			} else if end != 0 {
				if err := r.ask(); err != nil {
					return err
				}
			}
		default:
			return fmt.Errorf("message %q %q", kind, body)
		}
	}
}

// stop gives what was sent up to a position.
func (r *recorder) stop(end cdc.LSN) [][]byte {
	r.t.Helper()
	r.end.Store(uint64(end))
	require.NoError(r.t, r.ask())
	<-r.done
	closeConn(r.conn)
	require.NoError(r.t, r.err)
	return r.messages
}

// transcript turns messages into lines of a script. Positions, ids and the
// OIDs of tables become small numbers in the same order, so that the same
// events make the same lines on any server and at any time.
type transcript struct {
	lsns  []cdc.LSN
	xids  map[uint32]uint32
	oids  map[uint32]uint32
	types map[uint32]uint32 // of extensions and users
	in    bool              // between a start and its stop
}

// transcribe gives a line for each message.
func transcribe(t testing.TB, messages [][]byte) []string {
	tr := &transcript{xids: map[uint32]uint32{}, oids: map[uint32]uint32{}, types: map[uint32]uint32{}}
	for _, m := range messages {
		c := cursor{b: m[1:]}
		switch m[0] {
		case msgBegin:
			tr.lsns = append(tr.lsns, c.lsn())
		case msgCommit:
			c.u8()
			tr.lsns = append(tr.lsns, c.lsn(), c.lsn())
		case msgStreamCommit:
			c.u32()
			c.u8()
			tr.lsns = append(tr.lsns, c.lsn(), c.lsn())
		}
	}
	slices.Sort(tr.lsns)
	tr.lsns = slices.Compact(tr.lsns)
	var lines []string
	for i, m := range messages {
		line := tr.line(m)
		require.NotEmpty(t, line, "message %d is of an unknown kind: %x", i, m)
		lines = append(lines, line)
	}
	return lines
}

func number[K comparable](m map[K]uint32, k K, from uint32) uint32 {
	n, ok := m[k]
	if !ok {
		n = from + uint32(len(m))
		m[k] = n
	}
	return n
}

func (tr *transcript) xid(x uint32) uint32 { return number(tr.xids, x, 701) }
func (tr *transcript) oid(x uint32) uint32 { return number(tr.oids, x, 1) }

func (tr *transcript) lsn(l cdc.LSN) cdc.LSN {
	i, _ := slices.BinarySearch(tr.lsns, l)
	return cdc.LSN(0x1000 + 0x40*i)
}

// line is the script's line for a message; "" if it is of no known kind.
func (tr *transcript) line(m []byte) string {
	kind, c := m[0], cursor{b: m[1:]}
	at := ""
	if tr.in && kind != msgStreamStop && kind != msgOrigin {
		at = fmt.Sprintf("@%d ", tr.xid(c.u32()))
	}
	switch kind {
	case msgBegin:
		l := tr.lsn(c.lsn())
		c.u64()
		return fmt.Sprintf("begin %s %d", l, tr.xid(c.u32()))
	case msgCommit:
		c.u8()
		return fmt.Sprintf("commit %s %s", tr.lsn(c.lsn()), tr.lsn(c.lsn()))
	case msgStreamStart:
		tr.in = true
		return fmt.Sprintf("stream-start %d %s", tr.xid(c.u32()), map[byte]string{0: "more", 1: "first"}[c.u8()])
	case msgStreamStop:
		tr.in = false
		return "stream-stop"
	case msgStreamAbort:
		return fmt.Sprintf("stream-abort %d %d", tr.xid(c.u32()), tr.xid(c.u32()))
	case msgStreamCommit:
		x := tr.xid(c.u32())
		c.u8()
		return fmt.Sprintf("stream-commit %d %s %s", x, tr.lsn(c.lsn()), tr.lsn(c.lsn()))
	case msgOrigin:
		return "origin elsewhere"
	case msgType:
		return "type " + at + "custom"
	case msgLogical:
		how := map[byte]string{0: "free", 1: "transactional"}[c.u8()]
		c.u64()
		return fmt.Sprintf("logical %s%s %s %s", at, how, c.cstring(), quoteWord(string(c.take(int(c.u32())))))
	case msgRelation:
		return tr.relation(at, c)
	case msgTruncate:
		n, options := c.u32(), c.u8()
		line := fmt.Sprintf("truncate %s%d", at, options)
		for range n {
			line += fmt.Sprintf(" %d", tr.oid(c.u32()))
		}
		return line
	case msgInsert, msgUpdate, msgDelete:
		line := fmt.Sprintf("%s %s%d", map[byte]string{msgInsert: "insert", msgUpdate: "update", msgDelete: "delete"}[kind], at, tr.oid(c.u32()))
		for len(c.b) > 0 {
			line += " " + string(rune(c.u8()))
			for range c.u16() {
				var v value
				v, c.b, _ = nextValue(c.b)
				line += " " + wordOf(v)
			}
		}
		return line
	}
	return ""
}

func (tr *transcript) relation(at string, c cursor) string {
	m, err := parseRelation(c.b)
	if err != nil {
		return ""
	}
	line := fmt.Sprintf("relation %s%d %s.%s %c", at, tr.oid(m.OID), m.Schema, m.Name, m.Identity)
	for _, col := range m.Columns {
		name := ""
		for _, n := range slices.Sorted(maps.Keys(testTypes)) {
			if testTypes[n].oid == col.TypeOID && testTypes[n].typmod == col.TypeMod {
				name = n
			}
		}
		if name == "" {
			oid := col.TypeOID
			if oid >= 16384 {
				oid = number(tr.types, oid, 90001)
			}
			name = fmt.Sprintf("%d/%d", oid, col.TypeMod)
		}
		line += " " + col.Name + ":" + name
		if col.Key {
			line += ":key"
		}
	}
	return line
}

func wordOf(v value) string {
	switch v.form {
	case valueNull:
		return "-"
	case valueUnchanged:
		return "~"
	case valueBinary:
		if n := len(v.data); n > 40 && bytes.Count(v.data, v.data[:1]) == n {
			return fmt.Sprintf("b:%02x*%d", v.data[0], n)
		}
		return "b:" + hex.EncodeToString(v.data)
	}
	if n := len(v.data); n > 40 && bytes.Count(v.data, []byte("x")) == n {
		return fmt.Sprintf("x*%d", n)
	}
	return quoteWord(string(v.data))
}

// quoteWord makes a text one word of a script.
func quoteWord(s string) string {
	if s == "" {
		return "''"
	}
	plain := !strings.HasPrefix(s, "b:") && s != "-" && s != "~" && s != "N"
	for _, r := range s {
		plain = plain && r > ' ' && r < 0x7f && !strings.ContainsRune(`_#"'\`, r)
	}
	if plain {
		return s
	}
	q := strconv.QuoteToASCII(s)
	return strings.NewReplacer(" ", `\x20`, "#", `\x23`).Replace(q)
}
