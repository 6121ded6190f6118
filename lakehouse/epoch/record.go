package epoch

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/cdc"
)

// record is a row of the epoch table: an epoch, or a mere position (Number is
// then that of the epoch before) that lets an idle slot advance.
type record struct {
	Epoch
	seq  int64 // of the row, from 1
	idle bool
	full bool
	// since is the seq of the first epoch from which on positions have not gone
	// back; 0 where that is not known, as in records of older programs.
	since int64
}

// asOf is when an epoch's state was the source's. One from before the first
// commit has the time at which it was recorded.
func (e *Epoch) asOf() time.Time {
	if e.CommitTime.IsZero() {
		return e.Recorded
	}
	return e.CommitTime
}

var arrowSchema = arrow.NewSchema([]arrow.Field{
	{Name: "seq", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	{Name: "epoch", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	{Name: "idle", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
	{Name: "full", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
	{Name: "lsn", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "timeline", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	{Name: "commit_time", Type: arrow.FixedWidthTypes.Timestamp_us, Nullable: true},
	{Name: "tables", Type: arrow.BinaryTypes.String, Nullable: true},     // JSON: table -> version
	{Name: "incomplete", Type: arrow.BinaryTypes.String, Nullable: true}, // JSON: list
	{Name: "recorded", Type: arrow.FixedWidthTypes.Timestamp_us, Nullable: true},
	// Records of older programs do not have what follows.
	{Name: "position", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, // lsn as a number; null where idle
	{Name: "since", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
}, nil)

// keyColumns tell what is searched for, without the tables.
var keyColumns = []string{"seq", "epoch", "idle", "lsn", "commit_time", "recorded"}

func (r *record) arrow() arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrowSchema)
	defer b.Release()
	r.append(b)
	return b.NewRecordBatch()
}

func (r *record) append(b *array.RecordBuilder) {
	tables, _ := json.Marshal(r.Tables) // a map of numbers always encodes
	incomplete, _ := json.Marshal(r.Incomplete)
	b.Field(0).(*array.Int64Builder).Append(r.seq)
	b.Field(1).(*array.Int64Builder).Append(r.Number)
	b.Field(2).(*array.BooleanBuilder).Append(r.idle)
	b.Field(3).(*array.BooleanBuilder).Append(r.full)
	b.Field(4).(*array.StringBuilder).Append(r.LSN.String())
	b.Field(5).(*array.Int64Builder).Append(int64(r.Timeline))
	appendTime(b.Field(6).(*array.TimestampBuilder), r.CommitTime)
	b.Field(7).(*array.StringBuilder).Append(string(tables))
	b.Field(8).(*array.StringBuilder).Append(string(incomplete))
	appendTime(b.Field(9).(*array.TimestampBuilder), r.Recorded)
	appendKnown(b.Field(10).(*array.Int64Builder), int64(r.LSN), !r.idle)
	appendKnown(b.Field(11).(*array.Int64Builder), r.since, r.since > 0)
}

func appendTime(b *array.TimestampBuilder, t time.Time) {
	if t.IsZero() {
		b.AppendNull()
		return
	}
	b.Append(arrow.Timestamp(t.UnixMicro()))
}

func appendKnown(b *array.Int64Builder, v int64, known bool) {
	if !known {
		b.AppendNull()
		return
	}
	b.Append(v)
}

// fromArrow gives row i of a batch; what stands in columns that the batch does
// not have stays zero.
func fromArrow(rec arrow.RecordBatch, i int) (r record, err error) {
	for c, f := range rec.Schema().Fields() {
		if rec.Column(c).IsNull(i) {
			continue
		}
		switch col := rec.Column(c).(type) {
		case *array.Int64:
			r.setNumber(f.Name, col.Value(i))
		case *array.Boolean:
			r.idle = r.idle || f.Name == "idle" && col.Value(i)
			r.full = r.full || f.Name == "full" && col.Value(i)
		case *array.Timestamp:
			at := time.UnixMicro(int64(col.Value(i))).UTC()
			switch f.Name {
			case "commit_time":
				r.CommitTime = at
			case "recorded":
				r.Recorded = at
			}
		case *array.String:
			if err := r.setText(f.Name, col.Value(i)); err != nil {
				return r, fmt.Errorf("record %d: its column %s: %w", r.seq, f.Name, err)
			}
		}
	}
	return r, nil
}

func (r *record) setNumber(column string, v int64) {
	switch column {
	case "seq":
		r.seq = v
	case "epoch":
		r.Number = v
	case "timeline":
		r.Timeline = uint32(v)
	case "since":
		r.since = v
	}
}

func (r *record) setText(column, v string) (err error) {
	switch column {
	case "lsn":
		r.LSN, err = cdc.ParseLSN(v)
	case "tables":
		err = json.Unmarshal([]byte(v), &r.Tables)
	case "incomplete":
		err = json.Unmarshal([]byte(v), &r.Incomplete)
	}
	return err
}
