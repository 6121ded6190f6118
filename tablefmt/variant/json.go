package variant

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// AppendJSON appends a variant as Spark's to_json prints it in the zone UTC:
// numbers with all their digits and decimals without trailing zeros, times and
// dates as texts, bytes in base 64, floats as Java has them. What JSON has no
// number for (NaN, infinities) is a text.
func AppendJSON(dst, metadata, value []byte) ([]byte, error) {
	d, err := ParseMetadata(metadata)
	if err != nil {
		return dst, err
	}
	if _, err := d.size(value, 0); err != nil {
		return dst, err
	}
	p := printer{d: d, b: dst}
	p.value(value)
	if p.unknown {
		return dst, fmt.Errorf("%w: %d, which this version of lakeload cannot print", ErrUnknownType, p.unknownType)
	}
	return p.b, nil
}

// printer prints a value that has been checked.
type printer struct {
	d           Dict
	b           []byte
	unknown     bool
	unknownType primitive
}

func (p *printer) value(v []byte) {
	switch v[0] & 3 {
	case basicPrimitive:
		p.primitive(primitive(v[0]>>2), v[1:])
		return
	case basicShortString:
		p.b = appendString(p.b, v[1:1+v[0]>>2])
		return
	}
	c, err := openContainer(v)
	if err != nil { // it was checked
		return
	}
	ends := "[]"
	if c.ids != nil {
		ends = "{}"
	}
	p.b = append(p.b, ends[0])
	for i := range c.n {
		if i > 0 {
			p.b = append(p.b, ',')
		}
		if c.ids != nil {
			p.b = append(appendString(p.b, p.d.Name(c.id(i))), ':')
		}
		p.value(c.values[c.offset(i):])
	}
	p.b = append(p.b, ends[1])
}

func (p *printer) primitive(t primitive, v []byte) {
	i64 := func() int64 { return int64(binary.LittleEndian.Uint64(v)) }
	switch t {
	case primNull:
		p.b = append(p.b, "null"...)
	case primTrue:
		p.b = append(p.b, "true"...)
	case primFalse:
		p.b = append(p.b, "false"...)
	case primInt8:
		p.b = strconv.AppendInt(p.b, int64(int8(v[0])), 10)
	case primInt16:
		p.b = strconv.AppendInt(p.b, int64(int16(binary.LittleEndian.Uint16(v))), 10)
	case primInt32:
		p.b = strconv.AppendInt(p.b, int64(int32(binary.LittleEndian.Uint32(v))), 10)
	case primInt64:
		p.b = strconv.AppendInt(p.b, i64(), 10)
	case primDouble:
		p.b = appendFloat(p.b, math.Float64frombits(binary.LittleEndian.Uint64(v)), 64)
	case primFloat:
		p.b = appendFloat(p.b, float64(math.Float32frombits(binary.LittleEndian.Uint32(v))), 32)
	case primDecimal4:
		p.b = appendDecimal(p.b, v[1:5], int(v[0]))
	case primDecimal8:
		p.b = appendDecimal(p.b, v[1:9], int(v[0]))
	case primDecimal16:
		p.b = appendDecimal(p.b, v[1:17], int(v[0]))
	case primDate:
		p.quoted(appendDate(nil, time.Unix(int64(int32(binary.LittleEndian.Uint32(v)))*86400, 0).UTC()))
	case primTimestamp:
		p.quoted(append(appendMoment(nil, time.UnixMicro(i64())), "+00:00"...))
	case primTimestampNTZ:
		p.quoted(appendMoment(nil, time.UnixMicro(i64())))
	case primTimestampNanos:
		p.quoted(append(appendMoment(nil, time.Unix(0, i64())), "+00:00"...))
	case primTimestampNTZNanos:
		p.quoted(appendMoment(nil, time.Unix(0, i64())))
	case primTime:
		p.quoted(time.UnixMicro(i64()).UTC().AppendFormat(nil, "15:04:05.999999"))
	case primBinary:
		p.quoted(base64.StdEncoding.AppendEncode(nil, v[4:4+binary.LittleEndian.Uint32(v)]))
	case primString:
		p.b = appendString(p.b, v[4:4+binary.LittleEndian.Uint32(v)])
	case primUUID:
		p.quoted([]byte(uuid.UUID(v[:16]).String()))
	default:
		p.unknown, p.unknownType = true, t
	}
}

func (p *printer) quoted(text []byte) {
	p.b = append(append(append(p.b, '"'), text...), '"')
}

func appendDate(b []byte, t time.Time) []byte {
	y := t.Year()
	switch {
	case y < 0:
		b, y = append(b, '-'), -y
	case y > 9999:
		b = append(b, '+')
	}
	for limit := 1000; limit > max(y, 1); limit /= 10 {
		b = append(b, '0')
	}
	return t.AppendFormat(strconv.AppendInt(b, int64(y), 10), "-01-02")
}

func appendMoment(b []byte, t time.Time) []byte {
	t = t.UTC()
	return t.AppendFormat(append(appendDate(b, t), ' '), "15:04:05.999999999")
}

// appendDecimal prints a little-endian number over ten to the scale, without
// trailing zeros after the point, as BigDecimal.stripTrailingZeros and
// toPlainString do.
func appendDecimal(b, le []byte, scale int) []byte {
	be := slices.Clone(le)
	slices.Reverse(be)
	n := new(big.Int).SetBytes(be)
	if be[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(be))))
	}
	if n.Sign() < 0 {
		b = append(b, '-')
		n.Neg(n)
	}
	digits := n.Append(nil, 10)
	for len(digits) <= scale {
		digits = slices.Insert(digits, 0, '0')
	}
	whole, rest := digits[:len(digits)-scale], digits[len(digits)-scale:]
	for len(rest) > 0 && rest[len(rest)-1] == '0' {
		rest = rest[:len(rest)-1]
	}
	b = append(b, whole...)
	if len(rest) > 0 {
		b = append(append(b, '.'), rest...)
	}
	return b
}

// appendFloat prints a float as Java does: with a point always, plain from a
// thousandth up to ten millions, else with an exponent.
func appendFloat(b []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Infinity"`...)
	}
	if a := math.Abs(f); a == 0 || a >= 1e-3 && a < 1e7 {
		from := len(b)
		b = strconv.AppendFloat(b, f, 'f', -1, bits)
		if !slices.Contains(b[from:], '.') {
			b = append(b, ".0"...)
		}
		return b
	}
	text := strconv.FormatFloat(f, 'e', -1, bits) // d.ddde+dd
	if !strings.Contains(text, ".") {
		text = strconv.FormatFloat(f, 'e', 1, bits) // two digits at least, those that come closest
	}
	e := len(text) - 1
	for text[e] != 'e' {
		e--
	}
	exp, err := strconv.Atoi(text[e+1:])
	if err != nil { // it is one
		return append(b, text...)
	}
	b = append(b, text[:e]...)
	return strconv.AppendInt(append(b, 'E'), int64(exp), 10)
}

// appendString quotes a text as JSON. What is not UTF-8 becomes U+FFFD.
func appendString(b, s []byte) []byte {
	const hex = "0123456789ABCDEF"
	b = append(b, '"')
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		case c == '\b':
			b = append(b, '\\', 'b')
		case c == '\f':
			b = append(b, '\\', 'f')
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRune(s[i:])
			b = utf8.AppendRune(b, r)
			i += n
			continue
		}
		i++
	}
	return append(b, '"')
}
