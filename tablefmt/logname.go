package tablefmt

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Names within the log's folder. (Delta Log Entries, Checkpoints)
const lastCheckpointName = "_last_checkpoint"

// versionDigits is the zero-padded width of a version in a file name.
const versionDigits = 20

const compactedSuffix = ".compacted.json"

func commitName(v int64) string     { return fmt.Sprintf("%020d.json", v) }
func checkpointName(v int64) string { return fmt.Sprintf("%020d.checkpoint.parquet", v) }

// logKind is what a file of the log is.
type logKind int

const (
	logOther         logKind = iota // not needed to read the table: .crc, a staged commit, unknown
	logCommit                       // <v>.json
	logCheckpoint                   // <v>.checkpoint.parquet
	logPart                         // <v>.checkpoint.<part>.<parts>.parquet
	logNewCheckpoint                // <v>.checkpoint.<uuid>.(json|parquet), a V2 checkpoint
	logCompacted                    // <v>.<end>.compacted.json
)

// logFile is a parsed name.
type logFile struct {
	name    string
	kind    logKind
	version int64
	part    int // of logPart, from 1
	parts   int
	end     int64 // of logCompacted, greater than version
	size    int64 // bytes, where the listing told

	modified time.Time // likewise
}

// parseLogName says what a file of the log is by its name.
func parseLogName(name string) logFile {
	f := logFile{name: name}
	if len(name) <= versionDigits || name[versionDigits] != '.' {
		return f
	}
	v, ok := digits(name[:versionDigits])
	if !ok {
		return f
	}
	f.version = v
	switch rest := name[versionDigits+1:]; {
	case rest == "json":
		f.kind = logCommit
	case rest == "checkpoint.parquet":
		f.kind = logCheckpoint
	case strings.HasPrefix(rest, "checkpoint."):
		f.parseCheckpoint(strings.Split(rest, ".")[1:])
	case len(rest) == versionDigits+len(compactedSuffix) && strings.HasSuffix(rest, compactedSuffix):
		if end, ok := digits(rest[:versionDigits]); ok && end > f.version {
			f.kind, f.end = logCompacted, end
		}
	}
	return f
}

// parseCheckpoint reads the elements of a name after "checkpoint".
func (f *logFile) parseCheckpoint(e []string) {
	switch {
	case len(e) == 3 && e[2] == "parquet" && len(e[0]) == 10 && len(e[1]) == 10:
		part, ok1 := digits(e[0])
		parts, ok2 := digits(e[1])
		if ok1 && ok2 && part >= 1 && part <= parts {
			f.kind, f.part, f.parts = logPart, int(part), int(parts)
		}
	case len(e) == 2 && (e[1] == "parquet" || e[1] == "json") && e[0] != "": // a UUID, or what others have in its place
		f.kind = logNewCheckpoint
	}
}

func digits(s string) (int64, bool) {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	v, err := strconv.ParseInt(s, 10, 64)
	return v, err == nil
}
