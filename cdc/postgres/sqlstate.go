package postgres

import (
	"errors"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/cdc"
)

// sqlState is the server's code for err, or "".
func sqlState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// The server's codes that are asked for by name.
const (
	codeObjectInUse        = "55006"
	codeDuplicateObject    = "42710"
	codeUndefinedObject    = "42704"
	codeUndefinedTable     = "42P01"
	codeUndefinedSchema    = "3F000"
	codeUndefinedFunction  = "42883"
	codeLockNotAvailable   = "55P03"
	codeDeadlock           = "40P01"
	codeUniqueViolation    = "23505"
	codeConcurrentUpdate   = "XX000" // "tuple concurrently updated", an internal error
	codeNoPrerequisite     = "55000"
	codeUndefinedFile      = "58P01"
	codeNoPrivilege        = "42501"
	codeLimitExceeded      = "53400"
	codeQueryCanceled      = "57014"
	codeTooManyConnections = "53300"
	codeSerialization      = "40001"
	codeWrongPassword      = "28P01"
	codeNotAdmitted        = "28000"
	codeProtocolViolation  = "08P01"
	codeInvalidParameter   = "22023"
)

// verdict is what an error of the server means.
type verdict struct {
	class cdc.ErrorClass
	// doubtful says that a stream which fails so is begun again some times, and
	// given up when it fails again and again at one place: see [trouble].
	doubtful bool
	remedy   string
}

const (
	remedyAuth   = "check the user, the password and the server's pg_hba.conf (replication connections are matched there by the database's name, as logical ones)"
	remedyPooler = "connect to the server itself: a connection pooler passes neither session settings nor the replication protocol on"
	remedyLimits = "raise max_replication_slots and max_wal_senders, or drop replication slots that nobody uses"
)

// codes says what the server's error codes mean. They are those of the
// manual's appendix "PostgreSQL Error Codes"; what is not listed by its code is
// looked up by its class, the first two letters. All others need the operator.
var codes = map[string]verdict{
	"08":    {class: cdc.ClassRetry},
	"57P01": {class: cdc.ClassRetry}, // shutdown, or the session was ended
	"57P02": {class: cdc.ClassRetry}, // another process crashed
	"57P03": {class: cdc.ClassRetry, remedy: "wait until the server has started"},
	"57P05": {class: cdc.ClassRetry}, // idle session
	"53":    {class: cdc.ClassRetry, remedy: "see what the server lacks: disk, memory or connections"},
	"53100": {class: cdc.ClassRetry, remedy: "free some space on the server's disk: its log is kept for slots that are not read, and large transactions are spilled there"},
	"53200": {class: cdc.ClassRetry, doubtful: true, remedy: "give the server more memory, or lower logical_decoding_work_mem"},

	codeTooManyConnections: {class: cdc.ClassRetry, remedy: "raise max_connections, max_wal_senders or the role's connection limit, or end sessions that nobody needs"},
	codeSerialization:      {class: cdc.ClassRetry, remedy: "on a standby: set hot_standby_feedback = on there, or raise max_standby_streaming_delay"}, // conflict with recovery
	codeDeadlock:           {class: cdc.ClassRetry},
	codeLockNotAvailable:   {class: cdc.ClassRetry},
	codeObjectInUse:        {class: cdc.ClassRetry},
	codeQueryCanceled:      {class: cdc.ClassRetry},
	"25P03":                {class: cdc.ClassRetry}, // idle in a transaction
	"25P04":                {class: cdc.ClassRetry}, // transaction time-out
	"72000":                {class: cdc.ClassRetry}, // snapshot too old, until 16

	codeWrongPassword:     {remedy: remedyAuth},
	codeNotAdmitted:       {remedy: remedyAuth},
	"3D000":               {remedy: "name a database that exists"},
	codeNoPrivilege:       {remedy: "grant the right that the message names; `lakeload check` lists all that are missing"},
	codeLimitExceeded:     {remedy: remedyLimits},
	codeProtocolViolation: {remedy: remedyPooler},

	// Decoding that fails on the server: too large a value, a spill file that is
	// not there, a bug. It may be bad luck, or come again for ever.
	"54000":           {doubtful: true, remedy: remedyDecoding}, // more than 1 GB for one message
	"XX000":           {doubtful: true, remedy: remedyDecoding},
	"XX001":           {doubtful: true, remedy: "the server says that its data are corrupted: look at its disk and its log, and restore a backup"},
	"XX002":           {doubtful: true, remedy: "the server says that an index is corrupted: REINDEX it"},
	"58030":           {doubtful: true, remedy: "the server could not read or write a file: look at its disk and its log"},
	codeUndefinedFile: {doubtful: true, remedy: "the server misses a file of its own: look at its log; if it is one of the slot's spill files, restart the server"},
}

const remedyDecoding = "look at the server's log; install its newest minor release; if it fails at the same place all the same, that place cannot be decoded: " + remedyAdopt

// judgeServer tells what an error that the server sent means. Texts are asked
// for only in what no language changes.
func judgeServer(pg *pgconn.PgError) verdict {
	switch {
	case pg.Code == codeNoPrerequisite && strings.Contains(pg.Message+pg.Detail, "invalidated"),
		pg.Code == codeNoPrerequisite && strings.Contains(pg.Message, "get changes from replication slot"):
		return verdict{class: cdc.ClassResync, remedy: remedyAdopt}
	case pg.Code == codeUndefinedFile && walSegment.MatchString(pg.Message):
		return verdict{class: cdc.ClassResync, remedy: "the server has removed write-ahead log that the slot needs; " + remedyAdopt}
	case pg.Code == codeProtocolViolation && !strings.Contains(pg.Message, "startup parameter"):
		return verdict{class: cdc.ClassRetry}
	}
	for _, key := range []string{pg.Code, pg.Code[:min(2, len(pg.Code))]} {
		if v, ok := codes[key]; ok {
			return v
		}
	}
	return verdict{remedy: pg.Hint}
}

// walSegment is the name of a file of the write-ahead log.
var walSegment = regexp.MustCompile(`\b[0-9A-F]{24}\b`)
