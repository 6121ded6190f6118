package colfile

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
	"github.com/stretchr/testify/require"
)

// wholeFooter is a file's footer by the general decoder, with all that it has.
func wholeFooter(t testing.TB, b []byte) *format.FileMetaData {
	t.Helper()
	n := int(binary.LittleEndian.Uint32(b[len(b)-8:]))
	var m format.FileMetaData
	var protocol thrift.CompactProtocol
	require.NoError(t, thrift.Unmarshal(&protocol, b[len(b)-8-n:len(b)-8], &m))
	return &m
}

// TestFootersAsTheGeneralDecoderHasThem reads the footers of all fixtures, and one
// with every kind of column that the writer knows, in both ways.
func TestFootersAsTheGeneralDecoderHasThem(t *testing.T) {
	bodies := [][]byte{writeFile(t, fixtureBatch(), WriterOptions{Metadata: map[string]string{"a": "1", "b": ""}})}
	for _, name := range fixtureFiles(t) {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		bodies = append(bodies, b)
	}
	for _, b := range bodies {
		want, n := wholeFooter(t, b), int(binary.LittleEndian.Uint32(b[len(b)-8:]))
		var got format.FileMetaData
		require.NoError(t, readFileMetaData(b[len(b)-8-n:len(b)-8], &got))
		require.Equal(t, want.Schema, got.Schema)
		require.Equal(t, want.NumRows, got.NumRows)
		require.Equal(t, want.KeyValueMetadata, got.KeyValueMetadata)
		require.Equal(t, want.ColumnOrders, got.ColumnOrders)
		require.Len(t, got.RowGroups, len(want.RowGroups))
		for i, g := range want.RowGroups {
			is := got.RowGroups[i]
			require.Equal(t, [2]int64{g.NumRows, g.TotalByteSize}, [2]int64{is.NumRows, is.TotalByteSize})
			require.Len(t, is.Columns, len(g.Columns))
			for j, c := range g.Columns {
				m := &c.MetaData
				// The general decoder does not tell a count of none from none.
				nulls := is.Columns[j].MetaData.Statistics.NullCount
				require.True(t, nulls == m.Statistics.NullCount || nulls == -1 && m.Statistics.NullCount == 0)
				require.Equal(t, format.ColumnMetaData{
					Type: m.Type, Codec: m.Codec, NumValues: m.NumValues, TotalUncompressedSize: m.TotalUncompressedSize,
					TotalCompressedSize: m.TotalCompressedSize, DataPageOffset: m.DataPageOffset, DictionaryPageOffset: m.DictionaryPageOffset,
					Statistics: format.Statistics{NullCount: nulls, MinValue: m.Statistics.MinValue, MaxValue: m.Statistics.MaxValue},
				}, is.Columns[j].MetaData)
			}
		}
	}
}

// TestEncryptedFilesAreTold: by either mark that a plain footer has of it.
func TestEncryptedFilesAreTold(t *testing.T) {
	b := writeFile(t, fixtureBatch(), WriterOptions{})
	for name, edit := range map[string]func(m *format.FileMetaData){
		"footer": func(m *format.FileMetaData) { m.EncryptionAlgorithm.Value = &format.AesGcmCtrV1{} },
		"column": func(m *format.FileMetaData) {
			m.RowGroups[0].Columns[0].CryptoMetadata.Value = &format.EncryptionWithFooterKey{}
		},
	} {
		edited := editFooter(t, b, edit)
		_, err := OpenFile(bytes.NewReader(edited), int64(len(edited)))
		require.ErrorIs(t, err, ErrUnsupported, name)
	}
}
