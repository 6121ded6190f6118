package postgres

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

// TestFloatsPrintAsTheServerPrintsThem compares random bit patterns, and those
// where shortest digits lie half-way between two floats, with the server's own
// text. LAKELOAD_TEST_FLOATS sets the number of patterns of each size.
func TestFloatsPrintAsTheServerPrintsThem(t *testing.T) {
	d := newDatabase(t)
	s := d.open()
	count := 200_000
	if n, err := strconv.Atoi(os.Getenv("LAKELOAD_TEST_FLOATS")); err == nil {
		count = n
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	require.NoError(t, s.admin.with(t.Context(), func(conn *pgconn.PgConn) error {
		compareFloats(t, conn, count, 8, "float8", func() uint64 { return math.Float64bits(oddFloat(rnd)) }, textFloat8)
		compareFloats(t, conn, count, 4, "float4", func() uint64 { return uint64(math.Float32bits(oddFloat32(rnd))) }, textFloat4)
		return nil
	}))
}

// oddFloat gives floats of all kinds, most of them any bit pattern.
func oddFloat(rnd *rand.Rand) float64 {
	switch rnd.IntN(6) {
	case 3: // fractions whose exact digits are few, and may end half-way
		return math.Ldexp(float64(rnd.Uint64N(2<<rnd.IntN(53))), -rnd.IntN(80))
	case 0: // around where integers end to be exact, and of half-way digits
		return math.Ldexp(float64(rnd.Uint64N(1<<53)&^1), rnd.IntN(60)-3)
	case 1: // powers of two have a nearer neighbour below
		return math.Ldexp(1, rnd.IntN(2098)-1074)
	case 2: // few digits
		return float64(rnd.IntN(100000)) * math.Pow10(rnd.IntN(40)-20)
	}
	return math.Float64frombits(rnd.Uint64())
}

func oddFloat32(rnd *rand.Rand) float32 {
	switch rnd.IntN(6) {
	case 3:
		return float32(math.Ldexp(float64(rnd.Uint64N(2<<rnd.IntN(24))), -rnd.IntN(50)))
	case 0:
		return float32(math.Ldexp(float64(rnd.Uint64N(1<<24)&^1), rnd.IntN(40)-3))
	case 1:
		return float32(math.Ldexp(1, rnd.IntN(277)-149))
	case 2:
		return float32(float64(rnd.IntN(100000)) * math.Pow10(rnd.IntN(40)-20))
	}
	return math.Float32frombits(rnd.Uint32())
}

func compareFloats(t *testing.T, conn *pgconn.PgConn, count, size int, name string, next func() uint64, text textFunc) {
	const portion = 100_000
	for done := 0; done < count; done += portion {
		n := min(portion, count-done)
		arg := binary.BigEndian.AppendUint32(nil, 1)
		arg = append(arg, 0, 0, 0, 0)
		oid := map[int]uint32{4: oidFloat4, 8: oidFloat8}[size]
		arg = binary.BigEndian.AppendUint32(arg, oid)
		arg = binary.BigEndian.AppendUint32(arg, uint32(n))
		arg = binary.BigEndian.AppendUint32(arg, 1)
		values := make([][]byte, n)
		for i := range values {
			values[i] = be(size, int64(next()))
			arg = append(binary.BigEndian.AppendUint32(arg, uint32(size)), values[i]...)
		}
		res := conn.ExecParams(t.Context(), "SELECT unnest($1::"+name+"[])", [][]byte{arg}, nil, []int16{1}, []int16{0}).Read()
		require.NoError(t, res.Err)
		require.Len(t, res.Rows, n)
		var buf []byte
		for i, r := range res.Rows {
			var err error
			if buf, err = text(buf[:0], values[i]); err != nil || string(buf) != string(r[0]) {
				t.Errorf("%s %x: the server prints %s, we print %s (%v)", name, values[i], r[0], buf, err)
			}
		}
	}
}
