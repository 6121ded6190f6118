// Package cdc says what a change is and what a source of changes owes the
// engine that applies them. It holds no connection, no goroutine and no
// clock: package cdc/postgres reads a PostgreSQL server, package cdc/cdctest
// plays a script, and package lakehouse consumes either.
//
// Changes travel as columns: a [Batch] is an Arrow record batch of row images
// of one relation, with the operation, the transaction and the order of each
// beside it. Batches reach the engine in a [Chunk], which also says up to
// which commit everything has now been delivered.
package cdc
