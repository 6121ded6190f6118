// Package config reads lakeload.yaml. It is strict: every fault of the file
// is listed with its line, an unknown key names the nearest known one, and
// nothing is guessed. Environment variables, written ${NAME}, are expanded
// inside values.
package config

import (
	"time"
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
}

// Source is the database that is read.
type Source struct {
	URL string
	// PasswordFile is a file that holds the password and nothing else. A
	// relative path is relative to the folder of the configuration file.
	PasswordFile string
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
}

// Defaults hold for every table of which no rule says otherwise.
type Defaults struct {
	Mode []string
}

// Limits bound what is used.
type Limits struct {
	Memory            int64 // bytes
	SourceConnections int
}

// The words of the file.
const (
	Mirror     = "mirror"
	Changelog  = "changelog"
	Stop       = "stop"
	InsertOnly = "insert-only"
)

// version of the format of the file.
const version = 1
