package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/integration/testbed"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
	"github.com/lakeload/lakeload/tablefmt/predicate"
)

// scanEnv makes the program be lakeload's side of a scan: the table's folder, what
// is to be found ("rows customers quantities") and the condition, with "|" between
// them.
const scanEnv = "LAKELOAD_BENCH_SCAN"

// scanFileRows is the number of rows of a file of the table.
const scanFileRows = 500_000

var scanSchema = &tablefmt.Schema{Fields: []tablefmt.Field{
	{Name: "id", Type: tablefmt.Long, Nullable: true},
	{Name: "customer", Type: tablefmt.Long, Nullable: true},
	{Name: "status", Type: tablefmt.String, Nullable: true},
	{Name: "amount", Type: tablefmt.Decimal{Precision: 12, Scale: 2}, Nullable: true},
	{Name: "quantity", Type: tablefmt.Integer, Nullable: true},
	{Name: "weight", Type: tablefmt.Double, Nullable: true},
	{Name: "paid", Type: tablefmt.Boolean, Nullable: true},
	{Name: "created", Type: tablefmt.Timestamp, Nullable: true},
	{Name: "day", Type: tablefmt.Date, Nullable: true},
	{Name: "note", Type: tablefmt.String, Nullable: true},
}}

// found is what a scan comes to: rows, and the sums of the two columns read.
type found struct{ rows, customers, quantities int64 }

func (f found) String() string { return fmt.Sprint(f.rows, " ", f.customers, " ", f.quantities) }

// scanCase is a condition, in words that both sides read, and the same in Go.
type scanCase struct {
	what, where string
	holds       func(id, rows int64) bool
}

func scanCustomer(id int64) int64 { return int64(uint64(id) * 0x9E3779B97F4A7C15 >> 32 % 100_000) }

// tableScan measures reading two of ten columns of a table that we wrote: all
// rows, a hundredth of them that lies together, and one in a hundred thousand that
// lies anywhere; against DuckDB's delta_scan. Opening the table is part of it.
func tableScan(ctx context.Context, b *bench) ([]pair, error) {
	if err := testbed.Venv(); err != nil {
		return nil, err
	}
	rows := int64(5_000_000 * b.scale)
	cases := []scanCase{
		{"all rows", "", func(int64, int64) bool { return true }},
		{"a hundredth of the rows, together", fmt.Sprintf("id >= %d AND id < %d", rows/2, rows/2+rows/100), func(id, rows int64) bool { return id >= rows/2 && id < rows/2+rows/100 }},
		{"one customer of 100,000, anywhere", "customer = 4711", func(id, _ int64) bool { return scanCustomer(id) == 4711 }},
	}
	dir := filepath.Join(b.dir, "scan")
	want, err := makeScanned(ctx, dir, rows, cases)
	if err != nil {
		return nil, err
	}
	for i, c := range cases {
		var list []pair
		for range b.rounds {
			var p pair
			if p.ours, err = ourProcess(ctx, fmt.Sprintf("%s=%s|%s|%s", scanEnv, dir, want[i], c.where)); err != nil {
				return nil, err
			}
			if p.peer, err = scanPeer(ctx, dir, want[i].String(), c.where); err != nil {
				return nil, err
			}
			p.ours.rows, p.peer.rows = rows, rows
			list = append(list, p)
		}
		fmt.Printf("  %s, of %d:\n", c.what, rows)
		report(list)
	}
	return nil, nil
}

// makeScanned writes the table, and gives what each case has to find.
func makeScanned(ctx context.Context, dir string, rows int64, cases []scanCase) ([]found, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("making a table: %w", err)
	}
	store, err := objstore.NewLocal(dir)
	if err != nil {
		return nil, err
	}
	loc := tablefmt.Location{Data: store}
	tx := tablefmt.Begin(loc, nil)
	tx.SetProtocol(&tablefmt.Protocol{MinReaderVersion: 1, MinWriterVersion: 2})
	tx.SetMetadata(&tablefmt.Metadata{SchemaString: scanSchema.JSON()})
	s, err := tx.Commit(ctx)
	if err != nil {
		return nil, err
	}
	want := make([]found, len(cases))
	tx = tablefmt.Begin(loc, s)
	for first := int64(0); first < rows; first += scanFileRows {
		a, err := writeScanned(ctx, s, first, min(first+scanFileRows, rows))
		if err != nil {
			return nil, err
		}
		tx.Add(*a)
	}
	for id := range rows {
		for i, c := range cases {
			if c.holds(id, rows) {
				want[i].rows++
				want[i].customers += scanCustomer(id)
				want[i].quantities += id % 100
			}
		}
	}
	_, err = tx.Commit(ctx)
	return want, err
}

func writeScanned(ctx context.Context, s *tablefmt.Snapshot, first, end int64) (*tablefmt.AddFile, error) {
	w, err := s.NewFileWriter(ctx, tablefmt.FileOptions{})
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	statuses := []string{"new", "paid", "packed", "sent", "back"}
	b := array.NewRecordBuilder(memory.DefaultAllocator, s.DataArrow())
	defer b.Release()
	for id := first; id < end; id++ {
		b.Field(0).(*array.Int64Builder).Append(id)
		b.Field(1).(*array.Int64Builder).Append(scanCustomer(id))
		b.Field(2).(*array.StringBuilder).Append(statuses[id%5])
		b.Field(3).(*array.Decimal128Builder).Append(decimal128.FromI64(id % 1_000_000))
		b.Field(4).(*array.Int32Builder).Append(int32(id % 100))
		b.Field(5).(*array.Float64Builder).Append(float64(id) * 0.37)
		b.Field(6).(*array.BooleanBuilder).Append(id%3 == 0)
		b.Field(7).(*array.TimestampBuilder).Append(arrow.Timestamp(1_767_225_600_000_000 + id*1_000_000))
		b.Field(8).(*array.Date32Builder).Append(arrow.Date32(20_454 + id%365))
		b.Field(9).(*array.StringBuilder).Append(fmt.Sprintf("note number %d of the bench", id))
		if b.Field(0).Len() == 16_384 || id == end-1 {
			rec := b.NewRecordBatch()
			_, err := w.Write(rec)
			rec.Release()
			if err != nil {
				return nil, err
			}
		}
	}
	return w.Close()
}

// scanProcess is lakeload's side.
func scanProcess(ctx context.Context, what string) error {
	parts := strings.SplitN(what, "|", 3)
	if len(parts) != 3 {
		return errors.New("which scan is not told")
	}
	o := tablefmt.ScanOptions{Columns: []string{"customer", "quantity"}}
	if parts[2] != "" {
		var err error
		if o.Where, err = predicate.Parse(parts[2]); err != nil {
			return err
		}
	}
	store, err := objstore.NewLocal(parts[0])
	if err != nil {
		return err
	}
	begun, cpu := time.Now(), cpuTime()
	s, err := tablefmt.Load(ctx, tablefmt.Location{Data: store})
	if err != nil {
		return err
	}
	var got found
	err = s.Scan(ctx, o, func(rec arrow.RecordBatch) error {
		got.rows += rec.NumRows()
		for _, v := range rec.Column(0).(*array.Int64).Int64Values() {
			got.customers += v
		}
		for _, v := range rec.Column(1).(*array.Int32).Int32Values() {
			got.quantities += int64(v)
		}
		return nil
	})
	took, spent := time.Since(begun), cpuTime()-cpu
	if err != nil {
		return err
	}
	if got.String() != parts[1] {
		return fmt.Errorf("found %s where %s is right", got, parts[1])
	}
	peak, err := peakKiB()
	if err != nil {
		return err
	}
	fmt.Println(took.Seconds(), spent.Seconds(), peak)
	return nil
}

func scanPeer(ctx context.Context, dir, want, where string) (cost, error) {
	const script = `
import duckdb, glob, importlib.util, resource, sys, time
path, want, where = sys.argv[1], sys.argv[2], sys.argv[3]
ext = importlib.util.find_spec("duckdb_extension_delta").submodule_search_locations[0]
con = duckdb.connect()
con.execute("SET enable_progress_bar = false")
con.execute("LOAD '%s'" % glob.glob(ext + "/extensions/*/delta.duckdb_extension")[0])
def used():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime
begun, cpu = time.monotonic(), used()
query = "SELECT count(*), sum(customer), sum(quantity) FROM delta_scan('" + path + "')" + (" WHERE " + where if where else "")
got = " ".join(str(v) for v in con.execute(query).fetchone())
took, spent = time.monotonic() - begun, used() - cpu
assert got == want, got + " is not " + want
peak = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")][0]
print(took, spent, peak)`
	return peerProcess(ctx, script, dir, want, where)
}
