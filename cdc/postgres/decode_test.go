package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

// testTypes are the types that scripts name.
var testTypes = map[string]struct {
	oid    uint32
	typmod int32
}{
	"bool": {oidBool, -1}, "int2": {oidInt2, -1}, "int4": {oidInt4, -1}, "int8": {oidInt8, -1}, "text": {oidText, -1},
	"numeric": {oidNumeric, -1}, "numeric(10,2)": {oidNumeric, 10<<16 | 2 + 4}, "numeric(12,4)": {oidNumeric, 12<<16 | 4 + 4},
	"date": {oidDate, -1}, "timestamp": {oidTimestamp, -1}, "timestamptz": {oidTimestamptz, -1}, "uuid": {oidUUID, -1},
	"bytea": {oidBytea, -1}, "float4": {oidFloat4, -1}, "float8": {oidFloat8, -1}, "interval": {oidInterval, -1},
	"jsonb": {oidJSONB, -1}, "money": {790, -1}, "inet": {oidInet, -1},
}

const oidInt4List = 1007

// testCatalog takes everything from the Relation message. Tables of the schema
// "other" are not selected; those whose name ends in "_log" are for inserts only.
type testCatalog struct {
	fail  error
	asked int
}

func (c *testCatalog) tableByOID(_ context.Context, oid uint32, msg relationMessage) (*tableInfo, error) {
	c.asked++
	if c.fail != nil {
		return nil, c.fail
	}
	if msg.Schema == "other" {
		return nil, nil
	}
	info := &tableInfo{rel: &cdc.Relation{OID: oid, Schema: msg.Schema, Name: msg.Name, Identity: msg.Identity, InsertOnly: strings.HasSuffix(msg.Name, "_log")}}
	for i, col := range msg.Columns {
		kind := typeInfo{OID: col.TypeOID, Kind: 'b'}
		switch {
		case col.TypeOID == oidInt4List:
			kind.Elem, kind.ElemDelim = &typeInfo{OID: oidInt4, Kind: 'b'}, ','
		case col.TypeOID > 90000: // of a recording: an enum
			kind.Kind = 'e'
		}
		t := resolveType(col.TypeOID, col.TypeMod, kind)
		info.cols = append(info.cols, t)
		info.rel.Columns = append(info.rel.Columns, cdc.Column{Name: col.Name, Type: t.arrowType(), TypeOID: col.TypeOID, TypeMod: col.TypeMod})
		if col.Key {
			info.rel.Key = append(info.rel.Key, i)
		}
	}
	return info, nil
}

// msgWriter makes messages of pgoutput.
type msgWriter struct{ b []byte }

func (w *msgWriter) u8(v byte)    { w.b = append(w.b, v) }
func (w *msgWriter) u16(v int)    { w.b = binary.BigEndian.AppendUint16(w.b, uint16(v)) }
func (w *msgWriter) u32(v uint32) { w.b = binary.BigEndian.AppendUint32(w.b, v) }
func (w *msgWriter) u64(v uint64) { w.b = binary.BigEndian.AppendUint64(w.b, v) }
func (w *msgWriter) str(s string) { w.b = append(append(w.b, s...), 0) }
func (w *msgWriter) lsn(s string) { w.u64(uint64(mustLSN(s))) }
func (w *msgWriter) field(k byte, v []byte) {
	w.u8(k)
	w.u32(uint32(len(v)))
	w.b = append(w.b, v...)
}

func mustLSN(s string) cdc.LSN {
	l, err := cdc.ParseLSN(s)
	if err != nil {
		panic(err)
	}
	return l
}

// tuple writes the columns of a script: - is NULL, ~ unchanged, b:1f binary,
// ” the empty text, "..." a Go string, x*99 and b:78*99 a run, anything else text in which _ is a space.
func (w *msgWriter) tuple(fields []string) {
	w.u16(len(fields))
	for _, f := range fields {
		switch {
		case f == "-":
			w.u8(valueNull)
		case f == "~":
			w.u8(valueUnchanged)
		case f == "''":
			w.field(valueText, nil)
		case strings.HasPrefix(f, "x*"):
			n, _ := strconv.Atoi(f[2:])
			w.field(valueText, bytes.Repeat([]byte("x"), n))
		case strings.HasPrefix(f, "b:") && len(f) > 4 && f[4] == '*':
			b, _ := hex.DecodeString(f[2:4])
			n, _ := strconv.Atoi(f[5:])
			w.field(valueBinary, bytes.Repeat(b, n))
		case strings.HasPrefix(f, "b:"):
			b, err := hex.DecodeString(f[2:])
			if err != nil {
				panic(err)
			}
			w.field(valueBinary, b)
		case f[0] == '"':
			w.field(valueText, []byte(unquoted(f)))
		default:
			w.field(valueText, []byte(strings.ReplaceAll(f, "_", " ")))
		}
	}
}

// unquoted reads a word that may be a Go string.
func unquoted(f string) string {
	if f[0] != '"' {
		return f
	}
	s, err := strconv.Unquote(f)
	if err != nil {
		panic(err)
	}
	return s
}

// scriptType reads the name of a type, or its OID and modifier as 23/-1.
func scriptType(s string) (oid, typmod uint32) {
	if t, ok := testTypes[s]; ok {
		return t.oid, uint32(t.typmod)
	}
	var mod int32
	if _, err := fmt.Sscanf(s, "%d/%d", &oid, &mod); err != nil {
		panic(s + ": " + err.Error())
	}
	return oid, uint32(mod)
}

// scriptMessage makes the message that a line of a script describes.
func scriptMessage(line string) []byte {
	f := strings.Fields(line)
	w := &msgWriter{}
	xid := "" // of a message inside of a transaction in progress
	if len(f) > 1 && f[1][0] == '@' {
		xid, f = f[1][1:], append(f[:1:1], f[2:]...)
	}
	number := func(s string) uint32 {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			panic(err)
		}
		return uint32(n)
	}
	kind := func(k byte) {
		w.u8(k)
		if xid != "" {
			w.u32(number(xid))
		}
	}
	const when = 600_000_000_000_000 // 2019-01-05 10:40:00
	switch f[0] {
	case "begin": // commit position, xid
		w.u8(msgBegin)
		w.lsn(f[1])
		w.u64(when + uint64(number(f[2])))
		w.u32(number(f[2]))
	case "commit": // position, end
		w.u8(msgCommit)
		w.u8(0)
		w.lsn(f[1])
		w.lsn(f[2])
		w.u64(when)
	case "relation": // oid schema.table identity column:type[:key]...
		kind(msgRelation)
		w.u32(number(f[1]))
		schema, name, _ := strings.Cut(unquoted(f[2]), ".")
		w.str(schema)
		w.str(name)
		w.u8(f[3][0])
		w.u16(len(f) - 4)
		for _, col := range f[4:] {
			p := strings.Split(col, ":")
			flags := byte(0)
			if len(p) > 2 {
				flags = 1
			}
			w.u8(flags)
			w.str(unquoted(p[0]))
			oid, typmod := scriptType(p[1])
			w.u32(oid)
			w.u32(typmod)
		}
	case "insert", "update", "delete": // oid [K|O columns...] [N columns...]
		kind(map[string]byte{"insert": msgInsert, "update": msgUpdate, "delete": msgDelete}[f[0]])
		w.u32(number(f[1]))
		rest := f[2:]
		for len(rest) > 0 {
			which, n := rest[0], 1
			for n < len(rest) && rest[n] != "N" {
				n++
			}
			w.u8(which[0])
			w.tuple(rest[1:n])
			rest = rest[n:]
		}
	case "truncate": // options oid...
		kind(msgTruncate)
		w.u32(uint32(len(f) - 2))
		w.u8(byte(number(f[1])))
		for _, oid := range f[2:] {
			w.u32(number(oid))
		}
	case "origin":
		w.u8(msgOrigin)
		w.u64(1)
		w.str(f[1])
	case "type":
		kind(msgType)
		w.u32(99)
		w.str("public")
		w.str(f[1])
	case "logical": // transactional|free prefix content
		kind(msgLogical)
		w.u8(map[string]byte{"transactional": 1, "free": 0}[f[1]])
		w.u64(1)
		w.str(f[2])
		content := unquoted(f[3])
		w.u32(uint32(len(content)))
		w.b = append(w.b, content...)
	case "stream-start": // xid first|more
		w.u8(msgStreamStart)
		w.u32(number(f[1]))
		w.u8(map[string]byte{"first": 1, "more": 0}[f[2]])
	case "stream-stop":
		w.u8(msgStreamStop)
	case "stream-abort": // xid subxid
		w.u8(msgStreamAbort)
		w.u32(number(f[1]))
		w.u32(number(f[2]))
	case "stream-commit": // xid position end
		w.u8(msgStreamCommit)
		w.u32(number(f[1]))
		w.u8(0)
		w.lsn(f[2])
		w.lsn(f[3])
		w.u64(when + uint64(number(f[1])))
	case "raw":
		b, err := hex.DecodeString(strings.Join(f[1:], ""))
		if err != nil {
			panic(err)
		}
		w.b = b
	default:
		panic("unknown line: " + line)
	}
	return w.b
}

// dumpChunk writes a chunk for people.
func dumpChunk(c *cdc.Chunk) string {
	var s strings.Builder
	when := "none"
	if !c.CutTime.IsZero() {
		when = c.CutTime.Format("15:04:05.000000")
	}
	fmt.Fprintf(&s, "chunk cut=%s time=%s transactions=%d open=%v\n", c.Cut, when, c.Transactions, c.Open)
	for _, it := range c.Items {
		if t := it.Truncate; t != nil {
			fmt.Fprintf(&s, "  %s truncate xid=%d seq=%d cascade=%v restart=%v\n", it.Relation, t.Txn.XID, t.Seq, t.Cascade, t.RestartIdentity)
			continue
		}
		fmt.Fprintf(&s, "  %s rows=%d key=%v\n", it.Relation, it.Batch.Len(), it.Relation.Key)
		dumpBatch(&s, it.Batch)
	}
	return s.String()
}

func dumpBatch(s *strings.Builder, b *cdc.Batch) {
	exact := map[[2]int]string{}
	for _, e := range b.Exact {
		exact[[2]int{e.Row, e.Col}] = e.Text
	}
	unchanged := map[[2]int]bool{}
	for col, rows := range b.Unchanged {
		for _, r := range rows {
			unchanged[[2]int{int(r), col}] = true
		}
	}
	span := -1
	for row := range b.Ops {
		if span+1 < len(b.Txns) && b.Txns[span+1].First == row {
			span++
		}
		fmt.Fprintf(s, "    %c xid=%d seq=%d", b.Ops[row], b.Txns[span].Txn.XID, b.Seqs[row])
		for col := range b.Relation.Columns {
			arr := b.Rows.Column(col)
			v := arr.ValueStr(row)
			switch at := [2]int{row, col}; {
			case unchanged[at]:
				v = "<unchanged>"
			case exact[at] != "":
				v = "<exact " + exact[at] + ">"
			case arr.IsNull(row):
				v = "NULL"
			}
			if len(v) > 100 {
				v = fmt.Sprintf("%s... (%d bytes)", v[:10], len(v))
			}
			fmt.Fprintf(s, " %s=%s", b.Relation.Columns[col].Name, v)
		}
		s.WriteByte('\n')
	}
}

// say gives a decoder a message, and has it play what that committed.
func say(ctx context.Context, d *decoder, msg []byte) error {
	err := d.message(ctx, msg)
	for err == nil && d.isPlaying() {
		err = d.playOn(ctx)
	}
	return err
}

// TestDecode plays scripts of messages.
func TestDecode(t *testing.T) { datadriven.Walk(t, "testdata/decode", playScript) }

// playScript plays a file of scripts. Lines "take" and "keepalive" stand
// between the messages; what remains is taken at the end. A message with an @
// and an xid is one of a transaction in progress.
func playScript(t *testing.T, path string) {
	datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
		mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
		defer mem.AssertSize(t, 0)
		from := "0/100"
		td.MaybeScanArgs(t, "from", &from)
		d := newDecoder(mustLSN(from), &testCatalog{}, td.HasArg("binary"), mem)
		defer d.discard()
		store := newTestStore(t, 0)
		if !td.HasArg("whole") {
			d.newSpool = store.begin
		}
		var out strings.Builder
		d.heard = func(prefix string, content []byte) { fmt.Fprintf(&out, "heard %s %s\n", prefix, content) }
		take := func() {
			c := d.take()
			out.WriteString(dumpChunk(c))
			c.Release()
		}
		for _, line := range strings.Split(td.Input, "\n") {
			line, _, _ = strings.Cut(line, "#")
			switch f := strings.Fields(line); {
			case len(f) == 0:
			case f[0] == "take":
				take()
			case f[0] == "keepalive":
				d.keepalive(mustLSN(f[1]))
			default:
				if err := say(t.Context(), d, scriptMessage(line)); err != nil {
					fmt.Fprintf(&out, "error: %v (retry %v)\n", err, cdc.Retryable(err))
					return out.String()
				}
			}
		}
		if d.hasRows() || d.hasProgress() {
			take()
		}
		if n := len(d.progress); n > 0 {
			fmt.Fprintf(&out, "in progress: %d transactions, %d bytes\n", n, store.counts.held.Load())
		}
		return out.String()
	})
}

// TestRelationPointer: while a table keeps its shape it keeps its pointer, so
// that rows go on into one batch.
func TestRelationPointer(t *testing.T) {
	d := newDecoder(1, &testCatalog{}, false, memory.DefaultAllocator)
	play := func(lines ...string) {
		for _, l := range lines {
			require.NoError(t, d.message(t.Context(), scriptMessage(l)))
		}
	}
	play("relation 1 a.t d id:int4:key", "begin 0/10 1", "insert 1 N 1", "commit 0/10 0/20",
		"relation 1 a.t d id:int4:key", "begin 0/20 2", "insert 1 N 2", "commit 0/20 0/30")
	c := d.take()
	defer c.Release()
	require.Len(t, c.Items, 1)
	first := c.Items[0].Relation
	play("relation 1 a.t f id:int4:key", "begin 0/30 3", "insert 1 N 3", "commit 0/30 0/40")
	c2 := d.take()
	defer c2.Release()
	require.NotSame(t, first, c2.Items[0].Relation)
	require.Equal(t, cdc.IdentityFull, c2.Items[0].Relation.Identity)
}

// TestEdge27RepeatedAnnouncements: the server announces a table again after
// each savepoint that is rolled back. The catalogue, on the other side of a
// network, is asked once.
func TestEdge27RepeatedAnnouncements(t *testing.T) {
	cat := &testCatalog{}
	d := newDecoder(1, cat, false, memory.DefaultAllocator)
	defer d.discard()
	d.newSpool = newTestStore(t, 0).begin
	play := func(lines ...string) {
		for _, l := range lines {
			require.NoError(t, say(t.Context(), d, scriptMessage(l)))
		}
	}
	play("stream-start 7 first")
	for i := range 1000 {
		play("relation @7 1 a.t d id:int4:key", fmt.Sprintf("insert @7 1 N %d", i), fmt.Sprintf("insert @%d 1 N 0", 100+i), "stream-stop", fmt.Sprintf("stream-abort 7 %d", 100+i), "stream-start 7 more")
	}
	play("relation @7 1 a.t d id:int4:key v:text", "insert @7 1 N 1000 x", "stream-stop", "stream-commit 7 0/10 0/20")
	require.Equal(t, 2, cat.asked)
	c := d.take()
	defer c.Release()
	require.Len(t, c.Items, 2)
	require.Equal(t, 1000, c.Items[0].Batch.Len())
	play("relation 1 a.t d id:int4:key v:text")
	require.Equal(t, 3, cat.asked, "between transactions the catalogue may have changed")
}

// TestCatalogError: what the catalogue says of its own error comes through.
func TestCatalogError(t *testing.T) {
	cause := errors.New("gone")
	d := newDecoder(1, &testCatalog{fail: &cdc.Error{Op: "asking", Class: cdc.ClassRetry, Err: cause}}, false, memory.DefaultAllocator)
	err := d.message(t.Context(), scriptMessage("relation 1 a.t d id:int4:key"))
	require.ErrorIs(t, err, cause)
	require.True(t, cdc.Retryable(failed("x", "y", err)))
}

// TestNoRowIsLimited: chunks end at their limits, inside of transactions too.
func TestChunkLimits(t *testing.T) {
	d := newDecoder(1, &testCatalog{}, false, memory.DefaultAllocator)
	require.NoError(t, d.message(t.Context(), scriptMessage("relation 1 a.t d id:int4:key v:text")))
	require.NoError(t, d.message(t.Context(), scriptMessage("begin 0/10 1")))
	small := scriptMessage("insert 1 N 1 x")
	for !d.full() {
		require.NoError(t, d.message(t.Context(), small))
	}
	c := d.take()
	require.Equal(t, chunkRows, c.Items[0].Batch.Len())
	require.True(t, c.Open)
	require.Equal(t, cdc.LSN(1), c.Cut)
	c.Release()
	big := scriptMessage("insert 1 N 1 " + strings.Repeat("x", 1<<20))
	n := 0
	for ; !d.full(); n++ {
		require.NoError(t, d.message(t.Context(), big))
	}
	require.Equal(t, 8, n)
	c = d.take()
	require.Greater(t, c.Bytes, int64(chunkBytes))
	require.Equal(t, int64(chunkRows), c.Items[0].Batch.Seqs[0], "the sequence goes on over chunks")
	require.Len(t, c.Items[0].Batch.Txns, 1)
	c.Release()
}
