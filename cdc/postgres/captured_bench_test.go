package postgres

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/jackc/pglogrepl"
	"github.com/stretchr/testify/require"
)

// captured are the messages that a real server sends for rows of twelve
// columns, about 250 bytes each.
func captured(b *testing.B, binaryFormat bool) (s *Source, messages [][]byte) {
	d := newDatabase(b)
	d.exec(`CREATE TABLE orders (id bigint PRIMARY KEY, customer bigint NOT NULL, status text NOT NULL, amount numeric(12,2),
		quantity int, weight double precision, paid boolean, created timestamptz, updated timestamp, day date, code uuid, note text)`)
	s = d.open()
	publishAll(b, s)
	from := slotAt(b, s)
	r := newRecorder(b, s, from, binaryFormat)
	d.exec(`INSERT INTO orders SELECT i, i % 100000, (array['new','paid','packed','sent','back'])[i % 5 + 1], (i % 1000000) / 100.0,
		i % 100, i * 0.37, i % 3 = 0, timestamptz '2026-01-01' + i * interval '1.000001 second', timestamp '2026-01-01' + i * interval '1 minute',
		date '2026-01-01' + (i % 365)::int, md5(i::text)::uuid, 'note number ' || i || ' of an order, with as many words as people write into such a field' FROM generate_series(1, 20000) i`)
	return s, r.stop(d.now())
}

// BenchmarkCaptured decodes a real stream into columns; the peer only parses
// the same messages, and leaves the values as they are.
func BenchmarkCaptured(b *testing.B) {
	// An engine holds key indexes and chunks; with next to nothing on the heap
	// the garbage collector would run all the time, for both.
	heap := make([]byte, 64<<20)
	defer runtime.KeepAlive(heap)
	for _, form := range []string{"binary", "text"} {
		s, messages := captured(b, form == "binary")
		first, size := 0, 0
		var rows [][]byte
		for i, m := range messages {
			if m[0] == msgInsert {
				rows = append(rows, m)
				size += len(m)
				if first == 0 {
					first = i
				}
			}
		}
		require.Len(b, rows, 20000)
		b.Run(form+"/lakeload", func(b *testing.B) {
			d := newDecoder(1, s.resolver, form == "binary", memory.DefaultAllocator)
			for _, m := range messages[:first] {
				require.NoError(b, d.message(b.Context(), m))
			}
			b.SetBytes(int64(size / len(rows)))
			b.ReportAllocs()
			b.ResetTimer()
			used := cpuTime()
			for i := range b.N {
				if err := d.message(b.Context(), rows[i%len(rows)]); err != nil {
					b.Fatal(err)
				}
				if d.full() {
					d.take().Release()
				}
			}
			perCPU(b, used)
			b.StopTimer()
			d.discard()
		})
		b.Run(form+"/pglogrepl", func(b *testing.B) {
			b.SetBytes(int64(size / len(rows)))
			b.ReportAllocs()
			b.ResetTimer()
			used := cpuTime()
			for i := range b.N {
				m, err := pglogrepl.ParseV2(rows[i%len(rows)], false)
				if err != nil {
					b.Fatal(err)
				}
				if len(m.(*pglogrepl.InsertMessageV2).Tuple.Columns) != 12 {
					b.Fatal(fmt.Errorf("%T", m))
				}
			}
			perCPU(b, used)
		})
	}
}
