package colfile

import (
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// readFileMetaData decodes a footer, as far as reading the file needs it:
// encodings and paths are passed over, bounds are left where they are in b. Opening many small files is
// mostly this, so it is done by hand; a general decoder takes five times as long.
// What is required of the fields below must be there.
func readFileMetaData(b []byte, m *format.FileMetaData) error {
	r := thriftReader{b: b}
	r.fields(1<<2|1<<3|1<<4, func(id int16, typ byte) {
		switch {
		case id == 2:
			m.Schema = readList(&r, typ, r.schemaElement)
		case id == 3:
			m.NumRows = r.i64(typ)
		case id == 4:
			m.RowGroups = readList(&r, typ, r.rowGroup)
		case id == 5:
			m.KeyValueMetadata = readList(&r, typ, r.keyValue)
		case id == 7:
			m.ColumnOrders = readList(&r, typ, r.columnOrder)
		case id == 8 && typ == tStruct:
			m.EncryptionAlgorithm.Value = &format.AesGcmV1{} // which of them does not matter
			fallthrough
		default:
			r.skip(typ, 0, id, nil)
		}
	})
	switch {
	case r.bad:
		return corruptf("footer cannot be decoded at byte %d of %d", r.pos, len(b))
	case r.pos != len(b):
		return corruptf("footer of %d bytes that ends at %d", len(b), r.pos)
	}
	return nil
}

// fields reads a struct. required has the bits of the ids that must be there.
func (r *thriftReader) fields(required uint32, read func(id int16, typ byte)) {
	var id int16
	for {
		typ := r.field(&id)
		if typ == 0 {
			break
		}
		if id >= 0 && id < 32 {
			required &^= 1 << id
		}
		if read(id, typ); r.bad {
			return
		}
	}
	if required != 0 {
		r.fail()
	}
}

// readList reads a list of structs. It grows with what is read and not with what
// the list says that it holds.
func readList[T any](r *thriftReader, typ byte, read func(*T)) []T {
	if typ != tList {
		r.fail()
		return nil
	}
	elem, n := r.list()
	if elem != tStruct && n > 0 {
		r.fail()
	}
	list := make([]T, 0, min(n, 64))
	for range n {
		if r.bad {
			return nil
		}
		var zero T
		list = append(list, zero)
		read(&list[len(list)-1])
	}
	return list
}

func (r *thriftReader) i64(typ byte) int64 {
	if typ != tI64 {
		r.fail()
		return 0
	}
	return r.varint()
}

func (r *thriftReader) i32Of(typ byte) int32 {
	if typ != tI32 {
		r.fail()
		return 0
	}
	return r.i32()
}

func (r *thriftReader) text(typ byte) string {
	if typ != tBinary {
		r.fail()
		return ""
	}
	n := r.uvarint()
	r.advance(n)
	if r.bad {
		return ""
	}
	return string(r.b[r.pos-int(n) : r.pos])
}

func (r *thriftReader) keyValue(kv *format.KeyValue) {
	r.fields(1<<1, func(id int16, typ byte) {
		switch id {
		case 1:
			kv.Key = r.text(typ)
		case 2:
			kv.Value = r.text(typ)
		default:
			r.skip(typ, 2, id, nil)
		}
	})
}

func (r *thriftReader) rowGroup(g *format.RowGroup) {
	r.fields(1<<1|1<<2|1<<3, func(id int16, typ byte) {
		switch id {
		case 1:
			g.Columns = readList(r, typ, r.columnChunk)
		case 2:
			g.TotalByteSize = r.i64(typ)
		case 3:
			g.NumRows = r.i64(typ)
		default:
			r.skip(typ, 2, id, nil)
		}
	})
}

func (r *thriftReader) columnChunk(c *format.ColumnChunk) {
	r.fields(0, func(id int16, typ byte) {
		switch {
		case id == 1:
			c.FilePath = r.text(typ)
		case id == 3 && typ == tStruct:
			r.columnMetaData(&c.MetaData)
		case id == 8 && typ == tStruct:
			c.CryptoMetadata.Value = &format.EncryptionWithFooterKey{} // or another: neither is read
			fallthrough
		default:
			r.skip(typ, 4, id, nil)
		}
	})
}

func (r *thriftReader) columnMetaData(m *format.ColumnMetaData) {
	m.Statistics.NullCount = -1 // not told
	r.fields(1<<1|1<<4|1<<7|1<<9, func(id int16, typ byte) {
		if id == 12 && typ == tStruct {
			r.statistics(&m.Statistics)
			return
		}
		switch id {
		case 1:
			m.Type = format.Type(r.i32Of(typ))
		case 4:
			m.Codec = format.CompressionCodec(r.i32Of(typ))
		case 5:
			m.NumValues = r.i64(typ)
		case 6:
			m.TotalUncompressedSize = r.i64(typ)
		case 7:
			m.TotalCompressedSize = r.i64(typ)
		case 9:
			m.DataPageOffset = r.i64(typ)
		case 11:
			m.DictionaryPageOffset = r.i64(typ)
		default:
			r.skip(typ, 5, id, nil)
		}
	})
}

// statistics reads the bounds that have an order; the older ones, whose order was
// not defined, are passed over.
func (r *thriftReader) statistics(s *format.Statistics) {
	r.fields(0, func(id int16, typ byte) {
		switch {
		case id == 3 && typ == tI64:
			s.NullCount = r.varint()
		case id == 5 && typ == tBinary:
			s.MaxValue = r.bytes()
		case id == 6 && typ == tBinary:
			s.MinValue = r.bytes()
		default:
			r.skip(typ, 6, id, nil)
		}
	})
}

// bytes reads a binary value; it is not nil, and shares memory with what is read.
func (r *thriftReader) bytes() []byte {
	n := r.uvarint()
	r.advance(n)
	if r.bad {
		return nil
	}
	return r.b[r.pos-int(n) : r.pos : r.pos]
}

// columnOrder reads a union that has a field for each order.
func (r *thriftReader) columnOrder(o *format.ColumnOrder) {
	r.fields(0, func(id int16, typ byte) {
		if id == 1 {
			o.Value = &format.TypeDefinedOrder{}
		}
		r.skip(typ, 2, id, nil)
	})
}

func (r *thriftReader) schemaElement(el *format.SchemaElement) {
	r.fields(1<<4, func(id int16, typ byte) {
		switch id {
		case 1:
			el.Type = thrift.New(format.Type(r.i32Of(typ)))
		case 2:
			el.TypeLength = thrift.New(r.i32Of(typ))
		case 3:
			el.RepetitionType = thrift.New(format.FieldRepetitionType(r.i32Of(typ)))
		case 4:
			el.Name = r.text(typ)
		case 5:
			el.NumChildren = thrift.New(r.i32Of(typ))
		case 6:
			el.ConvertedType = thrift.New(deprecated.ConvertedType(r.i32Of(typ)))
		case 7:
			el.Scale = thrift.New(r.i32Of(typ))
		case 8:
			el.Precision = thrift.New(r.i32Of(typ))
		case 9:
			el.FieldID = r.i32Of(typ)
		case 10:
			if typ != tStruct {
				r.fail()
				return
			}
			el.LogicalType.Value = r.logicalType()
		default:
			r.skip(typ, 2, id, nil)
		}
	})
}

// logicalType reads the union of that name. One without parameters is a struct
// without fields.
func (r *thriftReader) logicalType() (t format.LogicalTypeValue) {
	r.fields(0, func(id int16, typ byte) {
		if typ != tStruct {
			r.fail()
			return
		}
		switch id {
		case 1:
			t = &format.StringType{}
		case 2:
			t = &format.MapType{}
		case 3:
			t = &format.ListType{}
		case 4:
			t = &format.EnumType{}
		case 5:
			t = r.decimalType()
			return
		case 6:
			t = &format.DateType{}
		case 7:
			unit, utc := r.timeType()
			t = &format.TimeType{IsAdjustedToUTC: utc, Unit: unit}
			return
		case 8:
			unit, utc := r.timeType()
			t = &format.TimestampType{IsAdjustedToUTC: utc, Unit: unit}
			return
		case 10:
			t = r.intType()
			return
		case 12:
			t = &format.JsonType{}
		case 15:
			t = &format.Float16Type{}
		default: // it says nothing that the physical type does not
			t = &format.NullType{}
		}
		r.skip(typ, 4, id, nil)
	})
	return t
}

func (r *thriftReader) decimalType() *format.DecimalType {
	t := &format.DecimalType{}
	r.fields(1<<1|1<<2, func(id int16, typ byte) {
		switch id {
		case 1:
			t.Scale = r.i32Of(typ)
		case 2:
			t.Precision = r.i32Of(typ)
		default:
			r.skip(typ, 5, id, nil)
		}
	})
	return t
}

func (r *thriftReader) intType() *format.IntType {
	t := &format.IntType{}
	r.fields(1<<1|1<<2, func(id int16, typ byte) {
		switch {
		case id == 1 && typ == tByte:
			t.BitWidth = int8(r.byte())
		case id == 2 && (typ == tTrue || typ == tFalse):
			t.IsSigned = typ == tTrue
		default:
			r.skip(typ, 5, id, nil)
		}
	})
	return t
}

// timeType reads what TIME and TIMESTAMP have in common.
func (r *thriftReader) timeType() (unit format.TimeUnit, utc bool) {
	r.fields(1<<1|1<<2, func(id int16, typ byte) {
		switch {
		case id == 1 && (typ == tTrue || typ == tFalse):
			utc = typ == tTrue
		case id == 2 && typ == tStruct:
			r.fields(0, func(id int16, typ byte) {
				switch id {
				case 1:
					unit.Value = &format.MilliSeconds{}
				case 2:
					unit.Value = &format.MicroSeconds{}
				case 3:
					unit.Value = &format.NanoSeconds{}
				}
				r.skip(typ, 6, id, nil)
			})
		default:
			r.skip(typ, 5, id, nil)
		}
	})
	return unit, utc
}
