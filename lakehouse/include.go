package lakehouse

import (
	"context"
	"fmt"
	"slices"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/keyindex"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/tablefmt"
)

// include stages files that were written for the table elsewhere.
func (t *table) include(_ context.Context, in *rangeFiles, mark string, v cdc.View) error {
	for i := range in.schema.Fields {
		if f := &in.schema.Fields[i]; f.Name != typemap.Exact && t.schema.Index(f.Name) < 0 {
			return stopf(remedyResync, "rows were read with a column %q that the copy does not have", f.Name)
		}
	}
	if in.schema.Index(typemap.Exact) >= 0 && t.schema.Index(typemap.Exact) < 0 {
		if err := t.addExact(); err != nil {
			return err
		}
	}
	t.files = append(t.files, in.files...)
	t.note(mark, v)
	return nil
}

// note stages a mark of the copy's log.
func (t *table) note(mark string, v cdc.View) {
	if t.marks == nil {
		t.marks = map[string]int64{}
	}
	t.marks[mark] = int64(v.Horizon)
	t.staged = true
}

// move goes on with the table that the copy was published as.
func (t *table) move(_ context.Context, spec tableSpec, snap *tablefmt.Snapshot, cut cdc.LSN) error {
	t.spec = spec
	return t.committed(snap, cut)
}

// include notes besides where the keys are.
func (m *mirrorWriter) include(ctx context.Context, in *rangeFiles, mark string, v cdc.View) error {
	if err := m.table.include(ctx, in, mark, v); err != nil {
		return err
	}
	if err := m.beginChange(ctx); err != nil {
		return err
	}
	for _, f := range in.files {
		m.views[m.index.FileID(f.add.Path)] = &fileView{add: f.add, staged: f}
	}
	var entries []keyindex.Entry
	for _, run := range in.runs {
		entries = appendEntries(entries[:0], m.index, run)
		if err := m.change.Put(ctx, entries); err != nil {
			return fmt.Errorf("the key index of %s: %w", &m.spec, err)
		}
	}
	return nil
}

// move lets the key index, whose places stay what they are, show the published
// table.
func (m *mirrorWriter) move(ctx context.Context, spec tableSpec, snap *tablefmt.Snapshot, cut cdc.LSN) error {
	clear(m.views)
	if m.change != nil {
		m.change.Rollback()
		m.change = nil
	}
	if err := m.table.move(ctx, spec, snap, cut); err != nil {
		return err
	}
	m.anew = spec.state.rewrites(snap)
	if err := m.index.Change().Commit(ctx, stampOf(snap)); err != nil {
		return fmt.Errorf("the key index of %s: %w", &m.spec, err)
	}
	return nil
}

var (
	_ copying = (*mirrorWriter)(nil)
	_ copying = (*changelogWriter)(nil)
)

// addExact stages the column for exact texts.
func (t *table) addExact() error {
	shape := t.shape
	next := &tablefmt.Schema{Fields: append(slices.Clone(t.schema.Fields), typemap.ExactField())}
	if err := t.stageSchema(next); err != nil || shape == nil {
		return err
	}
	t.place(shape)
	return nil
}
