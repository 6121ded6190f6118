package sqlexpr

import (
	"fmt"
	"math/big"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

type kind uint8

const (
	kindNull kind = iota // of NULL itself
	kindBool
	kindByte
	kindShort
	kindInt
	kindLong
	kindFloat
	kindDouble
	kindDecimal
	kindString
	kindDate
	kindTimestamp // an instant
	kindNTZ
	kindOther // only whether it is null can be told
)

var kindNames = [...]string{
	"null", "boolean", "tinyint", "smallint", "int", "bigint", "float", "double", "decimal", "string", "date", "timestamp", "timestamp_ntz", "a value of another type",
}

// typ is an expression's type.
type typ struct {
	kind             kind
	precision, scale int // of decimals
}

func (t typ) String() string {
	if t.kind == kindDecimal {
		return fmt.Sprintf("decimal(%d,%d)", t.precision, t.scale)
	}
	return kindNames[t.kind]
}

func (t typ) integer() bool { return t.kind >= kindByte && t.kind <= kindLong }

func (t typ) numeric() bool { return t.kind >= kindByte && t.kind <= kindDecimal }

// bits of an integer.
func (t typ) bits() int { return 8 << (t.kind - kindByte) }

// digits is the decimal that holds every integer of a type.
func (t typ) digits() typ {
	return typ{kindDecimal, map[kind]int{kindByte: 3, kindShort: 5, kindInt: 10, kindLong: 20}[t.kind], 0}
}

func typeOf(t arrow.DataType) typ {
	switch t := t.(type) {
	case *arrow.Decimal128Type:
		return typ{kindDecimal, int(t.Precision), int(t.Scale)}
	case *arrow.TimestampType:
		switch {
		case t.Unit != arrow.Microsecond:
			return typ{kind: kindOther}
		case t.TimeZone != "":
			return typ{kind: kindTimestamp}
		}
		return typ{kind: kindNTZ}
	}
	k, ok := map[arrow.Type]kind{
		arrow.BOOL: kindBool, arrow.INT8: kindByte, arrow.INT16: kindShort, arrow.INT32: kindInt, arrow.INT64: kindLong,
		arrow.FLOAT32: kindFloat, arrow.FLOAT64: kindDouble, arrow.STRING: kindString, arrow.DATE32: kindDate,
	}[t.ID()]
	if !ok {
		k = kindOther
	}
	return typ{kind: k}
}

// value is a value of a type: in i for integers, booleans, dates (days) and
// timestamps (microseconds), in f for floats, in s for texts, in d the unscaled
// number of a decimal.
type value struct {
	null bool
	i    int64
	f    float64
	s    string
	d    *big.Int
}

var null = value{null: true}

func boolean(b bool) value {
	if b {
		return value{i: 1}
	}
	return value{}
}

// valueAt reads a value of an array. A text is good as long as the array is.
func valueAt(a arrow.Array, i int) value {
	if a.IsNull(i) {
		return null
	}
	switch a := a.(type) {
	case *array.Boolean:
		return boolean(a.Value(i))
	case *array.Int8:
		return value{i: int64(a.Value(i))}
	case *array.Int16:
		return value{i: int64(a.Value(i))}
	case *array.Int32:
		return value{i: int64(a.Value(i))}
	case *array.Int64:
		return value{i: a.Value(i)}
	case *array.Float32:
		return value{f: float64(a.Value(i))}
	case *array.Float64:
		return value{f: a.Value(i)}
	case *array.String:
		return value{s: a.Value(i)}
	case *array.Date32:
		return value{i: int64(a.Value(i))}
	case *array.Timestamp:
		return value{i: int64(a.Value(i))}
	case *array.Decimal128:
		return value{d: a.Value(i).BigInt()}
	}
	return value{}
}

var powers = func() (p [77]*big.Int) {
	p[0] = big.NewInt(1)
	for i := 1; i < len(p); i++ {
		p[i] = new(big.Int).Mul(p[i-1], big.NewInt(10))
	}
	return p
}()

// fits reports whether a decimal has no more digits than its type allows.
func fits(d *big.Int, t typ) bool { return d.CmpAbs(powers[t.precision]) < 0 }

// toDecimal gives an integer or a decimal of scale from as one of scale to,
// which is not less.
func toDecimal(v value, t typ, scale int) *big.Int {
	d := v.d
	if t.integer() {
		d = big.NewInt(v.i)
	}
	if scale == t.scale {
		return d
	}
	return new(big.Int).Mul(d, powers[scale-t.scale])
}

// toDouble gives a number as the double that is next to it.
func toDouble(v value, t typ) float64 {
	switch {
	case t.integer():
		return float64(v.i)
	case t.kind == kindDecimal:
		f, _ := new(big.Rat).SetFrac(v.d, powers[t.scale]).Float64()
		return f
	}
	return v.f
}
