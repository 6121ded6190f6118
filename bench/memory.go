package main

import (
	"context"
	"fmt"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/cdc"
)

// memorySource is a source without a server: a table of rows that are made up
// as they are copied, and chunks that whoever has it puts into its stream.
type memorySource struct {
	rel    *cdc.Relation
	rows   int64
	at     cdc.LSN // of the newest transaction's end
	made   bool    // there is a slot
	chunks chan *cdc.Chunk
	acked  chan cdc.LSN
}

var _ cdc.Source = (*memorySource)(nil)

func newMemorySource(rows int64, at cdc.LSN, made bool) *memorySource {
	return &memorySource{rel: memoryTable(), rows: rows, at: at, made: made, chunks: make(chan *cdc.Chunk, 1024), acked: make(chan cdc.LSN, 1024)}
}

// memoryTable has the columns of the other benchmarks' table, but for the uuid,
// which delta-rs has as text, too.
func memoryTable() *cdc.Relation {
	rel := &cdc.Relation{OID: 1, Schema: "public", Name: "bench", Identity: cdc.IdentityDefault, Key: []int{0}, Files: map[uint32]uint32{1: 1}}
	micros := func(zone string) arrow.DataType { return &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: zone} }
	for i, c := range []cdc.Column{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64, SourceType: "bigint", TypeOID: 20, NotNull: true},
		{Name: "customer", Type: arrow.PrimitiveTypes.Int64, SourceType: "bigint", TypeOID: 20},
		{Name: "status", Type: arrow.BinaryTypes.String, SourceType: "text", TypeOID: 25},
		{Name: "amount", Type: &arrow.Decimal128Type{Precision: 12, Scale: 2}, SourceType: "numeric(12,2)", TypeOID: 1700, TypeMod: 786438},
		{Name: "quantity", Type: arrow.PrimitiveTypes.Int32, SourceType: "integer", TypeOID: 23},
		{Name: "weight", Type: arrow.PrimitiveTypes.Float64, SourceType: "double precision", TypeOID: 701},
		{Name: "paid", Type: arrow.FixedWidthTypes.Boolean, SourceType: "boolean", TypeOID: 16},
		{Name: "created", Type: micros("UTC"), SourceType: "timestamp with time zone", TypeOID: 1184},
		{Name: "updated", Type: micros(""), SourceType: "timestamp without time zone", TypeOID: 1114},
		{Name: "day", Type: arrow.FixedWidthTypes.Date32, SourceType: "date", TypeOID: 1082},
		{Name: "code", Type: arrow.BinaryTypes.String, SourceType: "text", TypeOID: 25},
		{Name: "note", Type: arrow.BinaryTypes.String, SourceType: "text", TypeOID: 25},
	} {
		c.ID = int32(i + 1)
		if c.TypeMod == 0 {
			c.TypeMod = -1
		}
		rel.Columns = append(rel.Columns, c)
	}
	return rel
}

// batch makes the rows of some ids, as they are after n changes.
func (s *memorySource) batch(ids []int64, n int) *cdc.Batch {
	fields := make([]arrow.Field, len(s.rel.Columns))
	for i, c := range s.rel.Columns {
		fields[i] = arrow.Field{Name: c.Name, Type: c.Type, Nullable: true}
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil))
	defer b.Release()
	b.Reserve(len(ids))
	statuses := [...]string{"new", "paid", "packed", "sent", "back"}
	const second = 1_000_000
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	for _, i := range ids {
		b.Field(0).(*array.Int64Builder).Append(i)
		b.Field(1).(*array.Int64Builder).Append(i % 100_000)
		b.Field(2).(*array.StringBuilder).Append(statuses[i%5])
		b.Field(3).(*array.Decimal128Builder).Append(decimal128.FromI64(i % 1_000_000))
		b.Field(4).(*array.Int32Builder).Append(int32(i%100) + int32(n))
		b.Field(5).(*array.Float64Builder).Append(float64(i) * 0.37)
		b.Field(6).(*array.BooleanBuilder).Append(i%3 == 0)
		b.Field(7).(*array.TimestampBuilder).Append(arrow.Timestamp(begin + i*second))
		b.Field(8).(*array.TimestampBuilder).Append(arrow.Timestamp(begin + i*60*second))
		b.Field(9).(*array.Date32Builder).Append(arrow.Date32(20_454 + i%365))
		b.Field(10).(*array.StringBuilder).Append(fmt.Sprintf("%016x-%016x", i*7919, i*104729))
		b.Field(11).(*array.StringBuilder).Append(fmt.Sprintf("note number %d of the bench", i))
	}
	out := &cdc.Batch{Relation: s.rel, Rows: exactly(b.NewRecordBatch()), Ops: make([]cdc.Op, len(ids))}
	for i := range out.Ops {
		out.Ops[i] = cdc.OpInsert
	}
	return out
}

// exactly gives a record whose buffers are no larger than what is in them:
// they count as the merge's memory.
func exactly(rec arrow.RecordBatch) arrow.RecordBatch {
	cols := make([]arrow.Array, rec.NumCols())
	for i, c := range rec.Columns() {
		exact, err := array.Concatenate([]arrow.Array{c}, memory.DefaultAllocator)
		if err != nil {
			panic(err) // of one array, which fits itself
		}
		cols[i] = exact
	}
	return array.NewRecordBatch(rec.Schema(), cols, rec.NumRows())
}

// transaction puts changes of some ids into the stream, in chunks; known tells
// those that the table has. It gives the end of the transaction.
func (s *memorySource) transaction(ids []int64, known int64) (chunks []*cdc.Chunk, end cdc.LSN) {
	const most = 16_384
	txn := cdc.Txn{XID: uint32(s.at), Commit: s.at + 8, Time: time.Now()}
	end = s.at + 16
	for from := 0; from < len(ids); from += most {
		part := ids[from:min(from+most, len(ids))]
		b := s.batch(part, 1)
		b.Txns = []cdc.TxnSpan{{Txn: txn}}
		b.Seqs = make([]int64, len(part))
		for i, id := range part {
			b.Seqs[i] = int64(from + i)
			if id <= known {
				b.Ops[i] = cdc.OpUpdate
			}
		}
		c := &cdc.Chunk{Items: []cdc.Item{{Relation: s.rel, Batch: b}}, Cut: s.at, CutTime: txn.Time, Open: true, Bytes: int64(len(part)) * 200}
		chunks = append(chunks, c)
	}
	last := chunks[len(chunks)-1]
	last.Cut, last.Open, last.Transactions = end, false, 1
	s.at = end
	return chunks, end
}

func (s *memorySource) Identify(context.Context) (cdc.Identity, error) {
	return cdc.Identity{SystemID: "bench", Timeline: 1, Database: "bench", ServerVersion: 180000}, nil
}
func (s *memorySource) Timelines(context.Context) ([]cdc.Switch, error) { return nil, nil }
func (s *memorySource) Tables(context.Context) ([]*cdc.Relation, error) {
	return []*cdc.Relation{s.rel}, nil
}
func (s *memorySource) Publish(context.Context, []*cdc.Relation) error { return nil }
func (s *memorySource) Published(context.Context) (map[uint32]uint64, error) {
	return map[uint32]uint64{1: 1}, nil
}

func (s *memorySource) Slot(context.Context) (cdc.SlotState, error) {
	if !s.made {
		return cdc.SlotState{}, cdc.ErrNoSlot
	}
	return cdc.SlotState{Name: "bench", ConfirmedFlush: s.at, Restart: s.at, Current: s.at, WALStatus: "reserved"}, nil
}

func (s *memorySource) CreateSlot(context.Context) (cdc.Snapshot, error) {
	s.made = true
	return memorySnapshot{s}, nil
}
func (s *memorySource) DropSlot(context.Context) error                 { return nil }
func (s *memorySource) Snapshot(context.Context) (cdc.Snapshot, error) { return memorySnapshot{s}, nil }
func (s *memorySource) Close() error                                   { return nil }

func (s *memorySource) Stream(context.Context, cdc.LSN) (cdc.Stream, error) {
	return memoryStream{s}, nil
}

type memoryStream struct{ s *memorySource }

func (m memoryStream) Next(ctx context.Context) (*cdc.Chunk, error) {
	select {
	case c := <-m.s.chunks:
		return c, nil
	case <-time.After(100 * time.Millisecond):
		return &cdc.Chunk{}, nil // nothing has happened
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m memoryStream) Ack(lsn cdc.LSN) {
	select {
	case m.s.acked <- lsn:
	default: // nobody listens
	}
}
func (m memoryStream) Progress() cdc.LSN { return m.s.at }
func (m memoryStream) Close() error      { return nil }

type memorySnapshot struct{ s *memorySource }

func (m memorySnapshot) Point() cdc.LSN { return m.s.at }
func (m memorySnapshot) Close() error   { return nil }

func (m memorySnapshot) Plan(context.Context, *cdc.Relation) ([]cdc.Range, error) {
	const each = 500_000
	var list []cdc.Range
	for at := int64(0); at < m.s.rows; at += each {
		list = append(list, cdc.Range{ID: fmt.Sprint(at), Rows: each})
	}
	return list, nil
}

func (m memorySnapshot) Read(_ context.Context, _ *cdc.Relation, r cdc.Range, emit func(*cdc.Batch) error) error {
	var from int64
	if _, err := fmt.Sscan(r.ID, &from); err != nil {
		return fmt.Errorf("reading the range %q: %w", r.ID, err)
	}
	to := min(from+r.Rows, m.s.rows)
	for from < to {
		ids := make([]int64, 0, 8192)
		for ; from < to && len(ids) < cap(ids); from++ {
			ids = append(ids, from+1)
		}
		if err := emit(m.s.batch(ids, 0)); err != nil {
			return err
		}
	}
	return nil
}
