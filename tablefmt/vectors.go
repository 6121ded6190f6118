package tablefmt

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/lakeload/lakeload/tablefmt/dv"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// inlineVectorBytes is the greatest vector that is written into the log
// itself. Up to here (some 100 scattered rows of a file) it adds less to a
// log line than the file's statistics do, and saves every reader of the file
// a request to the store; a greater one would be copied into each checkpoint.
const inlineVectorBytes = 256

// WriteDeletionVectors makes vectors durable and gives their descriptors, in
// the same order, for [AddFile.WithVector]. Small vectors stand in their
// descriptors; all others go into one new file of the table's folder, which
// no commit names yet. A nil or empty vector is refused: a file without
// deleted rows has no vector.
func WriteDeletionVectors(ctx context.Context, loc Location, vectors []*dv.Bitmap) ([]dv.Descriptor, error) {
	out := make([]dv.Descriptor, len(vectors))
	var large []*dv.Bitmap
	var places []int
	for i, b := range vectors {
		if b == nil || b.IsEmpty() {
			return nil, fmt.Errorf("writing deletion vectors for table %s: vector %d is empty", loc, i)
		}
		// Beyond this a vector is small only if its rows lie in runs; encoding
		// a great one to find out is not worth it.
		if b.Cardinality() <= 8*inlineVectorBytes {
			if d := dv.Inline(b); d.SizeInBytes <= inlineVectorBytes {
				out[i] = d
				continue
			}
		}
		large, places = append(large, b), append(places, i)
	}
	if len(large) == 0 {
		return out, nil
	}
	ds, err := writeVectorFile(ctx, loc, large)
	if err != nil {
		return nil, fmt.Errorf("writing deletion vectors for table %s: %w", loc, err)
	}
	for i, d := range ds {
		out[places[i]] = d
	}
	return out, nil
}

func writeVectorFile(ctx context.Context, loc Location, vectors []*dv.Bitmap) ([]dv.Descriptor, error) {
	path, text, err := dv.NewFile("", uuid.New())
	if err != nil {
		return nil, err
	}
	w, err := loc.Data.Create(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer w.Abort()
	places, err := dv.WriteFile(w, vectors)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	out := make([]dv.Descriptor, len(places))
	for i, p := range places {
		out[i] = p.Descriptor(text)
	}
	return out, nil
}

// DeletionVector gives the rows of a logical file that are deleted; nil where
// it has no vector. The caller owns it. A vector that is missing or does not
// decode is ErrCorrupt.
func (s *Snapshot) DeletionVector(ctx context.Context, a *AddFile) (*dv.Bitmap, error) {
	b, err := readVector(ctx, s.loc, a)
	if err != nil {
		return nil, fmt.Errorf("reading the deletion vector of %s in table %s: %w", a.Path, s.loc, err)
	}
	return b, nil
}

func readVector(ctx context.Context, loc Location, a *AddFile) (*dv.Bitmap, error) {
	d := a.DeletionVector
	if d == nil {
		return nil, nil
	}
	if d.StorageType == dv.Inlined {
		b, err := d.DecodeInline()
		if err != nil {
			return nil, corrupt(a.Path, -1, err)
		}
		return b, nil
	}
	store, path, err := loc.findVector(d)
	if err != nil {
		return nil, unfound(a.Path, err)
	}
	r, err := store.Open(ctx, path)
	if errors.Is(err, objstore.ErrNotFound) {
		return nil, corrupt(path, -1, err)
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := d.Read(r)
	if errors.Is(err, dv.ErrCorrupt) {
		return nil, corrupt(path, -1, err)
	}
	return b, err
}
