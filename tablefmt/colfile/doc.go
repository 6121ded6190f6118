// Package colfile writes Arrow record batches to Parquet files and reads
// Parquet files as Arrow record batches, a column at a time. It knows Parquet
// and nothing of Delta, except which whole-file statistics Delta wants.
//
// # What it takes from parquet-go
//
// The package is the only importer of parquet-go, and uses its definitions of
// the format (package format) and its Thrift codec. It does not use
// parquet-go's writer: the lowest entry of that is
// ColumnWriter.WriteRowValues, which takes a 24-byte tagged Value for every
// value and level. [Writer] copies Arrow buffers into PLAIN or dictionary
// pages instead. On the seven columns of BenchmarkWriteParquetGo that gave a
// median of 2.7 million rows a CPU second to parquet-go's 2.1, in eight runs of
// each in turn. The files are not the same: parquet-go also writes a page
// index, and no dictionary unless told to.
//
// # Writing
//
// A [Writer] holds the open row group only: finished pages, compressed, and
// one open page a leaf column. The group is written out when it reaches
// [WriterOptions.RowGroupBytes], so the memory of a writer has that bound
// whatever the file's size. What is written: version 1 data pages; PLAIN or
// RLE_DICTIONARY values; RLE levels; three-level lists and maps; timestamps as
// INT64 microseconds; decimals as INT32, INT64 or FIXED_LEN_BYTE_ARRAY by
// precision, as Spark does; a CRC-32 in every page header; no page index.
//
// # Reading
//
// A [File] reads what parquet-mr (Spark), Arrow (delta-rs, pyarrow, Polars)
// and DuckDB write: all of the format's value encodings except the deprecated
// BIT_PACKED levels, data pages of both versions, all codecs except LZO and
// the deprecated framed LZ4. A damaged file gives an error that wraps
// [ErrCorrupt]; it neither panics nor asks for memory out of proportion to
// the file's size.
package colfile
