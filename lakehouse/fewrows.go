package lakehouse

import (
	"slices"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/keyindex"
	"github.com/lakeload/lakeload/lakehouse/typemap"
)

// fewRows are rows of both sides that may turn out to differ, as far as there is
// room for all of them.
type fewRows struct {
	mu           sync.Mutex // guards what follows; readers share it
	room         int64      // bytes that are left
	over         bool       // there are too many: none is held
	source, lake []*hashed
}

// take holds some rows.
func (f *fewRows) take(h *hashed, rows []int32) error {
	f.mu.Lock()
	over := f.over
	f.mu.Unlock()
	if over || len(rows) == 0 {
		return nil
	}
	few, bytes, err := h.few(rows)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.room -= bytes; f.over || f.room < 0 {
		few.release()
		f.over = true
		f.forget()
		return nil
	}
	if few.batch != nil {
		f.source = append(f.source, few)
	} else {
		f.lake = append(f.lake, few)
	}
	return nil
}

// each gives rows of one side to a pass, or has them read where they are not
// held.
func (f *fewRows) each(list []*hashed, begin func() pass, read func() error) error {
	if f.over {
		return read()
	}
	p := begin()
	for _, h := range list {
		if err := p.rows(h); err != nil {
			return err
		}
	}
	p.end()
	return nil
}

func (f *fewRows) forget() {
	for _, h := range slices.Concat(f.source, f.lake) {
		h.release()
	}
	f.source, f.lake = nil, nil
}

// drop lets go of all rows.
func (f *fewRows) drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forget()
}

// few gives some rows as rows of their own, without their hashes, but those of
// the keys; and about how many bytes they take. Whoever has them releases them.
func (h *hashed) few(rows []int32) (*hashed, int64, error) {
	few := &hashed{of: h.of, file: h.file, at: make([]int64, len(rows)), rows: rowsFrom(0, len(rows)), key: make([]keyindex.Hash, len(rows))}
	var of arrow.RecordBatch
	if of = h.stored; h.batch != nil {
		of = h.batch.Rows
	}
	rec, err := copyRows(of, rows)
	if err != nil {
		return nil, 0, err
	}
	for n, i := range rows {
		few.key[n], few.at[n] = h.key[i], int64(h.place(i))
	}
	bytes := heldBytes(rec) + int64(len(rows))*(8+4+int64(len(keyindex.Hash{})))
	if h.batch == nil {
		few.stored = rec
		if h.gone != nil {
			few.gone = rec.Column(rec.Schema().FieldIndices(typemap.ColDeleted)[0]).(*array.Boolean)
		}
		return few, bytes, nil
	}
	b := h.batch
	few.batch = &cdc.Batch{Relation: b.Relation, Rows: rec, Ops: make([]cdc.Op, len(rows)), Faults: b.Faults}
	for _, e := range b.Exact {
		if n, ok := slices.BinarySearch(rows, int32(e.Row)); ok {
			few.batch.Exact = append(few.batch.Exact, cdc.Exact{Row: n, Col: e.Col, Text: e.Text})
			bytes += int64(len(e.Text))
		}
	}
	return few, bytes, nil
}

// release gives back what few has copied.
func (h *hashed) release() {
	if h.batch != nil {
		h.batch.Release()
	} else {
		h.stored.Release()
	}
}
