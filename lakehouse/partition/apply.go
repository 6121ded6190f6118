package partition

import (
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Apply gives the partition column of values. Nulls stay null, but for buckets:
// Spark's hash gives null a number, too. The caller releases it.
func (t Transform) Apply(in arrow.Array) (arrow.Array, error) {
	if t.Func == "" {
		in.Retain()
		return in, nil
	}
	switch t.Func {
	case Bucket:
		return t.buckets(in)
	case Truncate:
		return t.truncated(in)
	case Year:
		return build(array.NewInt32Builder(memory.DefaultAllocator), in, func(b *array.Int32Builder, at time.Time) {
			b.Append(int32(at.Year()))
		})
	case Day:
		return build(array.NewDate32Builder(memory.DefaultAllocator), in, func(b *array.Date32Builder, at time.Time) {
			b.Append(arrow.Date32FromTime(at))
		})
	}
	layout := "2006-01"
	if t.Func == Hour {
		layout = "2006-01-02-15"
	}
	return build(array.NewStringBuilder(memory.DefaultAllocator), in, func(b *array.StringBuilder, at time.Time) {
		b.Append(at.Format(layout))
	})
}

// build makes a column of points in time, in UTC or in none.
func build[B array.Builder](b B, in arrow.Array, add func(b B, at time.Time)) (arrow.Array, error) {
	defer b.Release()
	b.Reserve(in.Len())
	for i := range in.Len() {
		if in.IsNull(i) {
			b.AppendNull()
			continue
		}
		switch a := in.(type) {
		case *array.Date32:
			add(b, a.Value(i).ToTime())
		case *array.Timestamp:
			add(b, time.UnixMicro(int64(a.Value(i))).UTC())
		default:
			return nil, fmt.Errorf("values of type %s are no points in time", in.DataType())
		}
	}
	return b.NewArray(), nil
}

func (t Transform) truncated(in arrow.Array) (arrow.Array, error) {
	b := array.NewBuilder(memory.DefaultAllocator, in.DataType())
	defer b.Release()
	b.Reserve(in.Len())
	for i := range in.Len() {
		if in.IsNull(i) {
			b.AppendNull()
			continue
		}
		switch a := in.(type) {
		case *array.String:
			// An empty text is null as a partition value, for whoever writes it.
			if s := prefix(a.Value(i), t.N); s != "" {
				b.(*array.StringBuilder).Append(s)
			} else {
				b.AppendNull()
			}
		case *array.Int64:
			b.(*array.Int64Builder).Append(floor(a.Value(i), int64(t.N), math.MinInt64))
		case *array.Int32:
			b.(*array.Int32Builder).Append(int32(floor(int64(a.Value(i)), int64(t.N), math.MinInt32)))
		case *array.Int16:
			b.(*array.Int16Builder).Append(int16(floor(int64(a.Value(i)), int64(t.N), math.MinInt16)))
		default:
			return nil, fmt.Errorf("values of type %s cannot be truncated", in.DataType())
		}
	}
	return b.NewArray(), nil
}

// prefix is the first n characters of a text.
func prefix(s string, n int) string {
	if len(s) <= n {
		return s
	}
	end := 0
	for range n {
		if end == len(s) {
			break
		}
		_, size := utf8.DecodeRuneInString(s[end:])
		end += size
	}
	return s[:end]
}

// floor is the greatest multiple of n that is not above v; the least value of
// the type where that is none of it.
func floor(v, n, least int64) int64 {
	rest := v % n
	if rest < 0 {
		rest += n
	}
	if v < least+rest {
		return least
	}
	return v - rest
}
