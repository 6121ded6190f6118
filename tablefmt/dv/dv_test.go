package dv

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The examples that the protocol's text gives.

func TestProtocolRelativePath(t *testing.T) {
	var d Descriptor
	require.NoError(t, json.Unmarshal([]byte(`{"storageType":"u","pathOrInlineDv":"ab^-aqEH.-t@S}K{vb[*k^","offset":4,"sizeInBytes":40,"cardinality":6}`), &d))
	require.NoError(t, d.Validate())
	path, absolute, err := d.Path()
	require.NoError(t, err)
	require.False(t, absolute)
	require.Equal(t, "ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin", path)
	require.Equal(t, "uab^-aqEH.-t@S}K{vb[*k^@4", d.UniqueID())
	require.EqualValues(t, 4, d.Position())

	path, text, err := NewFile("ab", uuid.MustParse("d2c639aa-8816-431a-aaf6-d3fe2512ff61"))
	require.NoError(t, err)
	require.Equal(t, "ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin", path)
	require.Equal(t, "ab^-aqEH.-t@S}K{vb[*k^", text)
}

func TestProtocolAbsolutePath(t *testing.T) {
	var d Descriptor
	require.NoError(t, json.Unmarshal([]byte(`{"storageType":"p","pathOrInlineDv":"s3://mytable/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin","offset":4,"sizeInBytes":40,"cardinality":6}`), &d))
	require.NoError(t, d.Validate())
	path, absolute, err := d.Path()
	require.NoError(t, err)
	require.True(t, absolute)
	require.Equal(t, "s3://mytable/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin", path)
}

func TestProtocolInline(t *testing.T) {
	var d Descriptor
	const text = `{"storageType":"i","pathOrInlineDv":"wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L","sizeInBytes":40,"cardinality":6}`
	require.NoError(t, json.Unmarshal([]byte(text), &d))
	require.NoError(t, d.Validate())
	require.Equal(t, "iwi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L", d.UniqueID())
	b, err := d.DecodeInline()
	require.NoError(t, err)
	require.Equal(t, []uint64{3, 4, 7, 11, 18, 29}, slices.Collect(b.All()))
	again, err := json.Marshal(d)
	require.NoError(t, err)
	require.JSONEq(t, text, string(again))

	// The text's example is in a format that it does not describe. This is
	// the same set in the one that it does, as other implementations have it
	// in their tests.
	d = Descriptor{
		StorageType: Inlined, SizeInBytes: 44, Cardinality: 6,
		PathOrInlineDV: "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L",
	}
	b, err = d.DecodeInline()
	require.NoError(t, err)
	require.Equal(t, []uint64{3, 4, 7, 11, 18, 29}, slices.Collect(b.All()))
	require.Equal(t, d, Inline(b))
}

func TestZ85(t *testing.T) {
	// The example of the Z85 specification.
	hello := []byte{0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B}
	require.Equal(t, "HelloWorld", z85Encode(hello))
	got, err := z85Decode("HelloWorld")
	require.NoError(t, err)
	require.Equal(t, hello, got)
	for text, want := range map[string]string{
		"Hell":       "comes in fives",
		"Hell\x00":   "not of Z85",
		"Hell~":      "not of Z85",
		"#####":      "more than 32 bits",
		"%nSc1":      "more than 32 bits", // 2^32
		"ééx":        "not of Z85",
		"HelloWorl'": "not of Z85",
	} {
		_, err := z85Decode(text)
		require.ErrorContains(t, err, want, text)
	}
	got, err = z85Decode("%nSc0") // 2^32-1
	require.NoError(t, err)
	require.Equal(t, []byte{255, 255, 255, 255}, got)
}

// TestAgainstModel draws operations and compares with a map of rows.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOfN(rapid.OneOf(
			rapid.Uint64Range(0, 300),
			rapid.Uint64Range(65000, 66000),
			rapid.Uint64Range(1<<32-3, 1<<32+3),
			rapid.Uint64Range(MaxRow-100, MaxRow)), 0, 200)
		model := map[uint64]bool{}
		b := new(Bitmap)
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			drawn := rows.Draw(t, "rows")
			switch rapid.IntRange(0, 4).Draw(t, "op") {
			case 0:
				for _, r := range drawn {
					require.Equal(t, !model[r], b.Add(r))
					model[r] = true
				}
			case 1:
				b.AddMany(drawn)
				for _, r := range drawn {
					model[r] = true
				}
			case 2:
				o := New(drawn...)
				before := o.Clone()
				b.Or(o)
				b.Add(7) // what was taken over must not be shared
				require.True(t, o.Equal(before))
				model[7] = true
				for _, r := range drawn {
					model[r] = true
				}
			case 3:
				b.AndNot(New(drawn...))
				for _, r := range drawn {
					delete(model, r)
				}
			case 4:
				from := rapid.Uint64Range(1<<32-200, 1<<32+10).Draw(t, "from")
				b.AddRange(from, from+150)
				for r := from; r < from+150; r++ {
					model[r] = true
				}
			}
		}
		want := make([]uint64, 0, len(model))
		for r := range model {
			want = append(want, r)
		}
		slices.Sort(want)
		requireRows(t, want, b)

		data := Encode(b)
		back, err := Decode(data)
		require.NoError(t, err)
		requireRows(t, want, back)
		require.True(t, b.Equal(back))
		require.Equal(t, data, Encode(New(want...)), "equal sets have equal bytes")
	})
}

func requireRows(t require.TestingT, want []uint64, b *Bitmap) {
	got := slices.AppendSeq([]uint64{}, b.All())
	require.Equal(t, want, got)
	require.EqualValues(t, len(want), b.Cardinality())
	require.Equal(t, len(want) == 0, b.IsEmpty())
	last, ok := b.Last()
	require.Equal(t, len(want) > 0, ok)
	if ok {
		require.Equal(t, want[len(want)-1], last)
		lo, hi := len(want)/3, len(want)*2/3
		part := slices.AppendSeq([]uint64{}, b.Rows(want[lo], want[hi]))
		require.Equal(t, want[lo:hi], part)
		require.Equal(t, part, slices.AppendSeq([]uint64{}, b.Rows(want[lo], want[hi])), "twice")
	}
	for _, r := range want {
		require.True(t, b.Contains(r))
		if r > 0 && !slices.Contains(want, r-1) {
			require.False(t, b.Contains(r-1))
		}
	}
	require.False(t, b.Contains(math.MaxUint64))
}

// shapes are sets whose containers are of every kind.
func shapes() map[string]*Bitmap {
	every := new(Bitmap)
	for r := uint64(0); r < 300_000; r += 3 {
		every.Add(r)
	}
	ranges := new(Bitmap)
	for r := uint64(0); r < 1<<20; r += 1000 {
		ranges.AddRange(r, r+500)
	}
	all := new(Bitmap)
	all.AddRange(0, 1<<20)
	return map[string]*Bitmap{
		"empty": new(Bitmap), "one": New(0), "last": New(MaxRow), "arrays": New(1, 5, 70000, 1<<32+9, 5<<32),
		"bitmaps": every, "runs": ranges, "all": all,
	}
}

func TestFile(t *testing.T) {
	var vectors []*Bitmap
	for _, b := range shapes() {
		vectors = append(vectors, b)
	}
	var buf bytes.Buffer
	locs, err := WriteFile(&buf, vectors)
	require.NoError(t, err)
	require.EqualValues(t, 1, buf.Bytes()[0], "the version")
	require.EqualValues(t, 1, locs[0].Offset)
	file := bytes.NewReader(buf.Bytes())
	_, text, err := NewFile("", uuid.New())
	require.NoError(t, err)
	for i, l := range locs {
		d := l.Descriptor(text)
		require.NoError(t, d.Validate())
		b, err := d.Read(file)
		require.NoError(t, err)
		require.True(t, vectors[i].Equal(b))
		if i > 0 {
			require.Equal(t, locs[i-1].Offset+locs[i-1].Size+8, l.Offset)
		}
		d.Cardinality++
		_, err = d.Read(file)
		require.ErrorIs(t, err, ErrCorrupt)

		in := Inline(vectors[i])
		require.NoError(t, in.Validate())
		b, err = in.DecodeInline()
		require.NoError(t, err)
		require.True(t, vectors[i].Equal(b))
		in.Cardinality++
		_, err = in.DecodeInline()
		require.ErrorIs(t, err, ErrCorrupt)
	}
	first := locs[0].Descriptor(text)
	first.Offset = nil
	b, err := first.Read(file)
	require.NoError(t, err, "without an offset it is the first")
	require.True(t, vectors[0].Equal(b))
}

// TestBytes writes down the frame, byte by byte: rows 0 and 9.
func TestBytes(t *testing.T) {
	var buf bytes.Buffer
	_, err := WriteFile(&buf, []*Bitmap{New(0, 9)})
	require.NoError(t, err)
	require.Equal(t, []byte{
		1,           // version
		0, 0, 0, 36, // size, big endian
		0xd1, 0xd3, 0x39, 0x64, // magic, little endian
		1, 0, 0, 0, 0, 0, 0, 0, // one bucket
		0, 0, 0, 0, // its key
		0x3a, 0x30, 0, 0, 1, 0, 0, 0, // no runs, one container
		0, 0, 1, 0, // key 0, two values
		16, 0, 0, 0, // its offset
		0, 0, 9, 0,
		0x2a, 0x67, 0x18, 0x46, // CRC-32 of the vector, big endian
	}, buf.Bytes())
}

// TestEveryDamageIsFound flips each bit of a small file, and cuts it at each
// place.
func TestEveryDamageIsFound(t *testing.T) {
	var buf bytes.Buffer
	locs, err := WriteFile(&buf, []*Bitmap{New(3, 4, 7, 1<<40)})
	require.NoError(t, err)
	whole := buf.Bytes()
	for i := 1; i < len(whole); i++ { // the version is not read here
		for bit := range 8 {
			bad := slices.Clone(whole)
			bad[i] ^= 1 << bit
			_, err := ReadAt(bytes.NewReader(bad), int64(locs[0].Offset), locs[0].Size)
			require.ErrorIs(t, err, ErrCorrupt, "bit %d of byte %d", bit, i)
		}
	}
	for n := range len(whole) {
		_, err := ReadAt(bytes.NewReader(whole[:n]), int64(locs[0].Offset), locs[0].Size)
		require.ErrorIs(t, err, ErrCorrupt, "cut at %d", n)
	}
	for _, at := range [][2]int64{{0, 10}, {-1, 10}, {1, -1}, {math.MaxInt64, 10}, {1 << 40, 10}, {1, math.MaxInt32}} {
		_, err := ReadAt(bytes.NewReader(whole), at[0], int32(at[1]))
		require.ErrorIs(t, err, ErrCorrupt, at)
	}
}

// TestHostile gives bytes whose checksum would be right.
func TestHostile(t *testing.T) {
	cat := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	head := []byte{0xd1, 0xd3, 0x39, 0x64, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} // one bucket with key 0
	array := func(values ...byte) []byte {
		return cat([]byte{0x3a, 0x30, 0, 0, 1, 0, 0, 0, 0, 0, byte(len(values) - 1), 0, 16, 0, 0, 0}, spread(values))
	}
	runs := func(values byte, pairs ...byte) []byte {
		return cat([]byte{0x3b, 0x30, 0, 0, 1, 0, 0, values - 1, 0, byte(len(pairs) / 2), 0}, spread(pairs))
	}
	ok, err := Decode(cat(head, array(1, 2)))
	require.NoError(t, err)
	require.Equal(t, []uint64{1, 2}, slices.Collect(ok.All()))
	ok, err = Decode(cat(head, runs(5, 1, 2, 9, 1)))
	require.NoError(t, err)
	require.Equal(t, []uint64{1, 2, 3, 9, 10}, slices.Collect(ok.All()))
	empty, err := Decode(cat(head, []byte{0x3a, 0x30, 0, 0, 0, 0, 0, 0}))
	require.NoError(t, err, "an empty bucket")
	require.True(t, empty.IsEmpty())

	native, err := Decode(cat([]byte{0xd0, 0xd3, 0x39, 0x64, 2, 0, 0, 0, 8, 0, 0, 0, 0x3a, 0x30, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0}, array(1, 2)))
	require.NoError(t, err, "native, little endian, the first bucket empty")
	require.Equal(t, []uint64{1<<32 + 1, 1<<32 + 2}, slices.Collect(native.All()))

	for name, data := range map[string][]byte{
		"nothing":              {},
		"another magic":        cat([]byte{1, 2, 3, 4}, make([]byte, 8)),
		"native, cut":          cat([]byte{0xd0, 0xd3, 0x39, 0x64}, []byte{1, 0, 0, 0, 0, 1}),
		"native, too long":     cat([]byte{0xd0, 0xd3, 0x39, 0x64}, []byte{1, 0, 0, 0, 21, 0, 0, 0}, array(1, 2), []byte{0}),
		"native, 2^32 buckets": cat([]byte{0xd0, 0xd3, 0x39, 0x64}, bytes.Repeat([]byte{255}, 40)),
		"big endian magic":     cat([]byte{0x64, 0x39, 0xd3, 0xd1}, make([]byte, 8)),
		"2^64-1 buckets":       cat(head[:4], bytes.Repeat([]byte{255}, 8)),
		"key with the top bit": cat(head[:12], []byte{0, 0, 0, 0x80}, array(1)),
		"a key twice":          cat(head[:4], []byte{2, 0, 0, 0, 0, 0, 0, 0}, head[12:16], array(1), head[12:16], array(2)),
		"trailing bytes":       cat(head, array(1), []byte{0}),
		"65537 containers":     cat(head, []byte{0x3a, 0x30, 0, 0, 1, 0, 1, 0}),
		"unsorted":             cat(head, array(2, 1)),
		"a value twice":        cat(head, array(1, 1)),
		"runs that overlap":    cat(head, runs(6, 1, 2, 3, 2)),
		"runs that touch":      cat(head, runs(5, 1, 2, 4, 1)),
		"runs backwards":       cat(head, runs(5, 9, 1, 1, 2)),
		"wrong run count":      cat(head, runs(4, 1, 2, 9, 1)),
		"no runs":              cat(head, runs(1)),
		"run over the end":     cat(head, []byte{0x3b, 0x30, 0, 0, 1, 0, 0, 4, 0, 1, 0, 0xff, 0xff, 4, 0}),
		"wrong bit count":      cat(head, []byte{0x3a, 0x30, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x20, 16, 0, 0, 0}, make([]byte, 8192)),
		"a container twice":    cat(head, []byte{0x3a, 0x30, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0, 24, 0, 0, 0, 26, 0, 0, 0, 1, 0, 2, 0}),
		"no cookie":            cat(head, make([]byte, 100)),
	} {
		_, err := Decode(data)
		require.ErrorIs(t, err, ErrCorrupt, name)
	}
}

// spread makes two-byte numbers of bytes.
func spread(values []byte) []byte {
	var out []byte
	for _, v := range values {
		out = append(out, v, 0)
	}
	return out
}

func TestPathsStayInTheTable(t *testing.T) {
	const id = "^-aqEH.-t@S}K{vb[*k^"
	for _, prefix := range []string{"..", ".", "../x", "/", "/etc", "a/b", "a/../..", `a\b`, "a\x00", "%2e%2e", "s3:", "a\n", "_delta_log", "\xff"} {
		d := Descriptor{StorageType: Relative, PathOrInlineDV: prefix + id, SizeInBytes: 1}
		_, _, err := d.Path()
		require.Error(t, err, prefix)
		require.Error(t, d.Validate(), prefix)
		_, _, err = NewFile(prefix, uuid.UUID{})
		require.Error(t, err, prefix)
	}
	for _, prefix := range []string{"", "a", "ab", "part=1", "é"} {
		path, _, err := Descriptor{StorageType: Relative, PathOrInlineDV: prefix + id}.Path()
		require.NoError(t, err, prefix)
		require.True(t, strings.HasSuffix(path, ".bin"))
	}
}

func TestDescriptorsRefused(t *testing.T) {
	minus, one := int32(-1), int32(1)
	for name, d := range map[string]Descriptor{
		"zero":                 {},
		"unknown type":         {StorageType: "x", PathOrInlineDV: "abc"},
		"short":                {StorageType: Relative, PathOrInlineDV: "abc"},
		"no UUID":              {StorageType: Relative, PathOrInlineDV: strings.Repeat("~", 20)},
		"no path":              {StorageType: Stored},
		"inline with offset":   {StorageType: Inlined, Offset: &one},
		"negative offset":      {StorageType: Stored, PathOrInlineDV: "/x", Offset: &minus},
		"negative size":        {StorageType: Stored, PathOrInlineDV: "/x", SizeInBytes: -1},
		"negative cardinality": {StorageType: Stored, PathOrInlineDV: "/x", Cardinality: -1},
	} {
		require.Error(t, d.Validate(), name)
	}
	_, _, err := Inline(New(1)).Path()
	require.Error(t, err)
	in := Inline(New(1))
	for _, size := range []int32{-1, 0, in.SizeInBytes - 4, in.SizeInBytes + 4, math.MaxInt32} {
		bad := in
		bad.SizeInBytes = size
		_, err := bad.DecodeInline()
		require.ErrorIs(t, err, ErrCorrupt, size)
	}
	_, err = Descriptor{StorageType: Relative}.DecodeInline()
	require.Error(t, err)
}

type failing struct{ err error }

func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }
func (f failing) Write([]byte) (int, error)         { return 0, f.err }

// TestForeignErrors: an error of the store is not damage.
func TestForeignErrors(t *testing.T) {
	broken := errors.New("the line is dead")
	_, err := ReadAt(failing{broken}, 1, 10)
	require.ErrorIs(t, err, broken)
	require.NotErrorIs(t, err, ErrCorrupt)
	_, err = WriteFile(failing{broken}, []*Bitmap{New(1)})
	require.ErrorIs(t, err, broken)
}

// TestMemoryIsBounded: what a header claims is not allocated before it is
// there.
func TestMemoryIsBounded(t *testing.T) {
	var buf bytes.Buffer
	_, err := WriteFile(&buf, []*Bitmap{New(1)})
	require.NoError(t, err)
	file := bytes.NewReader(buf.Bytes())
	claims := append([]byte{0xd1, 0xd3, 0x39, 0x64}, bytes.Repeat([]byte{0xff}, 60)...)
	res := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = ReadAt(file, 1, math.MaxInt32)
			_, _ = Decode(claims)
		}
	})
	require.Less(t, res.AllocedBytesPerOp(), int64(64<<10))
}

func TestConcurrentReads(t *testing.T) {
	b := shapes()["bitmaps"]
	want := Encode(b)
	done := make(chan []byte)
	for range 4 {
		go func() {
			_ = b.Contains(9)
			done <- Encode(b)
		}()
	}
	for range 4 {
		require.True(t, bytes.Equal(want, <-done))
	}
}

func FuzzDecode(f *testing.F) {
	inline, err := z85Decode("wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(inline)
	for _, b := range shapes() {
		if data := Encode(b); len(data) < 4096 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := Decode(data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("not typed: %v", err)
			}
			return
		}
		again, err := Decode(Encode(b))
		if err != nil || !again.Equal(b) || again.Cardinality() != b.Cardinality() {
			t.Fatalf("not the same after a round trip: %v", err)
		}
		n := 0
		for r := range b.All() { // a few bytes of runs may stand for 2^32 rows
			if !b.Contains(r) {
				t.Fatalf("%d is given and not contained", r)
			}
			if n++; n > 100_000 {
				break
			}
		}
	})
}

func FuzzPath(f *testing.F) {
	f.Add("ab^-aqEH.-t@S}K{vb[*k^")
	f.Add("../../^-aqEH.-t@S}K{vb[*k^")
	f.Fuzz(func(t *testing.T, text string) {
		path, absolute, err := Descriptor{StorageType: Relative, PathOrInlineDV: text}.Path()
		if err != nil {
			return
		}
		dir, name, found := strings.Cut(path, "/")
		if !found {
			dir, name = "", path
		}
		if absolute || strings.Contains(name, "/") || dir == ".." || dir == "." || found && dir == "" {
			t.Fatalf("%q leads to %q", text, path)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	set := new(Bitmap)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1_000_000 {
		set.Add(rng.Uint64N(100_000_000))
	}
	data := Encode(set)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}
