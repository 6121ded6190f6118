package postgres

import "github.com/lakeload/lakeload/cdc"

// flush ends the batch of one shape of a table, because something else of the
// table follows.
func (d *decoder) flush(r *relation) {
	r.txn = 0
	if r.builder == nil {
		return
	}
	if batch := r.builder.finish(); batch != nil {
		d.items = append(d.items, cdc.Item{Relation: batch.Relation, Batch: batch})
	}
}

// hasRows reports whether the chunk holds anything but progress.
func (d *decoder) hasRows() bool { return d.rows > 0 || len(d.items) > 0 }

// hasProgress reports whether the cut has moved since the last chunk.
func (d *decoder) hasProgress() bool { return d.cut > d.given }

// full reports whether the chunk has to be handed over.
func (d *decoder) full() bool { return d.bytes >= chunkBytes || d.rows >= chunkRows }

// take hands out the chunk, which the caller owns, and begins the next one.
// Inside a transaction the chunk is Open.
func (d *decoder) take() *cdc.Chunk {
	for _, r := range d.listed {
		r.listed = false
		d.flush(r)
	}
	c := &cdc.Chunk{
		Items: d.items, Cut: d.cut, CutTime: d.cutTime, Open: d.open && d.seq > 0 && !d.skip,
		Transactions: d.completed, Bytes: d.bytes,
	}
	d.items, d.listed, d.rows, d.bytes, d.completed = nil, d.listed[:0], 0, 0, 0
	d.given = d.cut
	return c
}

// discard gives back the memory of what has not been handed out, and the
// spools.
func (d *decoder) discard() {
	d.leaveProgress()
	for i := range d.items {
		d.items[i].Batch.Release()
	}
	d.items = nil
	for _, r := range d.listed {
		if r.builder != nil {
			r.builder.discard()
		}
	}
	d.listed = nil
}
