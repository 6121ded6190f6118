package tablefmt

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/lakeload/lakeload/tablefmt/dv"
)

// sidecar names a file with more of a checkpoint's file actions. (Sidecar
// File Information)
type sidecar struct {
	Path string `json:"path"`
}

// actionsOf gives the actions of a batch of a checkpoint's rows. What it
// gives refers to none of the batch's memory. Columns and fields that it does
// not know are ignored, absent ones are null.
func actionsOf(rec arrow.RecordBatch, emit func(*Action) error, side func(sidecar) error) error {
	for c, f := range rec.Schema().Fields() {
		st, ok := rec.Column(c).(*array.Struct)
		if !ok {
			continue
		}
		read, known := actionReaders[f.Name]
		if !known && f.Name != "sidecar" {
			continue
		}
		r := newRowReader(st)
		for i := 0; i < st.Len(); i++ {
			if st.IsNull(i) {
				continue
			}
			r.i = i
			if !known {
				if err := side(sidecar{Path: r.str("path")}); err != nil {
					return err
				}
				continue
			}
			a := read(r)
			if r.err == nil {
				r.err = a.validate()
			}
			if r.err != nil {
				return fmt.Errorf("%w: column %s: %w", errBadAction, f.Name, r.err)
			}
			if err := emit(&a); err != nil {
				return err
			}
		}
		if r.err != nil {
			return fmt.Errorf("%w: column %s: %w", errBadAction, f.Name, r.err)
		}
	}
	return nil
}

var actionReaders = map[string]func(*rowReader) Action{
	"txn": func(r *rowReader) Action {
		return Action{Txn: &Txn{AppID: r.str("appId"), Version: r.num("version"), LastUpdated: r.optNum("lastUpdated")}}
	},
	"add":      func(r *rowReader) Action { return Action{Add: r.addFile()} },
	"remove":   func(r *rowReader) Action { return Action{Remove: r.removeFile()} },
	"metaData": func(r *rowReader) Action { return Action{Metadata: r.tableMetadata()} },
	"protocol": func(r *rowReader) Action {
		return Action{Protocol: &Protocol{
			MinReaderVersion: int(r.num("minReaderVersion")), MinWriterVersion: int(r.num("minWriterVersion")),
			ReaderFeatures: r.strs("readerFeatures"), WriterFeatures: r.strs("writerFeatures"),
		}}
	},
	"domainMetadata": func(r *rowReader) Action {
		return Action{Domain: &DomainMetadata{Domain: r.str("domain"), Configuration: r.str("configuration"), Removed: r.flag("removed")}}
	},
}

func (r *rowReader) addFile() *AddFile {
	a := &AddFile{
		Path: r.str("path"), PartitionValues: r.optStrMap("partitionValues"), Size: r.num("size"),
		ModificationTime: r.num("modificationTime"), DataChange: r.flag("dataChange"), Stats: r.str("stats"),
		Tags: r.strMap("tags"), DeletionVector: r.vector(), BaseRowID: r.optNum("baseRowId"),
		DefaultRowCommitVersion: r.optNum("defaultRowCommitVersion"), ClusteringProvider: r.str("clusteringProvider"),
	}
	if a.PartitionValues == nil {
		a.PartitionValues = noStrings
	}
	if st, ok := r.fields[addStatsParsed].(*array.Struct); ok && a.Stats == "" && st.IsValid(r.i) {
		a.Stats = parsedStatsText(st, r.i)
	}
	return a
}

func (r *rowReader) removeFile() *RemoveFile {
	return &RemoveFile{
		Path: r.str("path"), DeletionTimestamp: r.optNum("deletionTimestamp"), DataChange: r.flag("dataChange"),
		ExtendedFileMetadata: r.flag("extendedFileMetadata"), PartitionValues: r.optStrMap("partitionValues"),
		Size: r.optNum("size"), Tags: r.strMap("tags"), DeletionVector: r.vector(),
		BaseRowID: r.optNum("baseRowId"), DefaultRowCommitVersion: r.optNum("defaultRowCommitVersion"),
	}
}

func (r *rowReader) tableMetadata() *Metadata {
	m := &Metadata{
		ID: r.str("id"), Name: r.str("name"), Description: r.str("description"), SchemaString: r.str("schemaString"),
		PartitionColumns: r.strs("partitionColumns"), Configuration: r.strMap("configuration"), CreatedTime: r.optNum("createdTime"),
	}
	if f := r.sub("format"); f != nil {
		m.Format = Format{Provider: f.str("provider"), Options: f.strMap("options")}
	}
	m.PartitionColumns = append([]string{}, m.PartitionColumns...)
	m.Configuration, m.Format.Options = orEmpty(m.Configuration), orEmpty(m.Format.Options)
	return m
}

func (r *rowReader) vector() *dv.Descriptor {
	v := r.sub("deletionVector")
	if v == nil {
		return nil
	}
	d := &dv.Descriptor{
		StorageType: dv.StorageType(v.str("storageType")), PathOrInlineDV: v.str("pathOrInlineDv"),
		SizeInBytes: int32(v.num("sizeInBytes")), Cardinality: v.num("cardinality"),
	}
	if o := v.optNum("offset"); o != nil {
		offset := int32(*o)
		d.Offset = &offset
	}
	r.keep(v)
	return d
}

// rowReader reads fields of row i of a struct array by name. The first fault
// stays in err.
type rowReader struct {
	i      int
	fields map[string]arrow.Array
	subs   map[string]*rowReader
	err    error
}

func newRowReader(st *array.Struct) *rowReader {
	r := &rowReader{fields: make(map[string]arrow.Array), subs: make(map[string]*rowReader)}
	for c, f := range st.DataType().(*arrow.StructType).Fields() {
		r.fields[f.Name] = st.Field(c)
		if sub, ok := st.Field(c).(*array.Struct); ok {
			r.subs[f.Name] = newRowReader(sub)
		}
	}
	return r
}

func (r *rowReader) keep(sub *rowReader) {
	if r.err == nil {
		r.err = sub.err
	}
}

// at gives the array of a field that is not null in the row, nil otherwise.
func (r *rowReader) at(name string) arrow.Array {
	if a := r.fields[name]; a != nil && !a.IsNull(r.i) {
		return a
	}
	return nil
}

func (r *rowReader) wrong(name string, a arrow.Array) {
	if r.err == nil {
		r.err = fmt.Errorf("field %s is of type %s", name, a.DataType())
	}
}

func (r *rowReader) str(name string) string {
	a := r.at(name)
	switch a := a.(type) {
	case nil:
	case *array.String:
		return string([]byte(a.Value(r.i))) // a copy: the batch goes
	case *array.Binary:
		return string(a.Value(r.i))
	default:
		r.wrong(name, a)
	}
	return ""
}

func (r *rowReader) optNum(name string) *int64 {
	var v int64
	a := r.at(name)
	switch a := a.(type) {
	case nil:
		return nil
	case *array.Int64:
		v = a.Value(r.i)
	case *array.Int32:
		v = int64(a.Value(r.i))
	default:
		r.wrong(name, a)
	}
	return &v
}

func (r *rowReader) num(name string) int64 {
	if p := r.optNum(name); p != nil {
		return *p
	}
	return 0
}

func (r *rowReader) flag(name string) bool {
	a := r.at(name)
	switch a := a.(type) {
	case nil:
	case *array.Boolean:
		return a.Value(r.i)
	default:
		r.wrong(name, a)
	}
	return false
}

func (r *rowReader) sub(name string) *rowReader {
	if r.at(name) == nil {
		return nil
	}
	s := r.subs[name]
	if s == nil {
		r.wrong(name, r.fields[name])
		return nil
	}
	s.i, s.err = r.i, nil
	return s
}

func (r *rowReader) strs(name string) []string {
	a := r.at(name)
	if a == nil {
		return nil
	}
	l, ok := a.(*array.List)
	if !ok {
		r.wrong(name, a)
		return nil
	}
	start, end := l.ValueOffsets(r.i)
	items := &rowReader{fields: map[string]arrow.Array{"": l.ListValues()}}
	out := make([]string, 0, end-start)
	for i := start; i < end; i++ {
		items.i = int(i)
		out = append(out, items.str(""))
	}
	r.keep(items)
	return out
}

// noStrings is the map of all files that have an empty one.
var noStrings = map[string]*string{}

// optStrMap reads a map whose values may be null; nil for no map. It is shared,
// and must not be changed.
func (r *rowReader) optStrMap(name string) map[string]*string {
	a := r.at(name)
	if a == nil {
		return nil
	}
	m, ok := a.(*array.Map)
	if !ok {
		r.wrong(name, a)
		return nil
	}
	start, end := m.ValueOffsets(r.i)
	if start == end {
		return noStrings
	}
	kv := &rowReader{fields: map[string]arrow.Array{"key": m.Keys(), "value": m.Items()}}
	out := make(map[string]*string, end-start)
	for i := start; i < end; i++ {
		kv.i = int(i)
		key := kv.str("key")
		if kv.at("value") == nil {
			out[key] = nil
			continue
		}
		v := kv.str("value")
		out[key] = &v
	}
	r.keep(kv)
	return out
}

// strMap reads a map without its null values; nil for no map or an empty one.
func (r *rowReader) strMap(name string) map[string]string {
	m := r.optStrMap(name)
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		if v != nil {
			out[k] = *v
		}
	}
	return out
}
