package colfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// writeFooter ends the file: the metadata, its length, the magic again.
func (w *Writer) writeFooter() error {
	m := &w.meta
	m.Version = 2
	m.NumRows = w.rows
	m.CreatedBy = w.opt.CreatedBy
	if m.RowGroups == nil {
		m.RowGroups = []format.RowGroup{} // the list is required
	}
	for k, v := range w.opt.Metadata {
		m.KeyValueMetadata = append(m.KeyValueMetadata, format.KeyValue{Key: k, Value: v})
	}
	slices.SortFunc(m.KeyValueMetadata, func(a, b format.KeyValue) int { return strings.Compare(a.Key, b.Key) })
	// Without an order readers ignore the bounds of everything but numbers.
	m.ColumnOrders = make([]format.ColumnOrder, len(w.leaves))
	for i := range m.ColumnOrders {
		m.ColumnOrders[i].Value = &format.TypeDefinedOrder{}
	}
	buf := bytes.NewBuffer(w.s.page[:0])
	var protocol thrift.CompactProtocol
	if err := thrift.NewEncoder(protocol.NewWriter(buf)).Encode(m); err != nil {
		return fmt.Errorf("encoding: %w", err)
	}
	tail := binary.LittleEndian.AppendUint32(buf.Bytes(), uint32(buf.Len()))
	tail = append(tail, magic...)
	w.s.page = tail
	_, err := w.out.Write(tail)
	return err
}
