package colfile

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
	"github.com/stretchr/testify/require"
)

// orderSchema is the 12-column table that the figures in the documentation
// are about: an order with a key, references, amounts, times and short texts.
func orderSchema() *arrow.Schema {
	f := func(name string, t arrow.DataType) arrow.Field {
		return arrow.Field{Name: name, Type: t, Nullable: true}
	}
	ts := &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	return arrow.NewSchema([]arrow.Field{
		f("id", arrow.PrimitiveTypes.Int64),
		f("customer_id", arrow.PrimitiveTypes.Int64),
		f("product_id", arrow.PrimitiveTypes.Int32),
		f("quantity", arrow.PrimitiveTypes.Int32),
		f("price", &arrow.Decimal128Type{Precision: 10, Scale: 2}),
		f("total", &arrow.Decimal128Type{Precision: 20, Scale: 4}),
		f("created_at", ts),
		f("updated_at", ts),
		f("status", arrow.BinaryTypes.String),
		f("country", arrow.BinaryTypes.String),
		f("token", arrow.BinaryTypes.String),
		f("note", arrow.BinaryTypes.String),
	}, nil)
}

func orderBatch(rows int, seed uint64) arrow.RecordBatch {
	r := rand.New(rand.NewPCG(seed, 7))
	b := array.NewRecordBuilder(memory.DefaultAllocator, orderSchema())
	defer b.Release()
	statuses := []string{"new", "paid", "shipped", "delivered", "returned"}
	words := []string{"gift", "fragile", "call first", "leave at the door", "blue", "red", "second floor"}
	for i := range rows {
		created := int64(1_760_000_000_000_000) + int64(i)*1200 + r.Int64N(1000)
		b.Field(0).(*array.Int64Builder).Append(int64(seed)*1_000_000 + int64(i))
		b.Field(1).(*array.Int64Builder).Append(r.Int64N(100_000))
		b.Field(2).(*array.Int32Builder).Append(r.Int32N(5000))
		b.Field(3).(*array.Int32Builder).Append(1 + r.Int32N(9))
		price := r.Int64N(100_000)
		b.Field(4).(*array.Decimal128Builder).Append(decimal128.FromI64(price))
		b.Field(5).(*array.Decimal128Builder).Append(decimal128.FromI64(price * 100 * (1 + r.Int64N(9))))
		b.Field(6).(*array.TimestampBuilder).Append(arrow.Timestamp(created))
		b.Field(7).(*array.TimestampBuilder).Append(arrow.Timestamp(created + r.Int64N(86_400_000_000)))
		b.Field(8).(*array.StringBuilder).Append(statuses[r.IntN(len(statuses))])
		b.Field(9).(*array.StringBuilder).Append(string([]byte{'A' + byte(r.IntN(8)), 'A' + byte(r.IntN(8))}))
		var u [16]byte
		for k := range u {
			u[k] = byte(r.Uint32())
		}
		h := hex.EncodeToString(u[:])
		b.Field(10).(*array.StringBuilder).Append(h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:])
		if r.IntN(4) == 0 {
			b.Field(11).AppendNull()
		} else {
			b.Field(11).(*array.StringBuilder).Append(words[r.IntN(len(words))] + fmt.Sprint(r.IntN(1000)))
		}
	}
	return b.NewRecordBatch()
}

// benchBatches are 32 batches of 8192 different rows.
func benchBatches() []arrow.RecordBatch {
	recs := make([]arrow.RecordBatch, 32)
	for i := range recs {
		recs[i] = orderBatch(8192, uint64(i))
	}
	return recs
}

// BenchmarkWrite writes files of 262,144 rows. The metric to look at is rows
// per second of CPU time, the garbage collector's included.
func BenchmarkWrite(b *testing.B) {
	recs := benchBatches()
	perm := make([]int32, 8192)
	for i, p := range rand.New(rand.NewPCG(1, 2)).Perm(8192) {
		perm[i] = int32(p)
	}
	for _, c := range []struct {
		name string
		opt  WriterOptions
		rows []int32
	}{
		{"zstd", WriterOptions{}, nil},
		{"zstd/rows", WriterOptions{}, perm},
		{"zstd/nodict", WriterOptions{NoDictionary: true}, nil},
		{"snappy", WriterOptions{Codec: Snappy}, nil},
		{"gzip", WriterOptions{Codec: Gzip}, nil},
		{"none", WriterOptions{Codec: Uncompressed}, nil},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			rows, size := int64(0), int64(0)
			start := cpuTime()
			for b.Loop() {
				w, err := NewWriter(io.Discard, recs[0].Schema(), c.opt)
				require.NoError(b, err)
				for _, rec := range recs {
					if c.rows != nil {
						err = w.WriteRows(rec, c.rows)
					} else {
						err = w.Write(rec)
					}
					require.NoError(b, err)
				}
				st, err := w.Close()
				require.NoError(b, err)
				rows += st.Rows
				size += st.Bytes
			}
			b.ReportMetric(float64(rows)/(cpuTime()-start).Seconds(), "rows/cpu-s")
			b.ReportMetric(float64(size)/float64(rows), "B/row")
		})
	}
}

// BenchmarkWriteSeven writes the columns of BenchmarkWriteParquetGo.
func BenchmarkWriteSeven(b *testing.B) {
	recs := benchBatches()
	for i, rec := range recs {
		var fields []arrow.Field
		var cols []arrow.Array
		for _, c := range []int{0, 1, 2, 3, 6, 7, 10} {
			fields, cols = append(fields, rec.Schema().Field(c)), append(cols, rec.Column(c))
		}
		recs[i] = array.NewRecordBatch(arrow.NewSchema(fields, nil), cols, rec.NumRows())
	}
	b.ReportAllocs()
	rows := int64(0)
	start := cpuTime()
	for b.Loop() {
		w, err := NewWriter(io.Discard, recs[0].Schema(), WriterOptions{})
		require.NoError(b, err)
		for _, rec := range recs {
			require.NoError(b, w.Write(rec))
		}
		st, err := w.Close()
		require.NoError(b, err)
		rows += st.Rows
	}
	b.ReportMetric(float64(rows)/(cpuTime()-start).Seconds(), "rows/cpu-s")
}

// BenchmarkWriteSmall writes whole files of few rows.
func BenchmarkWriteSmall(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		rec := orderBatch(n, 1)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			var buf bytes.Buffer
			for b.Loop() {
				buf.Reset()
				w, err := NewWriter(&buf, rec.Schema(), WriterOptions{})
				require.NoError(b, err)
				require.NoError(b, w.Write(rec))
				_, err = w.Close()
				require.NoError(b, err)
			}
			b.ReportMetric(float64(buf.Len()), "B/file")
		})
		rec.Release()
	}
}

// BenchmarkRead reads a file of 262,144 rows.
func BenchmarkRead(b *testing.B) {
	var buf bytes.Buffer
	w, err := NewWriter(&buf, orderSchema(), WriterOptions{})
	require.NoError(b, err)
	for _, rec := range benchBatches() {
		require.NoError(b, w.Write(rec))
	}
	_, err = w.Close()
	require.NoError(b, err)
	b.ReportAllocs()
	rows := int64(0)
	start := cpuTime()
	for b.Loop() {
		f, err := OpenFile(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
		require.NoError(b, err)
		require.NoError(b, f.Read(context.Background(), ReadOptions{}, func(rec arrow.RecordBatch, _ int64) error {
			rows += rec.NumRows()
			return nil
		}))
	}
	b.ReportMetric(float64(rows)/(cpuTime()-start).Seconds(), "rows/cpu-s")
}

// BenchmarkWriteParquetGo is parquet-go's own column writer on seven of the
// twelve columns, as a yardstick; BenchmarkWriteSeven is ours on the same.
func BenchmarkWriteParquetGo(b *testing.B) {
	recs := benchBatches()
	rec := recs[0]
	group := parquet.Group{}
	cols := []int{0, 1, 2, 3, 6, 7, 10}
	for _, c := range cols {
		name := rec.ColumnName(c)
		switch rec.Column(c).DataType().ID() {
		case arrow.INT32:
			group[name] = parquet.Optional(parquet.Leaf(parquet.Int32Type))
		case arrow.STRING:
			group[name] = parquet.Optional(parquet.String())
		default:
			group[name] = parquet.Optional(parquet.Leaf(parquet.Int64Type))
		}
	}
	schema := parquet.NewSchema("t", group)
	b.ReportAllocs()
	rows := 0
	start := cpuTime()
	for b.Loop() {
		w := parquet.NewGenericWriter[any](io.Discard, schema, parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest}))
		rg := w.BeginRowGroup()
		vals := make([]parquet.Value, 1024)
		for _, rec := range recs {
			for at := 0; at < 8192; at += 1024 {
				for _, c := range cols {
					leaf, _ := schema.Lookup(rec.ColumnName(c))
					for i := range vals {
						switch a := rec.Column(c).(type) {
						case *array.Int32:
							vals[i] = parquet.Int32Value(a.Value(at+i)).Level(0, 1, leaf.ColumnIndex)
						case *array.Int64:
							vals[i] = parquet.Int64Value(a.Value(at+i)).Level(0, 1, leaf.ColumnIndex)
						case *array.Timestamp:
							vals[i] = parquet.Int64Value(int64(a.Value(at+i))).Level(0, 1, leaf.ColumnIndex)
						case *array.String:
							// In place: a copy would be charged to parquet-go.
							vals[i] = parquet.ByteArrayValue(byteArrays(a.Data()).value(at+i)).Level(0, 1, leaf.ColumnIndex)
						}
					}
					_, err := rg.ColumnWriters()[leaf.ColumnIndex].WriteRowValues(vals)
					require.NoError(b, err)
				}
			}
			rows += 8192
		}
		_, err := rg.Commit()
		require.NoError(b, err)
		require.NoError(b, w.Close())
	}
	b.ReportMetric(float64(rows)/(cpuTime()-start).Seconds(), "rows/cpu-s")
}
