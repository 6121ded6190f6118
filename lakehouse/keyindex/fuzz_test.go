package keyindex

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// What decodes is encoded to something that decodes to the same; nothing
// panics, and nothing is allocated that the input does not pay for.

func FuzzRecord(f *testing.F) {
	var e [entryBytes]byte
	putSlot(e[:], &slot{1, 2, 3, 4})
	for _, r := range []record{
		{},
		{entries: e[:]},
		{end: true, stamp: Stamp{"t", -5, "c"}, lastID: 9, files: fileEdits{added: []fileName{{9, "p"}}, gone: []FileID{1}}, entries: e[:]},
	} {
		f.Add(r.appendTo(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord(b)
		if err != nil {
			return
		}
		again, err := decodeRecord(r.appendTo(nil))
		require.NoError(t, err)
		require.Equal(t, r.appendTo(nil), again.appendTo(nil))
		_ = newFileTable().restore(r.files)
	})
}

func FuzzLog(f *testing.F) {
	b, sum := logHeader(7)
	for _, r := range []record{{entries: make([]byte, entryBytes)}, {end: true, stamp: Stamp{Table: "t"}}} {
		framed, next := frame(r.appendTo(make([]byte, 4)), sum)
		b, sum = append(b, framed...), next
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		s := logScanner{r: bytes.NewReader(b), left: int64(len(b))}
		if s.header(7) != nil {
			return
		}
		for {
			_, err := s.next()
			require.LessOrEqual(t, s.at, int64(len(b)))
			if err != nil {
				require.True(t, errors.Is(err, io.EOF) || errors.Is(err, errTorn))
				return
			}
		}
	})
}

func FuzzManifest(f *testing.F) {
	m := &manifest{
		parts: 2, next: 4, lastID: 1, stamp: Stamp{"t", 1, "c"}, files: logMeta{1, 2, 3, 4},
		journals: []logMeta{{1, 2, 3, 4}}, runs: []runMeta{{1, 2, 3, 4}}, segments: [][]int{{0}, nil},
	}
	b := m.encode()
	f.Add(b[:len(b)-8])
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := decodeManifest(b)
		require.Error(t, err, "no input has a checksum by chance")
		m, err := decodeManifestBody(b)
		if err != nil {
			return
		}
		again, err := decodeManifest(m.encode())
		require.NoError(t, err)
		require.Equal(t, m, again)
	})
}

func FuzzSections(f *testing.F) {
	s := section{part: 1, first: 1, n: 3, gone: 1, fences: []uint64{5}, filter: make(filter, filterWords)}
	f.Add(s.appendTo(nil), uint32(2))
	f.Fuzz(func(t *testing.T, b []byte, blocks uint32) {
		secs, err := decodeSections(b, blocks)
		if err != nil {
			return
		}
		var again []byte
		for _, s := range secs {
			again = s.appendTo(again)
			s.upper(77, 3)
		}
		require.True(t, bytes.Equal(b, again))
	})
}

func FuzzBlock(f *testing.F) {
	b := make([]byte, blockBytes)
	slots := []slot{{1, 2, 0, goneRow}, {1, 3, 9, 70_000}, {1 << 50, 0, 4, 5}}
	d := spreadOf(&slots[0])
	for i := range slots {
		d = d.with(&slots[i])
	}
	encodeBlock(b, slots, &d)
	f.Add(b, uint64(1), uint64(3))
	f.Fuzz(func(t *testing.T, b []byte, hi, lo uint64) {
		if len(b) != blockBytes {
			return
		}
		if k, ok := readBlock(b); ok {
			require.Len(t, k.appendTo(nil), k.n)
			k.search(hi, lo)
		}
	})
}
