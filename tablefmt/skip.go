package tablefmt

import (
	"encoding/json"
	"slices"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/tablefmt/predicate"
)

// fileChoice is what a filter means for a file.
type fileChoice int

const (
	fileFiltered    fileChoice = iota // some rows may match: each is looked at
	fileWhole                         // every row matches
	fileByPartition                   // none can, by the partition values
	fileByStats                       // none can, by the statistics
)

// fileFilter says for which files of a table a filter needs to look at rows. It
// is pure. Every doubt, such as statistics that contradict themselves, means that
// the rows are looked at.
type fileFilter struct {
	s      *Snapshot
	filter *predicate.Filter
	leaves []filterLeaf // by their places in the filter
	parts  bool         // one of them is a partition column
}

type filterLeaf struct {
	path      []string
	typ       Type
	partition int // its place in the schema if it is a partition column, else -1
}

func newFileFilter(s *Snapshot, filter *predicate.Filter) *fileFilter {
	f := &fileFilter{s: s, filter: filter}
	for _, c := range filter.Columns() {
		l := filterLeaf{path: c.Path, partition: -1}
		fields := s.Schema()
		for i, name := range c.Path {
			at := fields.Index(name)
			if l.typ = fields.Fields[at].Type; i == 0 && slices.Contains(s.PartitionColumns(), name) {
				l.partition, f.parts = at, true
			}
			fields, _ = l.typ.(*Struct)
		}
		f.leaves = append(f.leaves, l)
	}
	return f
}

// choose decides about a file.
func (f *fileFilter) choose(a *AddFile) fileChoice {
	ranges := make([]predicate.Range, len(f.leaves))
	at := func(column int) predicate.Range { return ranges[column] }
	for i := range f.leaves {
		if f.leaves[i].partition >= 0 {
			ranges[i] = f.partitionRange(a, &f.leaves[i])
		}
	}
	// Where the values are known themselves, and not only what somebody has noted
	// of them, that all rows match may be concluded, too.
	switch o := f.filter.Outcomes(at); {
	case o.Certain():
		return fileWhole
	case !o.Possible():
		return fileByPartition
	}
	st, err := f.s.FileStats(a)
	if err != nil || st.MinValues == nil && st.MaxValues == nil && st.NullCount == nil {
		return fileFiltered
	}
	for i := range f.leaves {
		if l := &f.leaves[i]; l.partition < 0 {
			ranges[i] = statsRange(l.typ, len(l.path) > 1, st.NumRecords, within(st.MinValues, l.path), within(st.MaxValues, l.path), within(st.NullCount, l.path))
		}
	}
	if !f.filter.Outcomes(at).Possible() {
		return fileByStats
	}
	return fileFiltered
}

// within gives a value of nested statistics; nil where there is none.
func within(values map[string]json.RawMessage, path []string) json.RawMessage {
	for _, name := range path[:len(path)-1] {
		values = object(values[name])
	}
	if v := values[path[len(path)-1]]; string(v) != "null" {
		return v
	}
	return nil
}

// partitionRange is a partition column's one value. One that is no value of its
// type says nothing: who reads the file is told of it.
func (f *fileFilter) partitionRange(a *AddFile, l *filterLeaf) predicate.Range {
	text, err := f.s.partitionText(a, l.partition)
	if err != nil {
		return predicate.Range{}
	}
	add, err := partitionAppender(l.typ, text)
	if err != nil {
		return predicate.Range{}
	}
	b := array.NewBuilder(memory.DefaultAllocator, f.s.arrow.Field(l.partition).Type)
	defer b.Release()
	add(b, 1)
	arr := b.NewArray()
	defer arr.Release()
	if arr.IsNull(0) {
		return predicate.Range{Nulls: predicate.AllNulls}
	}
	v, ok := predicate.ValueAt(arr, 0)
	if !ok {
		return predicate.Range{Nulls: predicate.NoNulls}
	}
	return predicate.Range{Nulls: predicate.NoNulls, Min: &v, Max: &v, NaN: true}
}
