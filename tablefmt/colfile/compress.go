package colfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// The zstd coders are shared by the whole process: they are stateless between
// calls, keep one working set a CPU, and block further callers until one is
// free, which bounds their memory. They are made on first use.
var (
	zstdEncoders [5]struct {
		once sync.Once
		enc  *zstd.Encoder
		err  error
	}
	zstdDecoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil,
			zstd.WithDecoderConcurrency(runtime.GOMAXPROCS(0)),
			zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(maxPageBytes),
			zstd.WithDecodeAllCapLimit(true))
	})
	gzipWriters, gzipReaders, brotliReaders sync.Pool
)

// zstdWindow is the history of a zstd frame, thus of a page. It is not larger
// than pages usually are, as each working set holds one.
const zstdWindow = 512 << 10

func zstdEncoder(level int) (*zstd.Encoder, error) {
	e := &zstdEncoders[level]
	e.once.Do(func() {
		e.enc, e.err = zstd.NewWriter(nil,
			zstd.WithEncoderLevel(zstd.EncoderLevel(level)),
			zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)),
			zstd.WithWindowSize(zstdWindow),
			zstd.WithEncoderCRC(false), // the page header has one
			zstd.WithLowerEncoderMem(true))
	})
	return e.enc, e.err
}

// compress appends src, compressed, to dst[:0].
func compress(dst, src []byte, codec Codec, level int) ([]byte, error) {
	switch codec {
	case Uncompressed:
		return append(dst[:0], src...), nil
	case Snappy:
		return s2.EncodeSnappy(dst[:cap(dst)], src), nil
	case Gzip:
		return compressGzip(dst, src)
	}
	enc, err := zstdEncoder(level)
	if err != nil {
		return nil, fmt.Errorf("preparing zstd: %w", err)
	}
	return enc.EncodeAll(src, dst[:0]), nil
}

func compressGzip(dst, src []byte) ([]byte, error) {
	out := bytes.NewBuffer(dst[:0])
	w, _ := gzipWriters.Get().(*gzip.Writer)
	if w == nil {
		w = gzip.NewWriter(out)
	} else {
		w.Reset(out)
	}
	defer gzipWriters.Put(w)
	if _, err := w.Write(src); err != nil {
		return nil, fmt.Errorf("compressing with gzip: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compressing with gzip: %w", err)
	}
	return out.Bytes(), nil
}

// maxPageBytes is the size above which a page is taken for damage. Writers
// cut pages at a megabyte or so, and only a single huge value, of at most
// 2 GiB, can make one larger.
const maxPageBytes = 1<<31 - 1

// decompress gives src, which decompresses to size bytes, in dst's memory if
// that is large enough. Memory grows with what src really holds, not with
// what a damaged header says: see the ratios below.
func decompress(dst, src []byte, size int, codec format.CompressionCodec) ([]byte, error) {
	var err error
	switch codec {
	case format.Uncompressed:
		if len(src) != size {
			return nil, corruptf("uncompressed page of %d bytes says %d", len(src), size)
		}
		return src, nil
	case format.Snappy:
		// A copy element of 3 bytes gives at most 64.
		if n, e := snappy.DecodedLen(src); e != nil || n != size || size > 32*len(src)+64 {
			return nil, corruptf("snappy page of %d bytes says %d and %d", len(src), size, n)
		}
		dst, err = snappy.Decode(reserve(dst, size), src)
	case format.Lz4Raw:
		if size > 256*len(src)+64 {
			return nil, corruptf("lz4 page of %d bytes says %d", len(src), size)
		}
		dst = reserve(dst, size)
		var n int
		n, err = lz4.UncompressBlock(src, dst)
		dst = dst[:max(n, 0)]
	case format.Zstd:
		dst, err = decompressZstd(dst, src, size)
	case format.Gzip:
		r, _ := gzipReaders.Get().(*gzip.Reader)
		if r == nil {
			r = new(gzip.Reader)
		}
		defer gzipReaders.Put(r)
		if err = r.Reset(bytes.NewReader(src)); err == nil {
			dst, err = readInto(dst, r, size, len(src))
		}
	case format.Brotli:
		r, _ := brotliReaders.Get().(*brotli.Reader)
		if r == nil {
			r = brotli.NewReader(nil)
		}
		defer brotliReaders.Put(r)
		if err = r.Reset(bytes.NewReader(src)); err == nil {
			dst, err = readInto(dst, r, size, len(src))
		}
	default:
		return nil, unsupportedf("codec %s", codec)
	}
	if err != nil {
		return nil, corruptf("decompressing %s page: %w", codec, err)
	}
	if len(dst) != size {
		return nil, corruptf("%s page decompresses to %d bytes and says %d", codec, len(dst), size)
	}
	return dst, nil
}

// decompressZstd doubles the room until the frame fits or has more than size.
func decompressZstd(dst, src []byte, size int) ([]byte, error) {
	dec, err := zstdDecoder()
	if err != nil {
		return nil, err
	}
	room := max(min(size, max(32*len(src), 1<<16)), 1)
	for {
		if cap(dst) < room {
			dst = make([]byte, 0, room)
		}
		out, err := dec.DecodeAll(src, dst[:0:room])
		if err == nil || room >= size {
			return out, err
		}
		if !errors.Is(err, zstd.ErrDecoderSizeExceeded) {
			return nil, err
		}
		room = min(size, room*8)
	}
}

// readInto reads at most size bytes of r, growing in steps.
func readInto(dst []byte, r io.Reader, size, stored int) ([]byte, error) {
	dst = reserve(dst, min(size, max(8*stored, 1<<16)))[:0]
	for {
		if len(dst) == cap(dst) {
			if len(dst) >= size {
				break
			}
			grown := make([]byte, len(dst), min(size, 4*cap(dst)))
			copy(grown, dst)
			dst = grown
		}
		n, err := r.Read(dst[len(dst):min(cap(dst), size)])
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return nil, err
		}
		if len(dst) >= size {
			break
		}
	}
	var one [1]byte
	if n, err := io.ReadFull(r, one[:]); n != 0 || err != io.EOF {
		return nil, fmt.Errorf("more than %d bytes, or %w", size, err)
	}
	return dst, nil
}

// reserve gives a slice of n bytes, in b's memory if it has room.
func reserve(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}
