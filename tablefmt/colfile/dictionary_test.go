package colfile

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/parquet-go/parquet-go/format"
	"github.com/stretchr/testify/require"
)

// growing has columns whose dictionaries look good at first and outgrow their
// bounds after pages were written with them.
func growing(rows int) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, schemaOf(
		opt("i", arrow.PrimitiveTypes.Int64), opt("s", arrow.BinaryTypes.String),
		opt("d", &arrow.Decimal128Type{Precision: 25, Scale: 1}), opt("few", arrow.BinaryTypes.String)))
	defer b.Release()
	for i := range rows {
		b.Field(0).(*array.Int64Builder).Append(int64(i / 3))
		b.Field(1).(*array.StringBuilder).Append(fmt.Sprint("a text of some length ", i/4))
		b.Field(2).(*array.Decimal128Builder).Append(decimal128.FromI64(int64(i / 5)))
		b.Field(3).(*array.StringBuilder).Append(fmt.Sprint(i % 3))
	}
	return b.NewRecordBatch()
}

// TestDictionaryGivenUp changes encodings in the middle of row groups.
func TestDictionaryGivenUp(t *testing.T) {
	rec := growing(200_000)
	b := writeFile(t, rec, WriterOptions{PageBytes: 16 << 10, RowGroupRows: 110_000})
	requireRows(t, rec, allRows(rec.NumRows()), readAll(t, b, ReadOptions{}))
	f, err := OpenFile(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	require.Equal(t, 2, f.NumRowGroups())
	groups := wholeFooter(t, b).RowGroups
	for g := range groups {
		for c, mixed := range []bool{true, true, true, false} {
			m := groups[g].Columns[c].MetaData
			require.Contains(t, m.Encoding, format.RLEDictionary, "group %d column %d", g, c)
			plain := slices.ContainsFunc(m.EncodingStats, func(s format.PageEncodingStats) bool {
				return s.PageType == format.DataPage && s.Encoding == format.Plain
			})
			require.Equal(t, mixed, plain, "group %d column %d", g, c)
			require.Equal(t, m.DictionaryPageOffset > 0, slices.Contains(m.Encoding, format.RLEDictionary))
		}
	}
	require.Less(t, groups[0].Columns[3].MetaData.TotalCompressedSize, int64(40_000))
}

// countingReader counts the bytes that are asked for.
type countingReader struct {
	io.ReaderAt
	n atomic.Int64
}

func (r *countingReader) ReadAt(p []byte, off int64) (int, error) {
	r.n.Add(int64(len(p)))
	return r.ReaderAt.ReadAt(p, off)
}

// TestRowsSkipPages reads one row, without asking for the pages before it.
func TestRowsSkipPages(t *testing.T) {
	rec := growing(200_000)
	b := writeFile(t, rec, WriterOptions{PageBytes: 256 << 10, Codec: Uncompressed, NoDictionary: true})
	r := &countingReader{ReaderAt: bytes.NewReader(b)}
	f, err := OpenFile(r, int64(len(b)))
	require.NoError(t, err)
	err = f.Read(context.Background(), ReadOptions{Rows: []int64{199_999}, Columns: []string{"s"}, ReadAhead: 1},
		func(got arrow.RecordBatch, first int64) error {
			require.Zero(t, first)
			require.Equal(t, "a text of some length 49999", got.Column(0).ValueStr(0))
			return nil
		})
	require.NoError(t, err)
	require.Greater(t, len(b), 5<<20)
	require.Less(t, r.n.Load(), int64(2600<<10))
}
