package tablefmt

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// PartitionValues gives a file's partition values by the names of the schema's
// columns, nil for null, in the form that the columns' present types have: what
// was written of a narrower type is not what every reader takes for a value of
// a wider one. It is what [Snapshot.NewFileWriter] wants for the same
// partition. A value that is missing or no value of its type is ErrCorrupt.
func (s *Snapshot) PartitionValues(a *AddFile) (map[string]*string, error) {
	out := make(map[string]*string, len(s.PartitionColumns()))
	for _, name := range s.PartitionColumns() {
		v, err := s.partitionValue(a, s.st.schema.Index(name))
		if err != nil {
			return nil, corrupt(a.Path, -1, fmt.Errorf("partition column %q: %w", name, err))
		}
		out[name] = v
	}
	return out, nil
}

// partitionValue gives a file's value of the partition column at a place in the
// schema.
func (s *Snapshot) partitionValue(a *AddFile, at int) (*string, error) {
	text, err := s.partitionText(a, at)
	if err != nil {
		return nil, err
	}
	value, err := partitionAppender(s.st.schema.Fields[at].Type, text)
	if err != nil {
		return nil, err
	}
	b := array.NewBuilder(memory.DefaultAllocator, s.arrow.Field(at).Type)
	defer b.Release()
	value(b, 1)
	arr := b.NewArray()
	defer arr.Release()
	return FormatPartitionValue(arr, 0)
}

// partitionText is what the log says of a file's value of a partition column.
func (s *Snapshot) partitionText(a *AddFile, at int) (*string, error) {
	physical := s.st.mapping.physicalName(&s.st.schema.Fields[at])
	text, ok := a.PartitionValues[physical]
	if !ok && s.st.mapping != MappingNone {
		return nil, fmt.Errorf("there is no value under its physical name %q", physical)
	}
	return text, nil
}
