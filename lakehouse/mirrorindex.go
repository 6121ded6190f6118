package lakehouse

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/google/uuid"

	"github.com/lakeload/lakeload/lakehouse/keyindex"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/tablefmt"
)

// openMirror makes the writer of a mirror, with a key index that shows it.
func openMirror(ctx context.Context, t *table) (*mirrorWriter, error) {
	m := &mirrorWriter{table: t, views: map[keyindex.FileID]*fileView{}}
	m.bag = t.snap.Property(propBag) == "true"
	m.keep = DeleteMode(t.snap.Property(propDelete))
	m.anew = t.spec.state.rewrites(t.snap)
	if len(t.key) == 0 && !m.bag {
		return m, nil
	}
	m.hasher.hasher = newHasher(t.snap.Metadata())
	if t.spec.indexDir != "" {
		index, err := keyindex.OpenAny(ctx, indexOptions(&t.spec, liveRows(t.snap)))
		if err != nil && !errors.Is(err, keyindex.ErrUnfit) {
			return nil, fmt.Errorf("opening the key index of %s: %w", &t.spec, err)
		}
		if err == nil {
			m.index = index
			t.spec.meter.indexed(index)
		}
	}
	if err := m.fitIndex(ctx); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// newHasher is keyed by the table's id, so that whoever chooses keys at the
// source cannot choose hashes.
func newHasher(md *tablefmt.Metadata) keyindex.Hasher {
	id, err := uuid.Parse(md.ID)
	if err != nil {
		id = uuid.NewSHA1(uuid.NameSpaceOID, []byte(md.ID))
	}
	return keyindex.NewHasher(id)
}

func indexOptions(spec *tableSpec, rows int64) keyindex.Options {
	return keyindex.Options{Dir: spec.indexDir, Memory: spec.indexMemory(rows)}
}

func stampOf(snap *tablefmt.Snapshot) keyindex.Stamp {
	return keyindex.Stamp{Table: snap.Metadata().ID, Version: snap.Version(), Commit: snap.CommitID()}
}

// createIndex makes an index for a table that is to have so many rows, as far as
// is known.
func createIndex(ctx context.Context, spec *tableSpec, rows int64) (keyindex.Index, error) {
	if spec.indexDir == "" {
		index := keyindex.NewMemory()
		spec.meter.indexed(index)
		return index, nil
	}
	index, err := keyindex.Create(ctx, indexOptions(spec, rows))
	if err != nil {
		return nil, fmt.Errorf("making the key index of %s: %w", spec, err)
	}
	spec.meter.indexed(index)
	return index, nil
}

// freshIndex replaces the index by an empty one.
func (m *mirrorWriter) freshIndex(ctx context.Context) error {
	if m.change != nil {
		m.change.Rollback()
		m.change = nil
	}
	if m.index != nil {
		if err := m.index.Close(); err != nil {
			return fmt.Errorf("closing the key index of %s: %w", &m.spec, err)
		}
		m.index = nil
	}
	clear(m.views) // their ids were the old index's
	index, err := createIndex(ctx, &m.spec, liveRows(m.snap))
	m.index = index
	return err
}

// storedKey finds the key's columns, and their exact texts, in rows of the
// lake.
func storedKey(rec arrow.RecordBatch, key []string, hasExact bool) ([]arrow.Array, exactText) {
	cols := make([]arrow.Array, len(key))
	for i, k := range key {
		cols[i] = rec.Column(rec.Schema().FieldIndices(k)[0])
	}
	if !hasExact {
		return cols, nil
	}
	texts := rec.Column(rec.Schema().FieldIndices(typemap.Exact)[0]).(*array.Map)
	return cols, func(row, keyColumn int) (string, bool) { return mapText(texts, row, key[keyColumn]) }
}

// mapText looks a key up in a row of a map column.
func mapText(m *array.Map, row int, key string) (string, bool) {
	if m.IsNull(row) {
		return "", false
	}
	start, end := m.ValueOffsets(row)
	keys, items := m.Keys().(*array.String), m.Items().(*array.String)
	for i := start; i < end; i++ {
		if keys.Value(int(i)) == key {
			return items.Value(int(i)), true
		}
	}
	return "", false
}
