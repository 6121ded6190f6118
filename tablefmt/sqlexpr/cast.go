package sqlexpr

import (
	"math/big"
	"strconv"
	"strings"
	"time"
)

var castTypes = map[string]kind{
	"BOOLEAN": kindBool, "TINYINT": kindByte, "BYTE": kindByte, "SMALLINT": kindShort, "SHORT": kindShort, "INT": kindInt, "INTEGER": kindInt,
	"BIGINT": kindLong, "LONG": kindLong, "FLOAT": kindFloat, "REAL": kindFloat, "DOUBLE": kindDouble, "STRING": kindString, "DATE": kindDate,
	"TIMESTAMP_NTZ": kindNTZ,
}

func castType(name string) (typ, error) {
	if k, ok := castTypes[name]; ok {
		return typ{kind: k}, nil
	}
	if name == "DECIMAL" || name == "DEC" || name == "NUMERIC" {
		return typ{kindDecimal, 10, 0}, nil
	}
	for _, prefix := range []string{"DECIMAL(", "DEC(", "NUMERIC("} {
		args, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		p, s, _ := strings.Cut(strings.TrimSuffix(args, ")"), ",")
		precision, err1 := strconv.Atoi(p)
		scale, err2 := 0, error(nil)
		if s != "" {
			scale, err2 = strconv.Atoi(s)
		}
		if err1 == nil && err2 == nil && precision >= 1 && precision <= 38 && scale >= 0 && scale <= precision {
			return typ{kindDecimal, precision, scale}, nil
		}
	}
	return typ{}, unsupportedf("CAST to %s", strings.ToLower(name))
}

// cast compiles a CAST that neither rounds nor looks at a time zone.
func cast(n *node, name string) (*node, error) {
	to, err := castType(name)
	if err != nil {
		return nil, err
	}
	do, err := conversion(n.typ, to)
	if err != nil {
		return nil, err
	}
	return mapped(n, to, do), nil
}

// conversion turns values of one type into another's, as they are.
func conversion(from, to typ) (func(value) (value, error), error) {
	same := func(v value) (value, error) { return v, nil }
	switch {
	case from == to && from.kind != kindOther, from.kind == kindNull:
		return same, nil
	case from.kind == kindTimestamp || to.kind == kindTimestamp:
		return nil, unsupportedf("CAST of %s to %s depends on a session's time zone", from, to)
	case from.integer() && to.integer():
		return func(v value) (value, error) {
			if !inRange(v.i, to) {
				return null, errRange(to)
			}
			return v, nil
		}, nil
	case from.integer() && to.kind == kindDouble:
		return func(v value) (value, error) { return value{f: float64(v.i)}, nil }, nil
	case from.integer() && to.kind == kindFloat:
		return func(v value) (value, error) { return value{f: float64(float32(v.i))}, nil }, nil
	case from.kind == kindFloat && to.kind == kindDouble:
		return same, nil
	case (from.integer() || from.kind == kindDecimal) && to.kind == kindDecimal && to.scale >= from.scale:
		return func(v value) (value, error) {
			d := toDecimal(v, from, to.scale)
			if !fits(d, to) {
				return null, errRange(to)
			}
			return value{d: d}, nil
		}, nil
	case from.integer() && to.kind == kindString:
		return func(v value) (value, error) { return value{s: strconv.FormatInt(v.i, 10)}, nil }, nil
	case from.kind == kindBool && to.kind == kindString:
		return func(v value) (value, error) { return value{s: strconv.FormatBool(v.i != 0)}, nil }, nil
	case from.kind == kindDate && to.kind == kindString:
		return func(v value) (value, error) {
			t := time.Unix(v.i*24*3600, 0).UTC()
			if t.Year() < 0 || t.Year() > 9999 {
				return null, unsupportedf("the text of a date whose year is not of four digits")
			}
			return value{s: t.Format(time.DateOnly)}, nil
		}, nil
	case from.kind == kindDate && to.kind == kindNTZ:
		return func(v value) (value, error) { return value{i: v.i * dayMicros}, nil }, nil
	case from.kind == kindNTZ && to.kind == kindDate:
		return func(v value) (value, error) { return value{i: floorDiv(v.i, dayMicros)}, nil }, nil
	}
	return nil, unsupportedf("CAST of %s to %s", from, to)
}

// assignment turns values of an expression into those of a column, as INSERT
// does: a decimal that has digits to spare loses none.
func assignment(from, to typ) (func(value) (value, error), error) {
	if from.kind == kindDecimal && to.kind == kindDecimal && to.scale < from.scale {
		return func(v value) (value, error) {
			d, rest := new(big.Int).QuoRem(v.d, powers[from.scale-to.scale], new(big.Int))
			if rest.Sign() != 0 || !fits(d, to) {
				return null, errRange(to)
			}
			return value{d: d}, nil
		}, nil
	}
	if from.kind == kindDecimal && (to.kind == kindDouble || to.kind == kindFloat) {
		return func(v value) (value, error) {
			f := toDouble(v, from)
			if to.kind == kindFloat {
				f32, _ := new(big.Rat).SetFrac(v.d, powers[from.scale]).Float32()
				f = float64(f32)
			}
			return value{f: f}, nil
		}, nil
	}
	return conversion(from, to)
}
