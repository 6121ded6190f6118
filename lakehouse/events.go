package lakehouse

import (
	"time"

	"github.com/lakeload/lakeload/cdc"
)

// Events are told to whoever embeds the engine; logs, metrics and progress
// bars are listeners. A function is called on the engine's goroutines: it
// must be quick and safe for concurrent use. Nil functions are skipped.
type Events struct {
	PipelineStarted func(PipelineStarted)
	CopyStarted     func(CopyStarted)
	CopyProgress    func(CopyProgress)
	CopyFinished    func(CopyFinished)
	StreamStarted   func(StreamStarted)
	BatchCommitted  func(BatchCommitted)
	IndexProgress   func(IndexProgress)
	TableStopped    func(TableStopped)
	TableChanged    func(TableChanged)
	TableResync     func(TableResync)
	TableRepaired   func(TableRepaired)
	TableFound      func(TableFound)
	TableDetached   func(TableDetached)
	Retrying        func(Retrying)

	InfrastructureAlert func(InfrastructureAlert)
}

// PipelineStarted is told once the lake and the source are known to belong together.
type PipelineStarted struct {
	Pipeline string       `json:"pipeline"`
	Source   cdc.Identity `json:"source"`
	Tables   int          `json:"tables"`
}

// CopyStarted is told when the copy of a table begins, or goes on.
type CopyStarted struct {
	Table  string  `json:"table"`
	Point  cdc.LSN `json:"point"` // the snapshot's, or where the stream stands for the table
	Ranges int     `json:"ranges"`
	Rows   int64   `json:"rows_estimate"`
	Bytes  int64   `json:"bytes_estimate"`
	// What an earlier run has copied already.
	DoneRows   int64 `json:"rows"`
	DoneRanges int   `json:"ranges_done"`
}

// CopyProgress is told now and then while a table is copied. The numbers are
// totals of this copy.
type CopyProgress struct {
	Table  string `json:"table"`
	Rows   int64  `json:"rows"`
	Ranges int    `json:"ranges_done"`
}

// CopyFinished is told when a table's copy is published.
type CopyFinished struct {
	Table   string        `json:"table"`
	Rows    int64         `json:"rows"`
	Elapsed time.Duration `json:"elapsed_ns"`
	Version int64         `json:"version"` // of the mirror
}

// IndexProgress is told once a second while the key index of a table is read
// from the table, and at the end, if that takes a second at all. The table
// waits for it.
type IndexProgress struct {
	Table string `json:"table"`
	// Rebuilt says that all rows are read; else only those of files that the
	// index does not know.
	Rebuilt   bool          `json:"rebuilt"`
	Rows      int64         `json:"rows"`       // whose keys were read
	TotalRows int64         `json:"total_rows"` // that will be
	Elapsed   time.Duration `json:"elapsed_ns"`
}

// StreamStarted is told when streaming begins or begins again.
type StreamStarted struct {
	From cdc.LSN `json:"from"`
}

// BatchCommitted is told after each flush, when its epoch is durable.
type BatchCommitted struct {
	Epoch        int64            `json:"epoch"` // 0: no epoch yet, tables are catching up
	LSN          cdc.LSN          `json:"lsn"`
	CommitTime   time.Time        `json:"commit_time"` // of the last transaction in it
	Transactions int              `json:"transactions"`
	Rows         int64            `json:"rows"`
	Tables       map[string]int64 `json:"tables"` // table -> version, where it changed
	Elapsed      time.Duration    `json:"elapsed_ns"`
	// Freshness is the time from the last transaction's commit at the source,
	// by the source's clock, to the epoch being durable, by ours.
	Freshness time.Duration `json:"freshness_ns"`
}

// TableStopped is told when a table stops because something came that it
// cannot follow. The others go on.
type TableStopped struct {
	Table  string `json:"table"`
	Reason string `json:"reason"`
	Remedy string `json:"remedy"`
}

// TableChanged is told when a table of the lake has followed a change of its
// source's columns.
type TableChanged struct {
	Table   string   `json:"table"`
	Mode    Mode     `json:"mode"`
	Changes []string `json:"changes"` // in words
	LSN     cdc.LSN  `json:"lsn"`     // the first epoch that can have it
	Version int64    `json:"version"`
}

// TableResync is told when the engine has a table copied again by itself, as
// the policy for what has happened says.
type TableResync struct {
	Table  string `json:"table"`
	Reason string `json:"reason"`
}

// TableRepaired is told when the rows of a table that differed from the source
// have been written anew.
type TableRepaired = Repaired

// TableFound is told when the source selects a table that the lake does not
// have.
type TableFound struct {
	Table  string     `json:"table"`
	Phase  TablePhase `json:"phase"` // copying, or offered
	Reason string     `json:"reason,omitempty"`
	Remedy string     `json:"remedy,omitempty"`
}

// TableDetached is told when a table is not followed any more, because the
// source does not have it, or it is not selected. The lake keeps what it held.
type TableDetached struct {
	Table  string `json:"table"`
	Reason string `json:"reason"`
	Remedy string `json:"remedy"`
}

// Retrying is told before each wait after a failure that can pass.
type Retrying struct {
	What  string        `json:"what"`
	Err   string        `json:"error"`
	After time.Duration `json:"after_ns"`
	// Remedy is what somebody has to do for it to pass; empty where it passes by
	// itself, or nobody knows.
	Remedy string `json:"remedy,omitempty"`
}
