package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/lakeload/lakeload/cdc"
)

// The messages of pgoutput, protocol versions 1 to 4.
const (
	msgBegin    = 'B'
	msgCommit   = 'C'
	msgOrigin   = 'O'
	msgRelation = 'R'
	msgType     = 'Y'
	msgInsert   = 'I'
	msgUpdate   = 'U'
	msgDelete   = 'D'
	msgTruncate = 'T'
	msgLogical  = 'M'

	// Version 2: transactions in progress. Between a start and its stop each
	// message but Origin has the xid of its subtransaction after its kind.
	msgStreamStart  = 'S'
	msgStreamStop   = 'E'
	msgStreamCommit = 'c'
	msgStreamAbort  = 'A'

	// Version 3: transactions that are prepared. They come only to a slot and
	// a stream that ask for two_phase, which ours do not.
	msgBeginPrepare     = 'b'
	msgPrepare          = 'P'
	msgCommitPrepared   = 'K'
	msgRollbackPrepared = 'r'
	msgStreamPrepare    = 'p'
)

// The tuples of Insert, Update and Delete, and the values in them.
const (
	tupleNew = 'N'
	tupleKey = 'K' // the old row's replica identity columns
	tupleOld = 'O' // the whole old row

	valueNull      = 'n'
	valueUnchanged = 'u'
	valueText      = 't'
	valueBinary    = 'b'
)

// maxColumns is PostgreSQL's limit of a table's columns.
const maxColumns = 1600

var (
	errShort    = errors.New("the message ends too early")
	errTrailing = errors.New("the message goes on after its end")
)

// messageError says that a message of the stream cannot be understood. After
// it nothing of the stream can be trusted.
type messageError struct {
	Kind byte
	Err  error
}

func (e *messageError) Error() string {
	return fmt.Sprintf("message %q of the replication stream: %v", e.Kind, e.Err)
}

func (e *messageError) Unwrap() error { return e.Err }

// relationMessage is a Relation message of the stream: the table as it was
// when the changes that follow were made.
type relationMessage struct {
	OID      uint32
	Schema   string
	Name     string
	Identity cdc.ReplicaIdentity
	Columns  []relationColumn
	// Txn is the committed transaction in which it was sent, which the message
	// itself does not say; zero where it is not known.
	Txn cdc.Txn
}

// relationColumn is a published column of a relation.
type relationColumn struct {
	Name    string
	TypeOID uint32
	TypeMod int32
	Key     bool // part of the replica identity; all are under IdentityFull
}

// cursor walks over a message. Once it has run over the end it gives zeros and
// stays short.
type cursor struct {
	b     []byte
	short bool
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.short, c.b = true, nil
		return nil
	}
	v := c.b[:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) u8() byte {
	if v := c.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (c *cursor) u16() uint16 {
	if v := c.take(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if v := c.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if v := c.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (c *cursor) lsn() cdc.LSN { return cdc.LSN(c.u64()) }

// time reads microseconds since 2000.
func (c *cursor) time() time.Time {
	return time.UnixMicro(int64(c.u64()) + epochMicros).UTC()
}

// cstring reads up to a zero byte.
func (c *cursor) cstring() string {
	i := bytes.IndexByte(c.b, 0)
	if i < 0 {
		c.short, c.b = true, nil
		return ""
	}
	s := string(c.b[:i])
	c.b = c.b[i+1:]
	return s
}

// end says whether the message was just as long as what was read from it.
func (c *cursor) end() error {
	switch {
	case c.short:
		return errShort
	case len(c.b) > 0:
		return errTrailing
	}
	return nil
}

// parseRelation reads the body of a Relation message.
func parseRelation(body []byte) (relationMessage, error) {
	c := cursor{b: body}
	m := relationMessage{OID: c.u32(), Schema: c.cstring(), Name: c.cstring(), Identity: cdc.ReplicaIdentity(c.u8())}
	if m.Schema == "" {
		m.Schema = "pg_catalog" // which pgoutput leaves out
	}
	n := int(c.u16())
	if n > maxColumns {
		return m, fmt.Errorf("table %s.%s has %d columns, more than PostgreSQL can make", m.Schema, m.Name, n)
	}
	for i := 0; i < n && !c.short; i++ {
		flags := c.u8()
		m.Columns = append(m.Columns, relationColumn{
			Name: c.cstring(), TypeOID: c.u32(), TypeMod: int32(c.u32()), Key: flags&1 != 0,
		})
	}
	if err := c.end(); err != nil {
		return m, err
	}
	switch m.Identity {
	case cdc.IdentityDefault, cdc.IdentityNothing, cdc.IdentityFull, cdc.IdentityIndex:
		return m, nil
	}
	return m, fmt.Errorf("table %s.%s has the unknown replica identity %q", m.Schema, m.Name, byte(m.Identity))
}

// value is a column of a tuple as it was sent.
type value struct {
	form byte
	data []byte
}

// nextValue reads the value at the start of p.
func nextValue(p []byte) (v value, rest []byte, err error) {
	if len(p) == 0 {
		return v, nil, errShort
	}
	switch p[0] {
	case valueNull, valueUnchanged:
		return value{form: p[0]}, p[1:], nil
	case valueText, valueBinary:
		if len(p) < 5 {
			return v, nil, errShort
		}
		size := int64(binary.BigEndian.Uint32(p[1:]))
		if size > int64(len(p)-5) {
			return v, nil, errShort
		}
		return value{form: p[0], data: p[5 : 5+size]}, p[5+size:], nil
	}
	return v, nil, fmt.Errorf("a value of the unknown form %q", p[0])
}
