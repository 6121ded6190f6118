package tablefmt

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/lakeload/lakeload/tablefmt/dv"
)

// The columns of a checkpoint, one a kind of action. (Checkpoint Schema)
// Every field is nullable: a row has one action, and old writers leave fields
// out.
const (
	colTxn = iota
	colAdd
	colRemove
	colMetadata
	colProtocol
	colDomain
)

var (
	arrowMap     = mapOfStrings()
	arrowStrings = arrow.ListOfField(arrow.Field{Name: "element", Type: arrow.BinaryTypes.String, Nullable: true})
	arrowVector  = arrow.StructOf(
		nullable("storageType", arrow.BinaryTypes.String), nullable("pathOrInlineDv", arrow.BinaryTypes.String),
		nullable("offset", arrow.PrimitiveTypes.Int32), nullable("sizeInBytes", arrow.PrimitiveTypes.Int32),
		nullable("cardinality", arrow.PrimitiveTypes.Int64))
	checkpointColumns = []arrow.Field{
		colTxn: nullable("txn", arrow.StructOf(
			nullable("appId", arrow.BinaryTypes.String), nullable("version", arrow.PrimitiveTypes.Int64),
			nullable("lastUpdated", arrow.PrimitiveTypes.Int64))),
		colAdd: nullable("add", arrow.StructOf(
			nullable("path", arrow.BinaryTypes.String), nullable("partitionValues", arrowMap),
			nullable("size", arrow.PrimitiveTypes.Int64), nullable("modificationTime", arrow.PrimitiveTypes.Int64),
			nullable("dataChange", arrow.FixedWidthTypes.Boolean), nullable("tags", arrowMap),
			nullable("deletionVector", arrowVector), nullable("baseRowId", arrow.PrimitiveTypes.Int64),
			nullable("defaultRowCommitVersion", arrow.PrimitiveTypes.Int64),
			nullable("clusteringProvider", arrow.BinaryTypes.String), nullable("stats", arrow.BinaryTypes.String))),
		colRemove: nullable("remove", arrow.StructOf(
			nullable("path", arrow.BinaryTypes.String), nullable("deletionTimestamp", arrow.PrimitiveTypes.Int64),
			nullable("dataChange", arrow.FixedWidthTypes.Boolean), nullable("extendedFileMetadata", arrow.FixedWidthTypes.Boolean),
			nullable("partitionValues", arrowMap), nullable("size", arrow.PrimitiveTypes.Int64),
			nullable("deletionVector", arrowVector), nullable("baseRowId", arrow.PrimitiveTypes.Int64),
			nullable("defaultRowCommitVersion", arrow.PrimitiveTypes.Int64))),
		colMetadata: nullable("metaData", arrow.StructOf(
			nullable("id", arrow.BinaryTypes.String), nullable("name", arrow.BinaryTypes.String),
			nullable("description", arrow.BinaryTypes.String),
			nullable("format", arrow.StructOf(nullable("provider", arrow.BinaryTypes.String), nullable("options", arrowMap))),
			nullable("schemaString", arrow.BinaryTypes.String), nullable("partitionColumns", arrowStrings),
			nullable("configuration", arrowMap), nullable("createdTime", arrow.PrimitiveTypes.Int64))),
		colProtocol: nullable("protocol", arrow.StructOf(
			nullable("minReaderVersion", arrow.PrimitiveTypes.Int32), nullable("minWriterVersion", arrow.PrimitiveTypes.Int32),
			nullable("readerFeatures", arrowStrings), nullable("writerFeatures", arrowStrings))),
		colDomain: nullable("domainMetadata", arrow.StructOf(
			nullable("domain", arrow.BinaryTypes.String), nullable("configuration", arrow.BinaryTypes.String),
			nullable("removed", arrow.FixedWidthTypes.Boolean))),
	}
	checkpointSchema = arrow.NewSchema(checkpointColumns, nil)
)

func nullable(name string, t arrow.DataType) arrow.Field {
	return arrow.Field{Name: name, Type: t, Nullable: true}
}

func mapOfStrings() *arrow.MapType {
	m := arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String)
	m.SetItemNullable(true)
	return m
}

// appendAction adds a row with one action; keepStats says that the table
// wants statistics as JSON, and parsed, where it is not nil, that it wants them as
// structs.
func appendAction(b *array.RecordBuilder, a *Action, keepStats bool, parsed *parsedWriter) {
	col := -1
	switch {
	case a.Txn != nil:
		col = colTxn
		row(b, col, a.Txn.AppID, a.Txn.Version, a.Txn.LastUpdated)
	case a.Add != nil:
		col = colAdd
		f := a.Add
		stats := f.Stats
		if !keepStats {
			stats = ""
		}
		// In a checkpoint no file is new: dataChange is false, as in Spark's.
		values := []any{
			f.Path, f.PartitionValues, f.Size, f.ModificationTime, false, f.Tags, f.DeletionVector,
			f.BaseRowID, f.DefaultRowCommitVersion, text(f.ClusteringProvider), text(stats),
		}
		if parsed != nil {
			values = append(values, parsed.values(f)...)
		}
		row(b, col, values...)
	case a.Remove != nil:
		col = colRemove
		f := a.Remove
		values := any(f.PartitionValues)
		if !f.ExtendedFileMetadata && f.PartitionValues == nil {
			values = nil
		}
		row(b, col, f.Path, f.DeletionTimestamp, false, f.ExtendedFileMetadata, values, f.Size, f.DeletionVector,
			f.BaseRowID, f.DefaultRowCommitVersion)
	case a.Metadata != nil:
		col = colMetadata
		m := a.Metadata
		row(b, col, m.ID, text(m.Name), text(m.Description), []any{m.Format.Provider, orEmpty(m.Format.Options)},
			m.schemaText(), m.PartitionColumns, orEmpty(m.Configuration), m.CreatedTime)
	case a.Protocol != nil:
		col = colProtocol
		p := a.Protocol
		var readers, writers any
		if p.MinReaderVersion >= 3 {
			readers = p.ReaderFeatures
		}
		if p.MinWriterVersion >= 7 {
			writers = p.WriterFeatures
		}
		row(b, col, int32(p.MinReaderVersion), int32(p.MinWriterVersion), readers, writers)
	case a.Domain != nil:
		col = colDomain
		row(b, col, a.Domain.Domain, a.Domain.Configuration, false)
	}
	if col < 0 {
		return
	}
	for i := range b.Fields() {
		if i != col {
			b.Field(i).AppendNull()
		}
	}
}

// text gives nil for "", which stands for "not set" in our structs.
func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func row(b *array.RecordBuilder, col int, values ...any) {
	appendStruct(b.Field(col).(*array.StructBuilder), values)
}

func appendStruct(b *array.StructBuilder, values []any) {
	b.Append(true)
	for i, v := range values {
		appendField(b.FieldBuilder(i), v)
	}
}

// appendField appends a value of one of the few types that actions have to
// the builder that is there for it.
func appendField(b array.Builder, v any) {
	switch v := v.(type) {
	case func(array.Builder):
		v(b)
		return
	case string:
		b.(*array.StringBuilder).Append(v)
		return
	case bool:
		b.(*array.BooleanBuilder).Append(v)
		return
	case int32:
		b.(*array.Int32Builder).Append(v)
		return
	case int64:
		b.(*array.Int64Builder).Append(v)
		return
	case *int64:
		if v != nil {
			b.(*array.Int64Builder).Append(*v)
			return
		}
	case *dv.Descriptor:
		if v != nil {
			var offset any
			if v.Offset != nil {
				offset = *v.Offset
			}
			appendStruct(b.(*array.StructBuilder), []any{string(v.StorageType), v.PathOrInlineDV, offset, v.SizeInBytes, v.Cardinality})
			return
		}
	case []any:
		appendStruct(b.(*array.StructBuilder), v)
		return
	case []string:
		l := b.(*array.ListBuilder)
		l.Append(true)
		for _, s := range v {
			l.ValueBuilder().(*array.StringBuilder).Append(s)
		}
		return
	case map[string]string:
		if v != nil {
			appendMap(b.(*array.MapBuilder), v, func(s string) *string { return &s })
			return
		}
	case map[string]*string:
		appendMap(b.(*array.MapBuilder), v, func(s *string) *string { return s })
		return
	}
	b.AppendNull()
}

func appendMap[V any](b *array.MapBuilder, m map[string]V, value func(V) *string) {
	b.Append(true)
	keys, items := b.KeyBuilder().(*array.StringBuilder), b.ItemBuilder().(*array.StringBuilder)
	for _, k := range sortedKeys(m) {
		keys.Append(k)
		if v := value(m[k]); v != nil {
			items.Append(*v)
		} else {
			items.AppendNull()
		}
	}
}
