// Package cdctest plays a database: a [World] holds tables and a log of
// committed transactions in memory, and its [Source] handles keep the whole
// contract of package cdc, down to what a replication slot remembers. It is
// for testing what consumes a source, without a server, a goroutine or a
// clock of its own: the same seed and the same calls give the same chunks.
// It works inside a testing/synctest bubble if the World is made there.
//
// The World also knows the truth: [World.State] is the exact content that a
// table had at any position, and [World.Violations] lists what a consumer has
// done that its contract forbids.
//
// [TestSource] is the conformance suite for sources. The scripted source
// passes it here; package cdc/postgres runs it against real servers.
package cdctest
