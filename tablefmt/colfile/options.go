package colfile

import (
	"fmt"

	"github.com/parquet-go/parquet-go/format"
)

// Codec is the compression of a file's pages. The zero value is Zstd.
type Codec uint8

// The codecs that a Writer can use. All of them, and LZ4_RAW and Brotli, can
// be read.
const (
	Zstd Codec = iota // level 1, or WriterOptions.ZstdLevel
	Snappy
	Gzip
	Uncompressed
)

// String is the codec's name as in configurations: "zstd".
func (c Codec) String() string {
	switch c {
	case Zstd:
		return "zstd"
	case Snappy:
		return "snappy"
	case Gzip:
		return "gzip"
	case Uncompressed:
		return "uncompressed"
	}
	return fmt.Sprintf("codec(%d)", uint8(c))
}

// ParseCodec is the inverse of [Codec.String]; "none" is Uncompressed and ""
// the default.
func ParseCodec(s string) (Codec, error) {
	switch s {
	case "", "zstd":
		return Zstd, nil
	case "snappy":
		return Snappy, nil
	case "gzip":
		return Gzip, nil
	case "none", "uncompressed":
		return Uncompressed, nil
	}
	return 0, unsupportedf("codec %q (want zstd, snappy, gzip or uncompressed)", s)
}

func (c Codec) format() format.CompressionCodec {
	switch c {
	case Snappy:
		return format.Snappy
	case Gzip:
		return format.Gzip
	case Uncompressed:
		return format.Uncompressed
	}
	return format.Zstd
}

// Defaults of WriterOptions.
const (
	DefaultRowGroupRows  = 1 << 20
	DefaultRowGroupBytes = 32 << 20
	DefaultPageBytes     = 256 << 10
	// DefaultStatsColumns is Delta's delta.dataSkippingNumIndexedCols.
	DefaultStatsColumns = 32
)

// WriterOptions says how a file is written. The zero value is what the engine
// uses for ordinary files.
type WriterOptions struct {
	Codec Codec
	// ZstdLevel is 1 to 4 in klauspost's scale (about zstd's 1, 3, 7 and 11);
	// 0 is 1. Ignored for other codecs.
	ZstdLevel int
	// RowGroupRows is the greatest number of rows of a row group; 0 is
	// DefaultRowGroupRows.
	RowGroupRows int
	// RowGroupBytes closes a row group when its encoded values, before
	// compression, reach it; 0 is DefaultRowGroupBytes. Since finished pages
	// are held compressed, it is also about the upper bound of what a Writer
	// holds, beside a slice of a few thousand rows (one row where rows are
	// large) and the tables of its dictionaries.
	//
	// The default lets a dozen files be open in a budget of 512 MiB and
	// still gives readers groups of some 300,000 rows of 100 bytes: DuckDB
	// and Spark parallelise over groups, and gain nothing from larger ones.
	RowGroupBytes int64
	// PageBytes closes a page when its values reach it, before compression;
	// 0 is DefaultPageBytes. On BenchmarkWrite's table half of the default
	// gives a tenth more bytes, and twice as much a twenty-fifth fewer. It is
	// lowered for wide schemas, such that all open pages together stay below
	// a quarter of RowGroupBytes, but not below 4 KiB a column.
	PageBytes int
	// StatsColumns is the number of leaf columns, from the first, that get
	// minima and maxima, in Stats and in the file itself, counted as Delta
	// does: the fields of a struct one each, a list or map one. 0 is
	// DefaultStatsColumns, -1 is all, -2 is none. Null counts are kept for
	// the same columns.
	StatsColumns int
	// StatsOf, where it is set, says instead of StatsColumns which columns get
	// them: it is asked with each one's path of names in the file, of a list or
	// map its own.
	StatsOf func(path []string) bool
	// NoDictionary turns dictionary encoding off. Otherwise each column
	// starts every row group with a dictionary and gives it up when more
	// than half of its first values are distinct, or when the dictionary
	// grows past a bound; see dictionary.go for what was measured.
	NoDictionary bool
	// Metadata is written as key-value metadata of the footer, sorted by key.
	Metadata map[string]string
	// CreatedBy is the footer's created_by, in the form "name version x" that
	// parquet-mr parses; "" is "lakeload version 1".
	CreatedBy string
}

// withDefaults replaces zero values and reports every fault of the options.
func (o WriterOptions) withDefaults(leaves int) (WriterOptions, error) {
	if o.Codec > Uncompressed {
		return o, unsupportedf("codec %d", o.Codec)
	}
	if o.ZstdLevel == 0 {
		o.ZstdLevel = 1
	}
	if o.ZstdLevel < 1 || o.ZstdLevel > 4 {
		return o, unsupportedf("zstd level %d (want 1 to 4)", o.ZstdLevel)
	}
	if o.RowGroupRows < 0 || o.RowGroupBytes < 0 || o.PageBytes < 0 || o.StatsColumns < -2 {
		return o, unsupportedf("negative limit in %d rows, %d bytes a row group, %d bytes a page, %d statistics columns",
			o.RowGroupRows, o.RowGroupBytes, o.PageBytes, o.StatsColumns)
	}
	if o.RowGroupRows == 0 {
		o.RowGroupRows = DefaultRowGroupRows
	}
	if o.RowGroupBytes == 0 {
		o.RowGroupBytes = DefaultRowGroupBytes
	}
	if o.PageBytes == 0 {
		o.PageBytes = DefaultPageBytes
	}
	share := o.RowGroupBytes / int64(4*max(leaves, 1))
	o.PageBytes = max(int(min(int64(o.PageBytes), share)), minPageBytes)
	if o.StatsColumns == 0 {
		o.StatsColumns = DefaultStatsColumns
	}
	if o.CreatedBy == "" {
		o.CreatedBy = "lakeload version 1"
	}
	return o, nil
}

// minPageBytes keeps the cost of page headers small whatever is asked for.
const minPageBytes = 4 << 10
