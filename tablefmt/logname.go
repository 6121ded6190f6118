package tablefmt

import (
	"fmt"
	"strconv"
	"strings"
)

// Names within the log's folder. (Delta Log Entries, Checkpoints)
const lastCheckpointName = "_last_checkpoint"

// versionDigits is the zero-padded width of a version in a file name.
const versionDigits = 20

func commitName(v int64) string     { return fmt.Sprintf("%020d.json", v) }
func checkpointName(v int64) string { return fmt.Sprintf("%020d.checkpoint.parquet", v) }

// logKind is what a file of the log is.
type logKind int

const (
	logOther         logKind = iota // not needed to read the table: .crc, compacted, unknown
	logCommit                       // <v>.json
	logCheckpoint                   // <v>.checkpoint.parquet
	logPart                         // <v>.checkpoint.<part>.<parts>.parquet
	logNewCheckpoint                // <v>.checkpoint.<uuid>.(json|parquet), a V2 checkpoint
)

// logFile is a parsed name.
type logFile struct {
	name    string
	kind    logKind
	version int64
	part    int // of logPart, from 1
	parts   int
	size    int64 // bytes, where the listing told
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
	case len(e) == 2 && (e[1] == "parquet" || e[1] == "json") && len(e[0]) == 36:
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
