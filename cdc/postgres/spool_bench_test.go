package postgres

import (
	"errors"
	"io"
	"math/rand/v2"
	"testing"
)

// BenchmarkSpool writes the messages of rows to the disk, and reads them back.
func BenchmarkSpool(b *testing.B) {
	_, rows := benchMessages(valueBinary, 4096)
	for i, m := range rows { // no two are alike
		_, _ = rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)}).Read(m[len(m)-16:]) // it never fails
	}
	st := newTestStore(b, 0)
	s, err := st.create()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(rows[0])))
	b.ReportAllocs()
	used := cpuTime()
	for i := range b.N {
		m := rows[i%len(rows)]
		if err := s.add(7, m[0], m[1:]); err != nil {
			b.Fatal(err)
		}
	}
	n := 0
	for ; ; n++ {
		if _, _, err := s.next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			b.Fatal(err)
		}
	}
	if n != b.N {
		b.Fatal(n)
	}
	perCPU(b, used)
	b.ReportMetric(float64(s.length())/float64(max(s.end, 1)), "compression")
	s.close()
}
