package postgres

import (
	"strings"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/cdc"
)

// missingValue says what rows read as that are older than a column: the server
// keeps the value instead of writing it into all of them
// (pg_attribute.attmissingval).
func (a *attribute) missingValue(c cdc.Column, t columnType) cdc.Missing {
	switch len(a.missing) {
	case 0:
		return cdc.Missing{Kind: cdc.MissingNull}
	case 1:
		return decodeMissing(c, t, a.missing[0])
	}
	return cdc.Missing{Kind: cdc.MissingUnknown} // partitions that had it before they were attached
}

// decodeMissing makes of a value's text what a row would have.
func decodeMissing(c cdc.Column, t columnType, text string) cdc.Missing {
	unknown := cdc.Missing{Kind: cdc.MissingUnknown}
	b := newBatchBuilder(&cdc.Relation{Columns: []cdc.Column{c}}, []columnType{t}, memory.DefaultAllocator)
	b.beginTxn(cdc.Txn{})
	if err := b.appendText(0, []byte(text)); err != nil {
		b.discard()
		return unknown
	}
	b.endRow(cdc.OpInsert, 0)
	batch := b.finish()
	defer batch.Release()
	if len(batch.Faults) > 0 {
		return unknown // its rows are refused where they are read
	}
	m := cdc.Missing{Kind: cdc.MissingValue, Value: batch.Rows.Column(0)}
	m.Value.Retain()
	if len(batch.Exact) > 0 {
		m.Exact = batch.Exact[0].Text
	}
	return m
}

// sameMissing reports whether older rows read as the same.
func sameMissing(a, b *cdc.Missing) bool {
	return a.Kind == b.Kind && a.Exact == b.Exact && (a.Value == nil) == (b.Value == nil) &&
		(a.Value == nil || a.Value.DataType().ID() == b.Value.DataType().ID() && a.Value.ValueStr(0) == b.Value.ValueStr(0))
}

// onlyElement is the element of the text of an array that has one.
func onlyElement(text string) string {
	text = strings.TrimSuffix(strings.TrimPrefix(text, "{"), "}")
	if !strings.HasPrefix(text, `"`) {
		return text
	}
	var b strings.Builder
	for i := 1; i < len(text)-1; i++ {
		if text[i] == '\\' {
			i++
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
