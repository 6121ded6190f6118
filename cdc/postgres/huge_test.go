package postgres

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

// TestEdge56HugeValuesAreNotCopiedAbout decodes a huge value of each form. It
// is stored once, without another copy that might still be garbage; a list of
// many elements, which grows as they come, in four times its size at most.
func TestEdge56HugeValuesAreNotCopiedAbout(t *testing.T) {
	if testing.Short() {
		t.Skip("left out: -short decodes no huge values")
	}
	size := 300 << 20
	if os.Getenv("LAKELOAD_LONG") == "" {
		size = 100 << 20
	}
	ints := arrayInfo(builtin(oidInt4))
	texts := arrayInfo(builtin(oidText))
	arr := bytes.Repeat([]byte(",123456789"), size/10)
	arr[0] = '{'
	for _, c := range []struct {
		name   string
		info   typeInfo
		form   byte
		value  func() []byte
		stored int
	}{
		{"bytea, binary", *builtin(oidBytea), valueBinary, func() []byte { return bytes.Repeat([]byte{0xff}, size) }, size},
		{"bytea, text", *builtin(oidBytea), valueText, func() []byte { return append([]byte(`\x`), bytes.Repeat([]byte("f"), size)...) }, size / 2},
		{"text, binary", *builtin(oidText), valueBinary, func() []byte { return bytes.Repeat([]byte("x"), size) }, size},
		{"text, text", *builtin(oidText), valueText, func() []byte { return bytes.Repeat([]byte("x"), size) }, size},
		{"jsonb, binary", *builtin(oidJSONB), valueBinary, func() []byte { return append([]byte{1}, bytes.Repeat([]byte("x"), size)...) }, size},
		{"int4[], text", ints, valueText, func() []byte { return append(arr, '}') }, size / 10 * 4},
		{"text[] of one, text", texts, valueText, func() []byte { return append(append([]byte("{"), bytes.Repeat([]byte("x"), size)...), '}') }, size},
	} {
		t.Run(c.name, func(t *testing.T) {
			typ := resolveType(c.info.OID, -1, c.info)
			v := c.value()
			mem := &totalAllocator{}
			b := newBatchBuilder(&cdc.Relation{Columns: []cdc.Column{{Name: "v", Type: typ.arrowType()}}}, []columnType{typ}, mem)
			debug.FreeOSMemory()
			resetPeak(t)
			before := residentPeak(t)
			b.beginTxn(cdc.Txn{})
			if c.form == valueText {
				require.NoError(t, b.appendText(0, v))
			} else {
				require.NoError(t, b.appendBinary(0, v))
			}
			b.endRow(cdc.OpInsert, 0)
			batch := b.finish()
			peak := residentPeak(t) - before
			t.Logf("a message of %d MiB, stored in %d MiB: allocated %d MiB, resident %d MiB more at most", len(v)>>20, c.stored>>20, mem.total>>20, peak>>20)
			require.Empty(t, batch.Exact)
			most := c.stored + 16<<20
			if c.info.OID == ints.OID && c.info.Elem.OID == oidInt4 { // it grows with its elements, by a quarter or to twice as much
				most = 4 * c.stored
			}
			require.LessOrEqual(t, mem.total, int64(most), "what was allocated, garbage included")
			batch.Release()
		})
	}
}

// totalAllocator counts all that was ever asked for.
type totalAllocator struct {
	memory.GoAllocator
	total int64
}

func (a *totalAllocator) Allocate(n int) []byte {
	a.total += int64(n)
	return a.GoAllocator.Allocate(n)
}

func (a *totalAllocator) Reallocate(n int, b []byte) []byte {
	if n > cap(b) {
		a.total += int64(n)
	}
	return a.GoAllocator.Reallocate(n, b)
}

// residentPeak is the most that was resident since resetPeak; 0 where the
// system does not tell.
func residentPeak(t *testing.T) int64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer func() { require.NoError(t, f.Close()) }()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			require.NoError(t, err)
			return n << 10
		}
	}
	return 0
}

func resetPeak(*testing.T) {
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o600) // only Linux has it
}

// TestEdge56HugeValuesOfAServer copies and streams huge values, in both
// formats, and compares them with the server's own checksums.
func TestEdge56HugeValuesOfAServer(t *testing.T) {
	d := newDatabase(t)
	megabytes := 20
	if os.Getenv("LAKELOAD_LONG") != "" {
		megabytes = 300
	}
	d.exec("CREATE TABLE t (id int PRIMARY KEY, b bytea, v text, a text[])")
	for i, col := range []string{"b", "v", "a"} {
		value := fmt.Sprintf("repeat('0123456789abcdef', %d)", megabytes<<16)
		value = map[string]string{"b": "convert_to(" + value + ", 'UTF8')", "v": value, "a": "ARRAY[" + value + ", NULL]"}[col]
		d.exec(fmt.Sprintf("INSERT INTO t (id, %s) VALUES (%d, %s)", col, i, value))
	}
	want := map[string]bool{}
	for _, r := range d.exec("SELECT md5(coalesce(b, convert_to(coalesce(v, a[1]), 'UTF8'))) FROM t") {
		want[r.str(0)] = true
	}
	sums := func(b *cdc.Batch) {
		for i := range b.Len() {
			for col := 1; col < 4; col++ {
				if b.Rows.Column(col).IsNull(i) {
					continue
				}
				a := b.Rows.Column(col)
				if list, ok := a.(*array.List); ok {
					a = array.NewSlice(list.ListValues(), 0, 1)
					defer a.Release()
				}
				data := a.Data().Buffers()[2].Bytes()
				require.Len(t, data, megabytes<<20)
				require.True(t, want[fmt.Sprintf("%x", md5.Sum(data))])
			}
		}
	}
	s := d.open()
	stream := begin2(t, s)
	point := stream.Progress()
	require.NoError(t, stream.Close())
	measure := func(what string, f func()) {
		debug.FreeOSMemory()
		resetPeak(t)
		before := residentPeak(t)
		f()
		t.Logf("%s: values of %d MiB, resident %d MiB more at most", what, megabytes, (residentPeak(t)-before)>>20)
	}
	measure("copied", func() {
		snap, err := s.Snapshot(testContext(t))
		require.NoError(t, err)
		defer func() { require.NoError(t, snap.Close()) }()
		n := 0
		copyTable(t, snap, table(t, s, "public.t"), func(b *cdc.Batch) { n += b.Len(); sums(b) })
		require.Equal(t, 3, n)
	})
	for i, col := range []string{"b = b || ''", "v = v || ''", "a = a || ARRAY[NULL]"} {
		d.exec(fmt.Sprintf("UPDATE t SET id = %d, %s WHERE id = %d", i+10, col, i))
	}
	for _, format := range []string{"binary", "text"} {
		s.textOnly.Store(format == "text")
		measure("streamed as "+format, func() {
			stream, err := s.Stream(testContext(t), point)
			require.NoError(t, err)
			defer func() { require.NoError(t, stream.Close()) }()
			for n := 0; n < 6; { // an old key and a new row each
				c, err := stream.Next(testContext(t))
				require.NoError(t, err)
				for _, it := range c.Items {
					n += it.Batch.Len()
					sums(it.Batch)
				}
				c.Release()
			}
		})
	}
}
