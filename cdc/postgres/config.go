package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

// KeylessPolicy says what becomes of a selected table that has no usable
// replica identity: an UPDATE of it could not be published, and publishing it
// would make the application's own UPDATE fail.
type KeylessPolicy int

// The policies.
const (
	// KeylessStop refuses to publish such a table and says what mends it.
	KeylessStop KeylessPolicy = iota
	// KeylessInsertOnly publishes its inserts and truncates alone.
	KeylessInsertOnly
)

// StreamingMode says when a transaction is taken from the server.
type StreamingMode int

// The modes.
const (
	// StreamingOn takes large transactions while they are in progress and keeps
	// them, so that they arrive soon after their commit and the server does not
	// have to write them to its disk.
	StreamingOn StreamingMode = iota
	// StreamingOff takes transactions when they have committed.
	StreamingOff
)

// Origin says which changes are wanted.
type Origin int

// The origins.
const (
	// OriginAny takes all changes.
	OriginAny Origin = iota
	// OriginNone takes only those that were made on the source itself, not those
	// that it has replicated from elsewhere. PostgreSQL 16 or newer.
	OriginNone
)

// Config says which database is read, and what of it.
type Config struct {
	// DSN is a connection URL ("postgres://user@host/db?sslmode=verify-full")
	// or libpq's keyword form. The usual PG* environment variables and
	// ~/.pgpass fill in what it leaves out. Session settings in it are
	// overridden where the meaning of values depends on them.
	DSN string
	// PasswordFile, if not "", holds the password (trailing line ends are cut
	// off). It is read again for each connection, so it may be rotated.
	PasswordFile string
	// PasswordCommand, if not empty, is a program and its arguments that prints
	// the password. It is run for each connection, without a shell, and ended
	// after 30 s. What it prints is told nowhere, what it complains about in the
	// error.
	PasswordCommand []string
	// Password, if set, is asked for each connection: short-lived tokens. At
	// most one of Password, PasswordFile and PasswordCommand may be set; each
	// overrides the DSN.
	Password func(ctx context.Context) (string, error)

	// PrimaryDSN, if not "", leads to the primary of a standby that is read:
	// publications are made there, and snapshots asked for. The same password
	// is used.
	PrimaryDSN string
	// AllowStandby lets a standby (of PostgreSQL 16 or newer) be read. Else one
	// is waited for until it is promoted, and of several hosts in the DSN the
	// one that can be written to is used, unless it has target_session_attrs.
	AllowStandby bool

	// Slot is the name of the main slot: 1 to 63 of a-z, 0-9 and _.
	Slot string
	// Publication names the publication of the tables with a key; the one of
	// those without is called the same with "_inserts" after it.
	Publication string

	// Tables are the patterns of the tables to read: "schema.table", where *
	// stands for any run of characters and ? for one. A name with a dot, a
	// star or a question mark in it is put in double quotes. Case counts.
	Tables []string
	// Exclude are patterns, too, and win over Tables and All.
	Exclude []string
	// All selects every table but those that belong to extensions.
	All bool
	// Keyless is the policy for tables without a usable identity.
	Keyless KeylessPolicy

	// Types says of columns how their values are stored; columns that no rule
	// names have PolicyExact.
	Types []TypeRule

	// Connections bounds the connections that a snapshot is read with; 0 is 4.
	// There are up to three more: for the catalogue, for the snapshot's locks,
	// and for the stream; on a standby, for a moment, a fourth.
	Connections int
	// RangeBytes is about how much of a table is read at a time, out-of-line
	// values included; 0 is 32 MiB. A table of which there are a few such
	// ranges is read by them, each in a transaction of its own.
	RangeBytes int64
	// CopyRate bounds what is read from tables that are copied, in bytes a
	// second over all connections; 0 does not.
	CopyRate int64
	// TakeOver lets the first Stream, and DropSlot, end the server process that
	// holds the slot. Only for when that session is known to be dead. Later
	// streams never do so: what lost the slot to another program must not take
	// it back, or the two would stop each other for ever.
	TakeOver bool
	// Failover makes the slot one that standbys keep (PostgreSQL 17), so that a
	// promoted one can go on with it.
	Failover bool
	// HonourFilters accepts a publication that somebody else has narrowed by
	// row filters or column lists: the lake then holds just what it publishes.
	// Else such a publication is refused.
	HonourFilters bool

	// WALSample is how long Check looks at the server's log to tell how fast it
	// grows; 0: it does not look.
	WALSample time.Duration

	// Streaming says whether large transactions are taken while they are in
	// progress. The zero value takes them.
	Streaming StreamingMode
	// SpoolDir is the folder for what is kept of transactions in progress; "" is
	// one of this user's in the system's folder for temporary files. Several
	// sources may share it. Nothing in it is of use after a restart.
	SpoolDir string
	// SpoolBytes bounds what is kept there, in bytes on disk; 0 is 20 GiB.
	// Beyond it the server has to keep the rest: the stream ends with an error
	// to retry, and the next one takes only whole transactions until the large
	// ones are over.
	SpoolBytes int64
	// Origin says which changes are wanted, by where they were made.
	Origin Origin
	// Heartbeat is how long no data may come before a small message is written
	// into the server's log, to see it come back; 0 is a minute, and a negative
	// one writes none.
	Heartbeat time.Duration

	// Logger gets what is worth knowing; nil drops it.
	Logger *slog.Logger
	// Allocator gives the memory of the batches; nil is Arrow's default.
	Allocator memory.Allocator
}

const defaultConnections = 4

var slotName = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)

// validate lists all faults at once.
func (c *Config) validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !slotName.MatchString(c.Slot) {
		fault("the slot's name %q is not 1 to 63 lower-case letters, digits and underscores", c.Slot)
	}
	if n := len(c.Publication); n == 0 || n > maxIdentifier-len(insertsSuffix) || strings.ContainsRune(c.Publication, 0) {
		fault("the publication's name %q is not 1 to %d bytes long", c.Publication, maxIdentifier-len(insertsSuffix))
	}
	if len(c.Tables) == 0 && !c.All {
		fault("no table is selected: name tables, or ask for all")
	}
	for _, p := range append(append([]string(nil), c.Tables...), c.Exclude...) {
		if _, err := parsePattern(p); err != nil {
			faults = append(faults, err)
		}
	}
	if _, err := newTypePolicies(c.Types); err != nil {
		faults = append(faults, err)
	}
	given := 0
	for _, yes := range []bool{c.Password != nil, c.PasswordFile != "", len(c.PasswordCommand) > 0} {
		if yes {
			given++
		}
	}
	if given > 1 {
		fault("more than one of password file, password command and password function is given")
	}
	if len(c.PasswordCommand) > 0 && c.PasswordCommand[0] == "" {
		fault("the password command names no program")
	}
	if c.PrimaryDSN != "" && !c.AllowStandby {
		fault("a primary is named for a standby, but a standby is not to be read")
	}
	if c.Connections < 0 {
		fault("the number of connections %d is negative", c.Connections)
	}
	if c.RangeBytes < 0 || c.CopyRate < 0 {
		fault("the size of a range, %d, or the rate of copies, %d, is negative", c.RangeBytes, c.CopyRate)
	}
	if c.Streaming != StreamingOn && c.Streaming != StreamingOff {
		fault("the streaming mode %d is unknown", c.Streaming)
	}
	if c.Origin != OriginAny && c.Origin != OriginNone {
		fault("the origin %d is unknown", c.Origin)
	}
	if c.SpoolBytes < 0 {
		fault("the limit of the spool, %d bytes, is negative", c.SpoolBytes)
	}
	return errors.Join(faults...)
}

// maxIdentifier is the longest name that PostgreSQL keeps, in bytes.
const maxIdentifier = 63

// pattern is a parsed table pattern.
type pattern struct {
	text          string
	schema, table []token
}

// token is one character of a pattern, or a wildcard.
type token struct {
	r    rune
	wild rune // '*', '?' or 0
}

// parsePattern reads schema.table with wildcards and quoted parts.
func parsePattern(s string) (pattern, error) {
	bad := func(why string) (pattern, error) {
		return pattern{}, fmt.Errorf(`table pattern %q: %s; write schema.table, as public.orders, public.* or "odd.name".orders`, s, why)
	}
	p := pattern{text: s}
	part, parts, quoted := &p.schema, 1, false
	runes := []rune(s)
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		switch {
		case r == '"' && quoted && i+1 < len(runes) && runes[i+1] == '"':
			*part = append(*part, token{r: '"'})
			i++
		case r == '"':
			quoted = !quoted
		case quoted:
			*part = append(*part, token{r: r})
		case r == '.':
			if parts++; parts > 2 {
				return bad("it has more than one dot outside of quotes")
			}
			part = &p.table
		case r == '*' || r == '?':
			*part = append(*part, token{wild: r})
		default:
			*part = append(*part, token{r: r})
		}
	}
	switch {
	case quoted:
		return bad("a quote is not closed")
	case parts != 2 || len(p.schema) == 0 || len(p.table) == 0:
		return bad("it has no schema or no table")
	}
	return p, nil
}

func (p pattern) matches(schema, table string) bool {
	return globMatch(p.schema, []rune(schema)) && globMatch(p.table, []rune(table))
}

// globMatch compares without recursion: on a mismatch it goes back to the last
// star and lets it take one character more.
func globMatch(p []token, s []rune) bool {
	pi, si, star, mark := 0, 0, -1, 0
	for si < len(s) {
		switch {
		case pi < len(p) && p[pi].wild == '*':
			star, mark = pi, si
			pi++
		case pi < len(p) && (p[pi].wild == '?' || p[pi].wild == 0 && p[pi].r == s[si]):
			pi++
			si++
		case star >= 0:
			mark++
			pi, si = star+1, mark
		default:
			return false
		}
	}
	for pi < len(p) && p[pi].wild == '*' {
		pi++
	}
	return pi == len(p)
}
