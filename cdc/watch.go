package cdc

import "context"

// Watcher is a Source whose catalogue tells of what no stream does: tables that
// are dropped, rewritten by an ALTER TABLE that changes values, partitions that
// come with rows or go with them. Its methods may be called by several
// goroutines.
type Watcher interface {
	Source

	// Look tells of tables by their OIDs what the catalogue says now, whether
	// they are selected or not. One that does not exist is missing.
	Look(ctx context.Context, oids []uint32) (map[uint32]Look, error)

	// Compare tells what has happened to the rows of a table since an earlier
	// look, whose Relation is not needed, that the stream has not told and will
	// not tell. Empty where nothing has.
	Compare(ctx context.Context, was, is Look) ([]Notice, error)
}

// Look is what the catalogue says of a table.
type Look struct {
	Relation *Relation // its present shape
	// Text is what Compare has to know of the table later. While it stays the
	// same nothing has happened that Compare could tell of.
	Text string
	// Since is what Compare has to know of the time of the look. It is another
	// each time; an older one makes Compare tell of more than there is.
	Since string
}

// NoticeKind divides notices by what has happened.
type NoticeKind string

// The kinds.
const (
	// NoticeRewrite: values may have changed in all rows.
	NoticeRewrite NoticeKind = "rewrite"
	// NoticeColumns: columns came or have another type, and the rows were written
	// anew. A lake that had these columns before (see Relation.Files) has to take
	// it for a NoticeRewrite.
	NoticeColumns NoticeKind = "columns"
	// NoticePartition: rows came or went with a partition.
	NoticePartition NoticeKind = "partition"
	// NoticeSilent: the table's changes are not in the log any more.
	NoticeSilent NoticeKind = "silent"
)

// Notice is something that has happened to a table's rows and that the stream
// does not tell.
type Notice struct {
	Kind NoticeKind
	Text string // for people: "the partition public.orders_2024 was detached"
	// Emptied says of a NoticePartition that the partition is without the rows
	// that it had, as after a TRUNCATE of the table, of which the stream tells.
	// XID is the transaction that last did something to the partition, and
	// Whole says that all partitions were emptied.
	Emptied, Whole bool
	XID            uint32
}
