package lakehouse

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/lakeload/lakeload/lakehouse/keyindex"
)

// rowEncoder hashes rows of given columns, for comparisons within one process:
// a row hashes alike whichever side it comes from. The form that is hashed is
// that of keyHasher with the columns' numbers in it; values that are null are
// left out, so that a column that one side does not have is one of nulls. It is
// used by one goroutine.
type rowEncoder struct {
	hasher keyindex.Hasher
	cols   []encoded
	exact  exactText
	// stale says that there may be exact texts of values that are not null, as no
	// source gives them and only damage leaves them: they count.
	stale bool
	buf   []byte
}

// encoded is a column with its values at hand. One of the slices is set for the
// usual types.
type encoded struct {
	at    int
	tag   byte
	array arrow.Array
	nulls bool
	i64   []int64
	i32   []int32
	f64   []float64
	text  *array.String
}

// columns takes the columns of the rows that are hashed next; a nil one is of
// nulls.
func (e *rowEncoder) columns(cols []arrow.Array, exact exactText) {
	e.cols, e.exact = e.cols[:0], exact
	for at, c := range cols {
		if c == nil {
			continue
		}
		x := encoded{at: at, array: c, nulls: c.NullN() > 0}
		switch c := c.(type) {
		case *array.Int64:
			x.tag, x.i64 = 'i', c.Int64Values()
		case *array.Int32:
			x.tag, x.i32 = 'i', c.Int32Values()
		case *array.Date32:
			x.tag, x.i32 = 'd', arrow.Int32Traits.CastFromBytes(arrow.Date32Traits.CastToBytes(c.Date32Values()))
		case *array.Timestamp:
			x.tag, x.i64 = 't', arrow.Int64Traits.CastFromBytes(arrow.TimestampTraits.CastToBytes(c.TimestampValues()))
		case *array.Float64:
			x.tag, x.f64 = 'f', c.Float64Values()
		case *array.String:
			x.tag, x.text = 's', c
		}
		e.cols = append(e.cols, x)
	}
}

// hash hashes some rows of n: that of row i is put into out[i].
func (e *rowEncoder) hash(rows []int32, n int, out *[]keyindex.Hash) error {
	if cap(*out) < n {
		*out = make([]keyindex.Hash, n)
	}
	*out = (*out)[:n]
	for _, row := range rows {
		b := e.buf[:0]
		for i := range e.cols {
			c := &e.cols[i]
			if c.nulls && c.array.IsNull(int(row)) {
				if e.exact == nil {
					continue
				}
				if text, ok := e.exact(int(row), c.at); ok {
					b = appendKeyString(append(binary.AppendUvarint(b, uint64(c.at)), 'x'), text)
				}
				continue
			}
			if e.stale && e.exact != nil {
				if text, ok := e.exact(int(row), c.at); ok {
					b = appendKeyString(append(binary.AppendUvarint(b, uint64(c.at)), 'x'), text)
				}
			}
			b = binary.AppendUvarint(b, uint64(c.at))
			switch {
			case c.i64 != nil:
				b = appendKeyInt(b, c.tag, c.i64[row])
			case c.i32 != nil:
				b = appendKeyInt(b, c.tag, int64(c.i32[row]))
			case c.text != nil:
				b = appendKeyString(append(b, c.tag), c.text.Value(int(row)))
			case c.f64 != nil:
				b = appendKeyInt(b, c.tag, int64(math.Float64bits(c.f64[row])))
			default:
				var err error
				if b, err = appendKeyValue(b, c.array, int(row)); err != nil {
					return fmt.Errorf("column %d: %w", c.at, err)
				}
			}
		}
		(*out)[row] = e.hasher.Sum(b)
		e.buf = b
	}
	return nil
}
