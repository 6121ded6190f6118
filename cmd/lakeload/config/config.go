// Package config reads lakeload.yaml. It is strict: every fault of the file
// is listed with its line, an unknown key names the nearest known one, and
// nothing is guessed. Environment variables, written ${NAME}, are expanded
// inside values.
package config

import (
	"time"

	"github.com/lakeload/lakeload/lakehouse/mask"
)

// Config is what a file says. The zero value of a field means that the file
// does not say it.
type Config struct {
	Path string // of the file, as it was named

	Name     string // of the pipeline
	Source   Source
	Lake     Lake
	Tables   []Rule
	Defaults Defaults
	Limits   Limits
	Keyless  string // Stop or InsertOnly
	Listen   string // HOST:PORT, for metrics

	OnNewTable     string // Copy, Ask or Ignore
	OnSchemaChange SchemaChange
	OnLakeChange   string // Stop or Resync
	WALGuard       WALGuard
	Epochs         Epochs
}

// Source is the database that is read.
type Source struct {
	URL string
	// PasswordFile is a file that holds the password and nothing else. A
	// relative path is relative to the folder of the configuration file.
	PasswordFile string
	// WatchInterval is how often the catalogue is looked at for what no change
	// tells of.
	WatchInterval time.Duration
	Streaming     string        // On or Off
	Origin        string        // Any or None
	Heartbeat     time.Duration // negative: none
	// PasswordCommand is a program and its arguments that prints the password.
	PasswordCommand []string
	// PrimaryURL leads to the primary of a standby that is read.
	PrimaryURL string
	// Standby lets a standby be read; Failover makes a slot that standbys keep;
	// HonourFilters accepts a publication that somebody has narrowed.
	Standby, Failover, HonourFilters bool
}

// Lake is where the tables are written.
type Lake struct {
	URL       string
	Freshness time.Duration
}

// Rule selects tables: those that match any pattern of Match and none of
// Exclude. Later rules override what earlier ones say of a table, key by key.
type Rule struct {
	Match   []string
	Exclude []string
	Mode    []string // Mirror, Changelog; nil: as the rules before say
	// Types says of columns, by name, how their values are stored: Exact,
	// Text, Clamp or Stop. Columns that no rule names are Exact.
	Types map[string]string
	// Mask says of columns, by name, what is kept of their values. Masks of
	// several rules come together; of one column the last one counts.
	Mask map[string]mask.Mask
	// SaltFile is a file that holds the key of hashes and nothing else. A
	// relative path is relative to the folder of the configuration file.
	SaltFile string
	Kept     Kept
}

// Kept says how a table's rows are kept in the lake. nil and "" are what the
// rules before say.
type Kept struct {
	PartitionBy  []string // as package partition reads them; empty, not nil: by nothing
	Metadata     []string // IngestionTimestamp, SourceSystem; empty, not nil: none
	SourceSystem string   // the text of that column
	Delete       string   // Hard, Soft or Ignore
	Deletes      string   // Vectors or Rewrite
	ChangeFeed   string   // True or False
}

// Defaults hold for every table of which no rule says otherwise.
type Defaults struct {
	Mode []string
	Kept Kept
}

// SchemaChange says what is done when a table changes at the source.
type SchemaChange struct {
	Add       string // of a column: Evolve, Stop or Resync
	Drop      string // of a column: Keep, Drop, Stop or Resync
	Rename    string // of a column or the table: Rename, Stop or Resync
	Type      string // of a column: Stop, Resync or Cast
	Partition string // that came or went with rows: Stop, Resync or Keep
	Rewrite   string // of rows, by an ALTER TABLE that tells nobody: Stop, Resync or Keep
}

// WALGuard says how much log the source may have to keep for the pipeline.
type WALGuard struct {
	Warn, Act           int64 // bytes; negative: only the server's own limit counts
	WarnAfter, ActAfter time.Duration
	Do                  []string // DetachLargest, ReleaseSlot; or None alone
}

// Epochs says for how long the lake's states can be asked for.
type Epochs struct {
	Keep time.Duration // negative: for ever
}

// Limits bound what is used.
type Limits struct {
	Memory            int64 // bytes
	Spool             int64 // bytes
	SpoolFolder       string
	SourceConnections int
	CopyRate          int64 // bytes a second that copies read
	CopyRange         int64 // bytes of a table that are read in one transaction
}

// The words of the file.
const (
	Mirror     = "mirror"
	Changelog  = "changelog"
	True       = "true"
	False      = "false"
	Exact      = "exact"
	Text       = "text"
	Clamp      = "clamp"
	Stop       = "stop"
	InsertOnly = "insert-only"
	Copy       = "copy"
	Ask        = "ask"
	Ignore     = "ignore"
	Evolve     = "evolve"
	Keep       = "keep"
	Drop       = "drop"
	Rename     = "rename"
	Cast       = "cast"
	Resync     = "resync"
	On         = "on"
	Off        = "off"
	Any        = "any"
	None       = "none"
	Forever    = "forever"

	DetachLargest = "detach_largest"
	ReleaseSlot   = "release_slot"
	Hard          = "hard"
	Soft          = "soft"
	Vectors       = "vectors"
	Rewrite       = "rewrite"

	IngestionTimestamp = "ingestion_timestamp"
	SourceSystem       = "source_system"
)

// version of the format of the file.
const version = 1
