package cdc

import "context"

// KeyRanges divides the possible keys of a table, in the order of the key:
// every key is in exactly one range. It never changes and may be used by any
// number of goroutines.
type KeyRanges interface {
	// Len is the number of ranges, at least one.
	Len() int

	// Of tells the range of a row image's key, which may be any image of the
	// table in the shape that was divided: an old one has its key, too.
	Of(b *Batch, row int) int

	// Range describes a range, for people and for progress.
	Range(i int) Range

	// Text is what [KeyReader.Restore] makes the same ranges of, also after a
	// restart.
	Text() string
}

// KeyReader is a Source that can read a table by ranges of its key, each
// range in a short transaction of its own, so that a copy can be taken up
// again where it was cut off and holds nothing back at the source for long.
// Its methods may be called by several goroutines.
type KeyReader interface {
	Source

	// Divide divides a table. Nil and no error where it should be read under
	// one Snapshot instead: it has no key, a key whose order cannot be
	// reproduced here, or is so small that it is not worth it.
	Divide(ctx context.Context, rel *Relation) (KeyRanges, error)

	// Restore makes ranges of their Text. An error where they do not fit the
	// table's present shape (ErrTableChanged) or the text is not understood.
	Restore(ctx context.Context, rel *Relation, text string) (KeyRanges, error)

	// Settle waits until every transaction that is in progress now has ended
	// and is seen by whoever looks from then on. It is called before the first
	// read of a table: of the transactions that were delivered, or left out
	// because the table was not published yet, none is then unseen. It may
	// take as long as the longest of them.
	Settle(ctx context.Context) error

	// Seen is the view that a read would have that began now.
	Seen(ctx context.Context) (View, error)

	// Running tells what Settle is waiting for, for people; empty where nothing.
	Running(ctx context.Context) (string, error)

	// BeginRead takes a connection, of a bounded number of them, and makes
	// sure that nobody empties, rewrites or alters the table until Close. It
	// sees nothing yet.
	BeginRead(ctx context.Context, rel *Relation, ranges KeyRanges) (KeyRead, error)
}

// KeyRead is one transaction that reads ranges of one table. It is used by one
// goroutine, and does not outlive its KeyReader.
type KeyRead interface {
	// View is taken by the first call: from here on this read sees what the
	// view holds and nothing else. ErrTableChanged where the table is not in
	// the shape and the files that were divided.
	View(ctx context.Context) (View, error)

	// Range reads the rows of a range, after View. emit gets batches of
	// inserts without Seqs and Txns, and owns them; an error of emit ends
	// Range with that error. When Range returns nil everything that the view
	// holds is durable at the source: no crash of it takes back what was read.
	Range(ctx context.Context, i int, emit func(*Batch) error) error

	// Row reads the row that has the key of a row image, if there is one, in
	// the same way.
	Row(ctx context.Context, b *Batch, row int, emit func(*Batch) error) error

	// Close ends the transaction.
	Close() error
}
