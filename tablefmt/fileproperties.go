package tablefmt

import (
	"crypto/rand"
	"math/big"
	"strconv"
	"strings"

	"github.com/lakeload/lakeload/tablefmt/colfile"
)

// Table properties that say how data files are written.
const (
	PropCodec        = "delta.parquet.compression.codec"
	PropRandomFolder = "delta.randomizeFilePrefixes"
	PropRandomLength = "delta.randomPrefixLength"
	PropTargetSize   = "delta.targetFileSize"
	// PropWritePartitions has partition columns stand in data files, too. The
	// feature materializePartitionColumns and Iceberg compatibility demand it.
	PropWritePartitions = "delta.writePartitionColumnsToParquet"
)

// fileProperties fills in what a caller leaves to the table.
func (s *Snapshot) fileProperties(o *FileOptions) error {
	if text := s.Property(PropCodec); text != "" && o.Codec == colfile.Zstd {
		codec, err := codecOf(text)
		if err != nil {
			return err
		}
		o.Codec = codec
	}
	if o.Prefix == "" {
		o.random = s.randomLength()
	}
	return nil
}

// codecOf reads a codec's name as Spark writes it.
func codecOf(text string) (colfile.Codec, error) {
	name := strings.ToLower(strings.TrimSpace(text))
	c, err := colfile.ParseCodec(name)
	if err != nil || name == "" {
		return 0, &UnsupportedFeatureError{Feature: "the codec " + strconv.Quote(text), Writing: true, Detail: PropCodec}
	}
	return c, nil
}

// randomLength is the length of the folders by chance that the table's files
// lie in, so that a store spreads them; 0 for none.
func (s *Snapshot) randomLength() int {
	if !s.Metadata().isTrue(PropRandomFolder) {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(s.Property(PropRandomLength)))
	if err != nil || n < 1 || n > 100 {
		return 2
	}
	return n
}

const prefixLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

func randomPrefix(n int) string {
	b := make([]byte, n)
	for i := range b {
		at, err := rand.Int(rand.Reader, big.NewInt(int64(len(prefixLetters))))
		if err != nil { // the standard library's never fails
			panic(err)
		}
		b[i] = prefixLetters[at.Int64()]
	}
	return string(b)
}

// TargetFileSize is the size in bytes at which the table wants its files cut
// (delta.targetFileSize); ok is false where it does not say.
func (s *Snapshot) TargetFileSize() (bytes int64, ok bool) {
	n, err := parseBytes(s.Property(PropTargetSize))
	return n, err == nil && n > 0
}

// writesPartitions reports whether the partition columns stand in data files,
// too. (Materialize Partition Columns, Iceberg Compatibility V1 and V2)
func (s *Snapshot) writesPartitions() bool {
	return needsPartitions(s.Protocol(), s.Metadata()) || s.Metadata().isTrue(PropWritePartitions)
}

func needsPartitions(p *Protocol, m *Metadata) bool {
	return p.Has("materializePartitionColumns") || icebergCompat(p, m) > 0
}
