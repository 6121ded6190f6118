package postgres

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

// Values as pgvector 0.8.5 sends and prints them.
func TestEdge54Vectors(t *testing.T) {
	for _, c := range []struct{ name, bin, text, want string }{
		{"vector", "000600003f80000040200000800000000da242603dcccccd4b800000", "[1,2.5,-0,1e-30,0.1,1.6777216e+07]", "[1,2.5,-0,1e-30,0.1,16777216]"},
		{"vector", "000100003e99999a", "[0.3]", "[0.3]"},
		{"halfvec", "000700003c00410080002e667bff000183ef", "[1,2.5,-0,0.099975586,65504,5.9604645e-08,-6.0021877e-05]", "[1,2.5,-0,0.099975586,65504,5.9604645e-08,-0.000060021877]"},
		{"sparsevec", "0000000900000003000000000000000000000002000000063fc00000c00000003dcccccd", "{1:1.5,3:-2,7:0.1}/9", "{1:1.5,3:-2,7:0.1}/9"},
		{"sparsevec", "000000030000000000000000", "{}/3", "{}/3"},
	} {
		typ := resolveType(70000, -1, typeInfo{OID: 70000, Kind: 'b', Extension: "vector", Name: c.name})
		require.True(t, copyBinary(typ))
		printed, err := typ.text(nil, unhex(c.bin))
		require.NoError(t, err)
		require.Equal(t, c.text, string(printed))
		a, b := build(t, typ, valueBinary, unhex(c.bin)), build(t, typ, valueText, []byte(c.text))
		sameValues(t, a, b, c.text)
		require.Equal(t, c.want, a.Rows.Column(0).ValueStr(0))
	}
}

// Random queries of text search are printed from their binary form as the
// server prints them: parentheses stand where an operator binds more weakly.
func TestEdge54TextSearchIsPrintedAsTheServerDoes(t *testing.T) {
	d := newDatabase(t)
	s := d.open()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 3))
	var draw func(depth int) string
	draw = func(depth int) string {
		if depth == 0 || rnd.IntN(4) == 0 {
			word := []string{"a", "'it''s'", `'b\\s'`, "'two words'", "é"}[rnd.IntN(5)]
			return word + []string{"", "", ":*", ":A", ":*BD", ":abcd"}[rnd.IntN(6)]
		}
		switch rnd.IntN(6) {
		case 0:
			return "!(" + draw(depth-1) + ")"
		case 1, 2:
			return "(" + draw(depth-1) + ") & (" + draw(depth-1) + ")"
		case 3:
			return "(" + draw(depth-1) + ") | (" + draw(depth-1) + ")"
		}
		return fmt.Sprintf("(%s) <%d> (%s)", draw(depth-1), rnd.IntN(3), draw(depth-1))
	}
	var values []string
	for range 600 {
		values = append(values, quoteLiteral(draw(5)))
	}
	sql := "SELECT q::tsquery FROM unnest(ARRAY[" + strings.Join(values, ",") + "]) q"
	require.NoError(t, s.admin.with(t.Context(), func(conn *pgconn.PgConn) error {
		bin := conn.ExecParams(t.Context(), sql, nil, nil, nil, []int16{1}).Read()
		require.NoError(t, bin.Err)
		text := conn.ExecParams(t.Context(), sql, nil, nil, nil, []int16{0}).Read()
		for i := range text.Rows {
			got, err := textTSQuery(nil, bin.Rows[i][0])
			require.NoError(t, err)
			require.Equal(t, string(text.Rows[i][0]), string(got))
		}
		return nil
	}))
}
