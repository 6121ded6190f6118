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

// newCopyOutput writes for a table with this schema. log is the copy's, which says
// how files are written.
func newCopyOutput(ctx context.Context, spec tableSpec, rel *cdc.Relation, schema *tablefmt.Schema, log *tablefmt.Snapshot, at cdc.LSN) (*copyOutput, error) {
	o := &copyOutput{table: &table{spec: spec, snap: log, key: keyNames(rel), parts: log.PartitionColumns()}, at: at}
	if err := o.table.setSchema(schema); err != nil {
		return nil, err
	}
	o.stager = o.table.newStager(ctx)
	switch {
	case spec.mode != ModeMirror:
	case len(rel.Key) > 0:
		o.hasher = &keyHasher{hasher: newHasher(log.Metadata())}
	case isBag(rel):
		o.rows = &rowHasher{hasher: newHasher(log.Metadata())}
	}
	return o, nil
}

// write appends a batch's rows, and tells, by the time that the output is
// finished, where their keys are. The hashes of a run are good until told
// returns. A schema that gains the column of exact texts is in o.table.schema.
func (o *copyOutput) write(b *cdc.Batch, told func(keyRun) error) error {
	err := o.table.adapt(b.Relation)
	var stop *stopError
	if errors.As(err, &stop) {
		return fmt.Errorf("%w: %w", cdc.ErrTableChanged, err)
	}
	if err != nil {
		return err
	}
	return o.writeRows(b, told)
}

func (o *copyOutput) writeRows(b *cdc.Batch, told func(keyRun) error) error {
	if len(b.Exact) > 0 && o.table.schema.Index(typemap.Exact) < 0 {
		if err := o.stager.finish(); err != nil {
			return err
		}
		if err := o.table.needExact([]*cdc.Batch{b}); err != nil {
			return err
		}
	}
	rows := *b // read, not committed: they stand where the copy's reader saw them
	rows.Txns, rows.Seqs = []cdc.TxnSpan{{Txn: cdc.Txn{Commit: o.at}}}, make([]int64, b.Len())
	for i := range rows.Seqs {
		rows.Seqs[i] = seqCopied(&o.table.spec.state)
	}
	rec, err := o.table.record(b, changeColumns(&rows, opSnapshot))
	if err != nil {
		return err
	}
	defer rec.Release()
	if o.hasher == nil && o.rows == nil {
		return o.stager.write(rec, rowsFrom(0, b.Len()), anywhere)
	}
	hashes, err := o.hash(b)
	if err != nil {
		return err
	}
	return o.stager.write(rec, rowsFrom(0, b.Len()), func(part []int, at place) error {
		return told(keyRun{at, chosen(hashes, part)})
	})
}

// hash gives the hashes of a batch's rows. Where rows wait to be written they
// are kept with them.
func (o *copyOutput) hash(b *cdc.Batch) (_ []keyindex.Hash, err error) {
	if cap(o.hashes) < b.Len() || len(o.table.added.partition) > 0 {
		o.hashes = make([]keyindex.Hash, b.Len())
	}
	o.hashes = o.hashes[:b.Len()]
	if o.rows != nil {
		err = o.rows.hashBatch(o.table, b, 0, o.hashes)
	} else {
		err = o.hasher.hashRows(keyColumns(b), exactOf(b), 0, o.hashes)
	}
	return o.hashes, err
}
