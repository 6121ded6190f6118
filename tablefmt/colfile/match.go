package colfile

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
)

// FileNameKey is the key of an Arrow field's metadata that holds the name that
// the column, or the field of a struct, has in the file, where that is not the
// Arrow field's own. A [Writer] writes that name, in its statistics too, and
// ReadOptions.Schema looks for it. Elements of lists and maps have no names.
const FileNameKey = "lakeload:file_name"

// fileName is the name that a field has in the file.
func fileName(f *arrow.Field) string {
	if name, ok := f.Metadata.GetValue(FileNameKey); ok {
		return name
	}
	return f.Name
}

// fieldID is the id that an Arrow field carries; ok is false where it has none.
func fieldID(f *arrow.Field) (id int32, ok bool, err error) {
	text, ok := f.Metadata.GetValue(FieldIDKey)
	if !ok {
		return 0, false, nil
	}
	v, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, false, unsupportedf("field id %q", text)
	}
	return int32(v), true, nil
}

// match finds the field of a struct that a wanted field is; nil where the file
// lacks it. byID says that ids tell, else names do.
func (n *readNode) match(f *arrow.Field, byID bool) (*readNode, error) {
	if !byID {
		return n.named(fileName(f))
	}
	id, ok, err := fieldID(f)
	if err != nil {
		return nil, err
	}
	if !ok {
		if name, ok := f.Metadata.GetValue(FileNameKey); ok {
			return n.child(name), nil
		}
		return nil, nil
	}
	var found *readNode
	for _, c := range n.children {
		if c.id != id {
			continue
		}
		if found != nil {
			return nil, corruptf("fields %q and %q both have the id %d", found.field.Name, c.field.Name, id)
		}
		found = c
	}
	return found, nil
}

// named finds the field of a struct by its name: the very one, or else one that
// differs by case alone, as Delta's names do not differ by it. Two of those are
// an error, for either could be meant.
func (n *readNode) named(name string) (*readNode, error) {
	if c := n.child(name); c != nil {
		return c, nil
	}
	var found *readNode
	for _, c := range n.children {
		if !strings.EqualFold(c.field.Name, name) {
			continue
		}
		if found != nil {
			return nil, corruptf("fields %q and %q are both called %q but for case", found.field.Name, c.field.Name, name)
		}
		found = c
	}
	return found, nil
}

// checkIDs refuses a file whose columns have no ids, in which nothing could be
// found by them: all of its values would silently be null.
func (f *File) checkIDs() error {
	for _, c := range f.root.children {
		if c.id != 0 {
			return nil
		}
	}
	return fmt.Errorf("%w in any of the file's %d columns", ErrNoFieldIDs, len(f.root.children))
}
