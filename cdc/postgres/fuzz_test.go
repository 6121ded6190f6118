package postgres

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
)

// scripted gives the streams of all scripts, as FuzzStream takes them: those
// that servers have sent, and those of the edge cases.
func scripted(t testing.TB) (streams [][]byte) {
	t.Helper()
	for _, dir := range []string{"recorded", "edges", "decode"} {
		paths, err := filepath.Glob(filepath.Join("testdata", dir, "*"))
		require.NoError(t, err)
		for _, path := range paths {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			for _, part := range strings.Split(string(data), "\n\n") {
				script, _, ok := strings.Cut(strings.ReplaceAll(part, "*2500", "*5"), "\n----") // short ones are tried faster
				if !ok {
					continue
				}
				var stream []byte
				for _, line := range strings.Split(script, "\n") {
					line, _, _ = strings.Cut(line, "#")
					f := strings.Fields(line)
					if len(f) == 0 || f[0] == "stream" {
						continue
					}
					var msg []byte
					switch f[0] {
					case "take":
					case "keepalive":
						msg = binary.BigEndian.AppendUint64([]byte{'k'}, uint64(mustLSN(f[1])))
					default:
						msg = scriptMessage(line)
					}
					stream = binary.BigEndian.AppendUint16(stream, uint16(len(msg)))
					stream = append(stream, msg...)
				}
				streams = append(streams, stream)
			}
		}
	}
	return streams
}

// peakAllocator knows the most that was ever allocated at a time.
type peakAllocator struct {
	*memory.CheckedAllocator
	peak int
}

func (a *peakAllocator) Allocate(n int) []byte {
	b := a.CheckedAllocator.Allocate(n)
	a.peak = max(a.peak, a.CurrentAlloc())
	return b
}

func (a *peakAllocator) Reallocate(n int, b []byte) []byte {
	b = a.CheckedAllocator.Reallocate(n, b)
	a.peak = max(a.peak, a.CurrentAlloc())
	return b
}

// FuzzStream: no sequence of messages makes the decoder panic or leak, or take
// much more memory than the messages have bytes; and what it makes of those
// that it accepts keeps the contract of chunks. An empty message hands over
// what there is; one of kind k is a keepalive.
func FuzzStream(f *testing.F) {
	for _, s := range scripted(f) {
		f.Add(s, true)
		f.Add(s, false)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, stream []byte, streaming bool) {
		mem := &peakAllocator{CheckedAllocator: memory.NewCheckedAllocator(memory.NewGoAllocator())}
		defer mem.AssertSize(t, 0)
		store, err := newSpoolStore(dir, 0, &spoolCounters{})
		require.NoError(t, err)
		defer store.close()
		d := newDecoder(0x100, &testCatalog{}, false, mem)
		if streaming {
			d.newSpool = store.begin
		}
		defer d.discard()
		var cut cdc.LSN
		take := func() {
			c := d.take()
			defer c.Release()
			_, err := cdctest.Events(c)
			require.NoError(t, err)
			require.GreaterOrEqual(t, c.Cut, cut)
			cut = c.Cut
		}
		defer func() {
			require.LessOrEqual(t, mem.peak, 64<<10+400*len(stream))
			require.LessOrEqual(t, store.memory, int64(64<<10+4*len(stream)))
		}()
		for rest := stream; len(rest) >= 2; {
			n := min(int(binary.BigEndian.Uint16(rest)), len(rest)-2)
			msg := rest[2 : 2+n]
			rest = rest[2+n:]
			switch {
			case n == 0:
				take()
			case n == 9 && msg[0] == 'k':
				d.keepalive(cdc.LSN(binary.BigEndian.Uint64(msg[1:])))
			default:
				if say(t.Context(), d, msg) != nil {
					return
				}
			}
		}
		take()
	})
}
