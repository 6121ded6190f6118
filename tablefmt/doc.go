// Package tablefmt reads and writes Delta Lake tables: the transaction log,
// its replay to a [Snapshot], the [Transaction] that adds one version to it,
// checkpoints, and the rows of the data files as Arrow record batches. It
// follows the Delta protocol (PROTOCOL.md of delta-io/delta); doc comments
// name its sections.
//
// # Reading
//
// [Load] gives a table's newest snapshot, [LoadAt] and [LoadAsOf] an older
// one, [Snapshot.Update] follows newer commits at the price of those commits
// alone. A snapshot never changes; any number of goroutines may use it.
// [Snapshot.Scan] gives its rows, or those that a condition of package predicate
// holds for, [Snapshot.ReadFile] one file's.
//
// [PlanChanges] and [ChangePlan.Read], or [Changes] for both, give the rows that
// changed in a range of versions: as the change data feed tells them, or derived
// from the files that came and went.
//
// # Writing
//
// [Snapshot.NewFileWriter] makes data files as a table's properties, features and
// rules want them, [NewFileWriter] such as know of no table; [WriteDeletionVectors]
// makes deletion vectors;
// neither is part of the table until a commit names it. [NewChangeFileWriter]
// makes the files of a change data feed, which [Transaction.AddCDC] names. [Begin] starts a
// transaction, [Transaction.Commit] adds it to the log with one put-if-absent
// of one JSON file. A commit that loses a race is judged by a pure function
// and either rebased or refused with a [ConflictError]. A commit whose outcome
// is unknown is read back: its commit id tells whether it is ours.
//
// # Names and types that change
//
// The columns of a table may have other names in its files than in its schema
// (Column Mapping), so that they can be renamed and dropped without a file
// being written anew, and may have been narrower when a file was written (Type
// Widening). Whoever reads or writes rows sees neither: rows have the schema's
// names and types. What the log says of a file has physical names:
// [Snapshot.PartitionValues], [Snapshot.FileStats] and [Snapshot.NewFileWriter]
// translate. [Metadata.SetSchema] changes a schema as the protocol wants it.
//
// # What is refused
//
// A table that needs a protocol feature that is not implemented here is
// refused by the feature's name ([UnsupportedFeatureError]). A log that
// breaks the protocol's rules is refused with an error for which
// errors.Is(err, ErrCorrupt) holds and which names the file and version.
// Unknown actions and unknown fields of known actions are ignored, as the
// protocol demands.
package tablefmt
