package colfile

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/parquet-go/parquet-go/format"
	"github.com/stretchr/testify/require"
)

// seeds are whole files, small enough that damage hits something.
func seeds(t testing.TB) [][]byte {
	var out [][]byte
	files, err := filepath.Glob("testdata/*.parquet")
	require.NoError(t, err)
	for _, name := range files {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		out = append(out, b)
	}
	rec := fixtureBatch()
	for _, o := range []WriterOptions{{Codec: Uncompressed}, {RowGroupRows: 90}} {
		var buf bytes.Buffer
		w, err := NewWriter(&buf, rec.Schema(), o)
		require.NoError(t, err)
		require.NoError(t, w.Write(rec))
		_, err = w.Close()
		require.NoError(t, err)
		out = append(out, buf.Bytes())
	}
	return out
}

// maxDamageAlloc is what reading a damaged file of some 40 KiB may allocate
// in all, batches that are given back included.
const maxDamageAlloc = 512 << 20

var errEnough = errors.New("enough rows")

// readDamaged reads b as far as it goes. It must not panic, not even inside
// of OpenFile or Read, which would hide it in an ErrCorrupt; nor say that
// something is wrong without saying what kind.
func readDamaged(t testing.TB, b []byte) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f, err := OpenFile(bytes.NewReader(b), int64(len(b)))
	if err == nil {
		rows := int64(0)
		err = f.Read(context.Background(), ReadOptions{}, func(rec arrow.RecordBatch, _ int64) error {
			if rows += rec.NumRows(); rows > 100_000 {
				return errEnough
			}
			for _, c := range rec.Columns() {
				_ = c.ValueStr(int(rec.NumRows()) - 1)
			}
			return nil
		})
	}
	runtime.ReadMemStats(&after)
	if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) && !errors.Is(err, errEnough) {
		t.Fatalf("an error of no kind: %v", err)
	}
	if err != nil && strings.Contains(err.Error(), "panic:") {
		t.Fatalf("a panic: %v", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > maxDamageAlloc {
		t.Fatalf("%d bytes allocated for a file of %d: %v", n, len(b), err)
	}
}

// damage changes a few bytes.
func damage(r *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	for range 1 + r.IntN(4) {
		switch at := r.IntN(len(b)); r.IntN(4) {
		case 0:
			b[at] ^= 1 << r.IntN(8)
		case 1:
			b[at] = byte(r.Uint32())
		case 2: // in the footer, where structure is
			at = len(b) - 1 - r.IntN(min(len(b), 2000))
			b[at] = byte(r.Uint32())
		case 3:
			n := min(r.IntN(16), len(b)-at)
			copy(b[at:at+n], b[r.IntN(len(b)-n+1):])
		}
	}
	return b
}

// TestDamagedFiles reads files with flipped and moved bytes.
func TestDamagedFiles(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, b := range seeds(t) {
		for range 300 {
			readDamaged(t, damage(r, b))
		}
		for range 20 { // cut short, and cut with the end put back
			n := r.IntN(len(b))
			readDamaged(t, b[:n])
			readDamaged(t, append(bytes.Clone(b[:n]), b[len(b)-8:]...))
		}
	}
	readDamaged(t, nil)
	readDamaged(t, []byte("PAR1PAR1"))
	readDamaged(t, []byte("PAR1\x00\x00\x00\x00PAR1"))
	readDamaged(t, []byte("PAR1\xff\xff\xff\xffPAR1"))
}

// TestPageChecksum flips a bit of a page that decodes either way.
func TestPageChecksum(t *testing.T) {
	b := seeds(t)[12] // ours, uncompressed
	at := bytes.Index(b, []byte("text 4"))
	require.Positive(t, at)
	b[at+5] = '5'
	f, err := OpenFile(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	err = f.Read(context.Background(), ReadOptions{}, func(arrow.RecordBatch, int64) error { return nil })
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, "checksum")
}

// FuzzRead damages whole files; FuzzPage below gets at the decoders behind
// the checksums.
func FuzzRead(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { readDamaged(t, b) })
}

// FuzzPage gives the decoders a page's bytes for every type and encoding.
func FuzzPage(f *testing.F) {
	f.Add(uint8(0), uint8(5), uint8(1), uint16(100), []byte{128, 1, 4, 3, 2, 0, 0, 0, 0})
	f.Add(uint8(2), uint8(8), uint8(0), uint16(8), []byte{3, 3, 0x88, 0xc6, 0xfa})
	f.Add(uint8(6), uint8(7), uint8(0), uint16(2), []byte{128, 1, 4, 2, 0, 2, 0, 0, 0, 0, 128, 1, 4, 2, 2, 2, 0, 0, 0, 0, 'a', 'b'})
	f.Fuzz(func(t *testing.T, phys, enc, levels uint8, values uint16, page []byte) {
		fuzzPage(t, phys, enc, levels, values, page)
	})
}

func fuzzPage(t *testing.T, phys, enc, levels uint8, values uint16, page []byte) {
	l := &readLeaf{phys: physical(phys) % (physInt96 + 1), maxDef: levels & 3, maxRep: levels >> 2 & 1, path: "x"}
	if l.phys == physFixed {
		l.width = 5
	}
	if l.maxRep > 0 && l.maxDef == 0 {
		l.maxDef = 1
	}
	raw := appendPageHeader(nil, format.DataPage, len(page), len(page), crc32.ChecksumIEEE(page), int(values), format.Encoding(enc%10))
	dict := bytes.Repeat([]byte{2, 0, 0, 0, 'a', 'b'}, 10)
	raw = append(append(appendPageHeader(nil, format.DictionaryPage, len(dict), len(dict), crc32.ChecksumIEEE(dict), 5, format.Plain), dict...), raw...)
	raw = append(raw, page...)
	file := &File{r: bytes.NewReader(raw), size: int64(len(raw))}
	r := &leafReader{leaf: l}
	r.start(file, &format.ColumnMetaData{TotalCompressedSize: int64(len(raw))}, 100)
	for range 70 {
		if err := r.read(1 + int(values)/64); err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) {
				t.Fatal(err)
			}
			return
		}
		if r.out.bytes() > 16<<20 {
			r.reset(true)
		}
	}
}
