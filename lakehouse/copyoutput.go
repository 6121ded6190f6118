package lakehouse

import (
	"context"
	"errors"
	"fmt"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/keyindex"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/tablefmt"
)

// copyOutput writes rows that were read for a copy into data files of one
// table of the lake, files of its own. It is used by one goroutine.
type copyOutput struct {
	table  *table
	stager *stager
	at     cdc.LSN    // where a changelog shows the rows
	hasher *keyHasher // nil: nobody asks where the keys are
	rows   *rowHasher // in its place for a table whose rows are their own keys
	hashes []keyindex.Hash
}

// keyRun says where the keys of some rows are: one after the other from a
// place on.
type keyRun struct {
	at     place
	hashes []keyindex.Hash
}

// newCopyOutput writes for a table with this schema and metadata.
func newCopyOutput(ctx context.Context, spec tableSpec, rel *cdc.Relation, schema *tablefmt.Schema, md *tablefmt.Metadata, at cdc.LSN) (*copyOutput, error) {
	o := &copyOutput{table: &table{spec: spec, key: keyNames(rel)}, at: at}
	if err := o.table.setSchema(schema); err != nil {
		return nil, err
	}
	o.stager = o.table.newStager(ctx)
	switch {
	case spec.mode != ModeMirror:
	case len(rel.Key) > 0:
		o.hasher = &keyHasher{hasher: newHasher(md)}
	case isBag(rel):
		o.rows = &rowHasher{hasher: newHasher(md)}
	}
	return o, nil
}

// write appends a batch's rows. The hashes of the run are good until the next
// call. A schema that gains the column of exact texts is in o.table.schema.
func (o *copyOutput) write(b *cdc.Batch) (keyRun, error) {
	run, err := o.writeRows(b)
	var stop *stopError
	if errors.As(err, &stop) {
		return run, fmt.Errorf("%w: %w", cdc.ErrTableChanged, err)
	}
	return run, err
}

// seqCopied is the _seq of a row that a copy has read: before every change at
// the same position.
const seqCopied = -1

func (o *copyOutput) writeRows(b *cdc.Batch) (keyRun, error) {
	if err := o.table.adapt(b.Relation); err != nil {
		return keyRun{}, err
	}
	if len(b.Exact) > 0 && o.table.schema.Index(typemap.Exact) < 0 {
		if err := o.stager.finish(); err != nil {
			return keyRun{}, err
		}
		if err := o.table.needExact([]*cdc.Batch{b}); err != nil {
			return keyRun{}, err
		}
	}
	rows := *b // read, not committed: they stand where the copy's reader saw them
	rows.Txns, rows.Seqs = []cdc.TxnSpan{{Txn: cdc.Txn{Commit: o.at}}}, make([]int64, b.Len())
	for i := range rows.Seqs {
		rows.Seqs[i] = seqCopied
	}
	rec := o.table.record(b, changeColumns(&rows, opSnapshot))
	defer rec.Release()
	at, err := o.stager.write(rec, rowsFrom(0, b.Len()))
	if err != nil || o.hasher == nil && o.rows == nil {
		return keyRun{at: at}, err
	}
	if cap(o.hashes) < b.Len() {
		o.hashes = make([]keyindex.Hash, b.Len())
	}
	o.hashes = o.hashes[:b.Len()]
	if o.rows != nil {
		err = o.rows.hashBatch(o.table, b, 0, o.hashes)
	} else {
		err = o.hasher.hashRows(keyColumns(b), exactOf(b), 0, o.hashes)
	}
	return keyRun{at, o.hashes}, err
}
