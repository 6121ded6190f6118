package tablefmt

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/lakeload/lakeload/tablefmt/colfile"
)

// A checkpoint may hold statistics and partition values as structs of their
// columns' types, beside the texts or, for statistics, instead of them.
// (Checkpoint Schema, stats_parsed and partitionValues_parsed) Here they are
// texts: structs are made when a checkpoint is written, and made texts of when
// one is read that has nothing else.
const (
	addStats           = "stats"
	addStatsParsed     = "stats_parsed"
	addPartitionParsed = "partitionValues_parsed"
)

// parsedColumn is a column that has statistics.
type parsedColumn struct {
	name   string // in files
	typ    Type
	fields []parsedColumn // of a struct
}

// parsedColumns gives the columns that have statistics by the table's
// properties.
func (s *Snapshot) parsedColumns() ([]parsedColumn, error) {
	has, err := s.statsOf(0)
	if err != nil {
		return nil, err
	}
	mode := s.st.mapping
	var walk func(st *Struct, at []string) []parsedColumn
	walk = func(st *Struct, at []string) (out []parsedColumn) {
		for i := range st.Fields {
			f := &st.Fields[i]
			if len(at) == 0 && slices.Contains(s.PartitionColumns(), f.Name) {
				continue
			}
			c := parsedColumn{name: mode.physicalName(f), typ: f.Type}
			path := append(slices.Clone(at), c.name)
			if inner, ok := f.Type.(*Struct); ok {
				if c.fields = walk(inner, path); len(c.fields) > 0 {
					out = append(out, c)
				}
			} else if has(path) {
				out = append(out, c)
			}
		}
		return out
	}
	return walk(s.st.schema, nil), nil
}

// hasBounds reports whether there are bounds of values of a type.
func hasBounds(t Type) bool {
	switch t {
	case Long, Integer, Short, Byte, Float, Double, Date, Timestamp, TimestampNTZ, String:
		return true
	}
	_, ok := t.(Decimal)
	return ok
}

// parsedType is the struct of the columns' values, or of their null counts; nil
// for one without fields.
func parsedType(cols []parsedColumn, nulls bool) arrow.DataType {
	var fields []arrow.Field
	for _, c := range cols {
		switch {
		case c.fields != nil:
			if t := parsedType(c.fields, nulls); t != nil {
				fields = append(fields, nullable(c.name, t))
			}
		case nulls:
			fields = append(fields, nullable(c.name, arrow.PrimitiveTypes.Int64))
		case hasBounds(c.typ):
			t, err := ArrowType(c.typ)
			if err == nil {
				fields = append(fields, nullable(c.name, t))
			}
		}
	}
	if len(fields) == 0 {
		return nil
	}
	return arrow.StructOf(fields...)
}

// parsedWriter makes the typed columns of a checkpoint's add actions.
type parsedWriter struct {
	fields     []arrow.Field // after those that every checkpoint has
	stats      []parsedColumn
	partitions []parsedColumn
}

func (s *Snapshot) newParsedWriter() (*parsedWriter, error) {
	p := new(parsedWriter)
	var parts []arrow.Field
	for _, name := range s.PartitionColumns() {
		f, _ := s.st.schema.Field(name)
		t, err := ArrowType(f.Type)
		if err != nil {
			return nil, err
		}
		physical := s.st.mapping.physicalName(&f)
		parts = append(parts, nullable(physical, t))
		p.partitions = append(p.partitions, parsedColumn{name: physical, typ: f.Type})
	}
	if parts != nil {
		p.fields = append(p.fields, nullable(addPartitionParsed, arrow.StructOf(parts...)))
	}
	var err error
	if p.stats, err = s.parsedColumns(); err != nil {
		return nil, err
	}
	fields := []arrow.Field{nullable("numRecords", arrow.PrimitiveTypes.Int64)}
	for _, part := range []struct {
		name  string
		nulls bool
	}{{"minValues", false}, {"maxValues", false}, {"nullCount", true}} {
		if t := parsedType(p.stats, part.nulls); t != nil {
			fields = append(fields, nullable(part.name, t))
		}
	}
	fields = append(fields, nullable("tightBounds", arrow.FixedWidthTypes.Boolean))
	p.fields = append(p.fields, nullable(addStatsParsed, arrow.StructOf(fields...)))
	return p, nil
}

// values gives a file's values of the columns, as appendField takes them.
// Statistics that cannot be read are none, and a bound that is no value of its
// column's type is not there.
func (p *parsedWriter) values(a *AddFile) (out []any) {
	if p.partitions != nil {
		out = append(out, func(b array.Builder) {
			st := b.(*array.StructBuilder)
			st.Append(true)
			for i, c := range p.partitions {
				appendParsed(st.FieldBuilder(i), c.typ, a.PartitionValues[c.name])
			}
		})
	}
	stats, err := a.ParseStats()
	if a.Stats == "" || err != nil {
		return append(out, nil)
	}
	return append(out, func(b array.Builder) {
		st := b.(*array.StructBuilder)
		st.Append(true)
		for i, f := range st.Type().(*arrow.StructType).Fields() {
			switch to := st.FieldBuilder(i); f.Name {
			case "numRecords":
				appendField(to, stats.NumRecords)
			case "minValues":
				p.appendStruct(to, p.stats, stats.MinValues, false)
			case "maxValues":
				p.appendStruct(to, p.stats, stats.MaxValues, false)
			case "nullCount":
				p.appendStruct(to, p.stats, stats.NullCount, true)
			case "tightBounds":
				if stats.TightBounds == nil {
					to.AppendNull()
				} else {
					appendField(to, *stats.TightBounds)
				}
			}
		}
	})
}

func (p *parsedWriter) appendStruct(b array.Builder, cols []parsedColumn, raw map[string]json.RawMessage, nulls bool) {
	st := b.(*array.StructBuilder)
	st.Append(true)
	i := 0
	for _, c := range cols {
		if i == st.NumField() || st.Type().(*arrow.StructType).Field(i).Name != c.name {
			continue // it has no bounds
		}
		to := st.FieldBuilder(i)
		i++
		switch v := raw[c.name]; {
		case c.fields != nil:
			p.appendStruct(to, c.fields, object(v), nulls)
		case v == nil || bytes.Equal(v, []byte("null")):
			to.AppendNull()
		case nulls:
			text := string(v)
			appendParsed(to, Long, &text)
		default:
			text := string(v)
			if v[0] == '"' && json.Unmarshal(v, &text) != nil {
				to.AppendNull()
				continue
			}
			if c.typ == String { // the empty text is one
				to.(*array.StringBuilder).Append(text)
				continue
			}
			appendParsed(to, c.typ, &text)
		}
	}
}

// appendParsed appends a value from its text, null for none of the type.
func appendParsed(b array.Builder, t Type, text *string) {
	add, err := partitionAppender(t, text)
	if err != nil {
		b.AppendNull()
		return
	}
	add(b, 1)
}

// onlyParsed gives the field of typed statistics of a checkpoint's file that has
// no others; ok is false for a file that has texts, or no statistics at all.
func onlyParsed(f *colfile.File) (arrow.Field, bool) {
	adds := f.Schema().FieldIndices("add")
	if len(adds) == 0 {
		return arrow.Field{}, false
	}
	add, ok := f.Schema().Field(adds[0]).Type.(*arrow.StructType)
	if !ok {
		return arrow.Field{}, false
	}
	parsed, ok := add.FieldByName(addStatsParsed)
	if !ok || !f.NoValues("add", addStats) {
		return arrow.Field{}, false
	}
	_, ok = parsed.Type.(*arrow.StructType)
	return arrow.Field{Name: addStatsParsed, Type: parsed.Type, Nullable: true}, ok
}

// parsedStatsText makes statistics' text of a row of typed ones.
func parsedStatsText(st *array.Struct, i int) string {
	b := []byte{'{'}
	for n, f := range st.DataType().(*arrow.StructType).Fields() {
		a := st.Field(n)
		if a.IsNull(i) {
			continue
		}
		at := len(b)
		if at > 1 {
			b = append(b, ',')
		}
		b = append(append(b, '"'), f.Name...)
		b = append(b, '"', ':')
		switch a := a.(type) {
		case *array.Struct:
			b = appendParsedObject(b, a, i, f.Name == "maxValues")
		case *array.Int64:
			b = strconv.AppendInt(b, a.Value(i), 10)
		case *array.Boolean:
			b = strconv.AppendBool(b, a.Value(i))
		default:
			b = b[:at]
		}
	}
	return string(append(b, '}'))
}

func appendParsedObject(b []byte, st *array.Struct, i int, up bool) []byte {
	b = append(b, '{')
	first := true
	for n, f := range st.DataType().(*arrow.StructType).Fields() {
		a := st.Field(n)
		if a.IsNull(i) {
			continue
		}
		var v []byte
		if inner, ok := a.(*array.Struct); ok {
			if v = appendParsedObject(nil, inner, i, up); len(v) == len("{}") {
				continue
			}
		} else {
			v = statsValue(parsedValue(a, i), a.DataType(), up)
		}
		if v == nil {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(append(appendJSON(b, f.Name), ':'), v...)
	}
	return append(b, '}')
}

// parsedValue is a bound as statsValue takes it; nil for what is none.
func parsedValue(a arrow.Array, i int) any {
	switch a := a.(type) {
	case *array.Int8:
		return int64(a.Value(i))
	case *array.Int16:
		return int64(a.Value(i))
	case *array.Int32:
		return int64(a.Value(i))
	case *array.Int64:
		return a.Value(i)
	case *array.Float32:
		return a.Value(i)
	case *array.Float64:
		return a.Value(i)
	case *array.String:
		return a.Value(i)
	case *array.Decimal128:
		return a.Value(i)
	case *array.Date32:
		return a.Value(i)
	case *array.Timestamp:
		return a.Value(i)
	}
	return nil
}
