package postgres

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

// benchMessages makes a Relation and inserts of twelve columns, an order line
// as shops have it, in one of the two forms.
func benchMessages(form byte, rows int) (relation []byte, inserts [][]byte) {
	relation = scriptMessage("relation 1 public.lines d id:int8:key order:int8 customer:int4 sku:text qty:int4 price:numeric(12,4) paid:bool at:timestamptz day:date note:text weight:float8 ref:uuid")
	for i := range rows {
		w := &msgWriter{}
		w.u8(msgInsert)
		w.u32(1)
		w.u8(tupleNew)
		w.u16(12)
		put := func(bin []byte, text string) {
			if form == valueText {
				w.field(form, []byte(text))
			} else {
				w.field(form, bin)
			}
		}
		put(be(8, int64(i)), "123456789")
		put(be(8, int64(i)*7), "987654321")
		put(be(4, int64(i)), "123456")
		put([]byte("SKU-0012345"), "SKU-0012345")
		put(be(4, 3), "3")
		put(numericBinary("1234.5600"), "1234.5600")
		put([]byte{1}, "t")
		put(be(8, 757_382_400_000_000), "2024-01-01 00:00:00.123456+00")
		put(be(4, 8766), "2024-01-01")
		put([]byte("a short note of a customer"), "a short note of a customer")
		put(be(8, int64(math.Float64bits(1.25))), "1.25")
		put(unhex("1fe01fe01fe01fe01fe01fe01fe01fe0"), "1fe01fe0-1fe0-1fe0-1fe0-1fe01fe01fe0")
		inserts = append(inserts, w.b)
	}
	return relation, inserts
}

func benchDecode(b *testing.B, form byte) {
	relation, inserts := benchMessages(form, 1024)
	d := newDecoder(1, &testCatalog{}, false, memory.DefaultAllocator)
	say := func(m []byte) {
		if err := d.message(b.Context(), m); err != nil {
			b.Fatal(err)
		}
	}
	say(relation)
	say(scriptMessage("begin 0/10 1"))
	size := 0
	for _, m := range inserts {
		size += len(m)
	}
	b.SetBytes(int64(size / len(inserts)))
	b.ReportAllocs()
	b.ResetTimer()
	used := cpuTime()
	for i := range b.N {
		say(inserts[i%len(inserts)])
		if d.full() {
			d.take().Release()
		}
	}
	perCPU(b, used)
}

// perCPU tells the rows for a second of one processor, what the memory costs
// included: on a machine that others use too, time on the wall says little.
func perCPU(b *testing.B, before time.Duration) {
	if used := cpuTime() - before; used > 0 {
		b.ReportMetric(float64(b.N)/used.Seconds()/1e6, "Mrows/cpu-s")
	}
}

func BenchmarkDecodeBinary(b *testing.B) { benchDecode(b, valueBinary) }
func BenchmarkDecodeText(b *testing.B)   { benchDecode(b, valueText) }

// TestNoAllocationsPerRow: what a chunk allocates does not depend on its rows.
func TestNoAllocationsPerRow(t *testing.T) {
	for _, form := range []byte{valueBinary, valueText} {
		relation, inserts := benchMessages(form, 1000)
		d := newDecoder(1, &testCatalog{}, false, memory.DefaultAllocator)
		require.NoError(t, d.message(t.Context(), relation))
		require.NoError(t, d.message(t.Context(), scriptMessage("begin 0/10 1")))
		allocs := testing.AllocsPerRun(10, func() {
			for _, m := range inserts {
				if err := d.message(t.Context(), m); err != nil {
					t.Fatal(err)
				}
			}
			d.take().Release()
		})
		require.Less(t, allocs, 250.0, "for 1000 rows of 12 columns in form %q", form)
	}
}

// FuzzMessage: no message makes the decoder panic, or leak.
func FuzzMessage(f *testing.F) {
	relation, inserts := benchMessages(valueBinary, 1)
	_, texts := benchMessages(valueText, 1)
	f.Add(inserts[0], texts[0])
	f.Add(relation, inserts[0])
	for _, pair := range [][2]string{
		{"update 1 K 1 - - - - - - - - - - - N 2 ~ ~ ~ ~ ~ ~ ~ ~ ~ ~ ~", "delete 1 O 1 - - - - - - - - - - -"},
		{"truncate 1 1", "commit 0/10 0/20"},
		{"origin x", "type y"},
		{"logical transactional a b", "raw 41 0000000100000001"},
		{"begin 0/5 1", "relation 1 a.b f x:interval"},
	} {
		f.Add(scriptMessage(pair[0]), scriptMessage(pair[1]))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
		defer mem.AssertSize(t, 0)
		d := newDecoder(1, &testCatalog{}, false, mem)
		defer d.discard()
		for _, m := range [][]byte{relation, scriptMessage("begin 0/10 1"), inserts[0], a, b, a} {
			if d.message(t.Context(), m) != nil {
				return
			}
		}
		d.take().Release()
	})
}

// FuzzValue: no binary value makes a decoder panic, and what one accepts has a
// text that is read as the same value.
func FuzzValue(f *testing.F) {
	var types []columnType
	for _, c := range serverValues {
		base, _, list := strings.Cut(c.typ, "[")
		t, ok := testTypes[base]
		if !ok {
			continue
		}
		info := typeInfo{OID: t.oid, Kind: 'b'}
		typ := resolveType(t.oid, t.typmod, info)
		if list {
			typ = resolveType(1, -1, typeInfo{Kind: 'b', Elem: &info})
		}
		if binaryOK(typ) {
			types = append(types, typ)
		}
	}
	for _, oid := range []uint32{oidTime, oidTimetz, oidInterval, oidCIDR, oidMacaddr, oidVarbit, oidTID, oidXID8, oidChar} {
		types = append(types, resolveType(oid, -1, typeInfo{}))
	}
	for i := range types {
		f.Add(byte(i), be(8, 1<<40))
		f.Add(byte(i), be(4, 7))
		f.Add(byte(i), interval(14, -3, 5_000_001))
		f.Add(byte(i), numericBinary("-12345.6700"))
		f.Add(byte(i), arrayBinary([]int{2}, 1, be(4, 1), []byte("a b")))
		f.Add(byte(i), unhex("03800010"+"00000000000000000000ffff01020304"))
	}
	f.Fuzz(func(t *testing.T, which byte, v []byte) {
		typ := types[int(which)%len(types)]
		rel := &cdc.Relation{Columns: []cdc.Column{{Name: "v", Type: typ.arrowType()}}}
		b := newBatchBuilder(rel, []columnType{typ}, memory.DefaultAllocator)
		b.beginTxn(cdc.Txn{})
		if b.appendBinary(0, v) != nil {
			return
		}
		b.endRow(cdc.OpInsert, 0)
		batch := b.finish()
		if typ.kind != kindDecimal && typ.kind != kindText || len(batch.Exact) > 0 {
			return
		}
		text := []byte(batch.Rows.Column(0).ValueStr(0))
		if typ.kind == kindDecimal {
			text = []byte(batch.Rows.Column(0).(*array.Decimal128).Value(0).ToString(typ.scale))
		}
		sameValues(t, batch, build(t, typ, valueText, text), string(text))
	})
}
