package lakehouse

import (
	"time"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/keyindex"
)

// Activity is what an engine is at, as a whole.
type Activity string

// The activities.
const (
	ActivityStarting  Activity = "starting"  // it looks at source and lake
	ActivityCopying   Activity = "copying"   // tables are copied, and nothing streams yet
	ActivityStreaming Activity = "streaming" // changes are followed; copies may be made beside
	ActivityWaiting   Activity = "waiting"   // for a failure to pass, see Trouble
	ActivityEnded     Activity = "ended"     // Run has returned
)

// Trouble is a failure that is being waited out.
type Trouble struct {
	What  string    `json:"what"` // was being done
	Err   string    `json:"error"`
	Since time.Time `json:"since"` // when that began to fail
	Times int       `json:"times"` // how often it has
}

// Stats are an engine's figures since it was opened, at one moment. Counters
// only grow. Sizes are in bytes.
type Stats struct {
	Status   Status // without its health
	At       time.Time
	Since    time.Time // when the engine was opened
	Activity Activity
	Trouble  *Trouble // nil: none
	// Loops says when the engine's own loops last turned: that which watches
	// over the others, and that of the stream; zero where none has yet.
	Loops struct{ Observer, Stream time.Time }

	// What has become durable: row images (of an update whose old row is known,
	// two), transactions and flushes that changed tables.
	Rows, Transactions, Batches int64
	// Freshness is that of these flushes, see BatchCommitted, and Flush how long
	// they took.
	Freshness, Flush Histogram
	Flushing         time.Time // since when something is being flushed; zero: nothing is
	LastCommit       time.Time // when one last was durable, by our clock; zero for never
	Streams          int64     // how often the stream has begun

	// LagBytes is the log between what the server has and what is durable.
	LagBytes int64
	// Slot is what the source said of the slot last; nil where it has not in the
	// last minute.
	Slot *SlotSample
	// Stream are the source's figures; nil where it keeps none.
	Stream *cdc.StreamStats

	// InFlight is the memory of changes that are gathered and flushed, Held of
	// those that wait for a copy to come as far, Budget Options.Memory.
	InFlight, Held, Budget int64
	// Writing is the number of tables that are being written to, WritingLimit
	// how many may be at a time.
	Writing, WritingLimit int

	// Retries counts the failures that were waited out, by what was being done.
	Retries map[string]int64
	Store   StoreStats
	Alerts  []InfrastructureAlert // that stand
	Tables  []TableStats          // in the order of Status.Tables
}

// SlotSample is what the source said of its slot.
type SlotSample struct {
	At    time.Time
	State cdc.SlotState
	// Retained is the log that the server keeps for the slot.
	Retained int64
}

// StoreStats are of the lake's store. Calls and Failures are by the calls'
// names, as in objstore.Error; that something is not there, or is there
// already, is no failure.
type StoreStats struct {
	Calls, Failures map[string]int64
	Retries         int64     // calls that were made again
	FailingSince    time.Time // from when on all calls of some name have failed; zero: the last ones have not
}

// TableStats are a table's figures.
type TableStats struct {
	Name  string // in the lake
	Phase TablePhase
	// Changes that were applied, by what they did at the source. Those that came
	// while the table was being copied are not among them.
	Inserts, Updates, Deletes, Truncates int64
	// Files are data files that were written, by copies too, and Vectors deletion
	// vectors, whatever became of the commits that were to name them.
	Files, FileBytes, Vectors, VectorBytes int64
	// Index is the key index; nil where the table has none that is open.
	Index *keyindex.Stats
	// Copy is how far the table's copy is; nil where none is made.
	Copy *CopyStats
}

// CopyStats is how far a copy is. RowsEstimate is zero where it is not known.
type CopyStats struct {
	Ranges, RangesDone int
	Rows, RowsEstimate int64
}

// Stats are the engine's figures. It may be called at any time by any
// goroutine, and asks neither source nor lake.
func (e *Engine) Stats() Stats {
	s := e.meter.stats(time.Now())
	s.Status = e.statusNow()
	s.Budget, s.WritingLimit = e.opt.Memory, parallelTables
	s.Alerts = e.alerts.list()
	if s.Slot != nil {
		s.Status.Server = max(s.Status.Server, s.Slot.State.Current)
	}
	if s.Status.Durable != 0 && s.Status.Server > s.Status.Durable {
		s.LagBytes = int64(s.Status.Server - s.Status.Durable)
	}
	if source, ok := e.opt.Source.(cdc.Measured); ok {
		stream := source.Stats()
		s.Stream = &stream
	}
	for i := range s.Status.Tables {
		s.Tables = append(s.Tables, e.meter.tableStats(&s.Status.Tables[i]))
	}
	return s
}

// Health is what a running engine is like.
type Health struct {
	Activity   Activity              `json:"activity"`
	Trouble    *Trouble              `json:"trouble"` // null: none
	Since      time.Time             `json:"since"`   // when the engine was started
	LagBytes   int64                 `json:"lag_bytes"`
	LastCommit *time.Time            `json:"last_commit"` // when a batch last became durable; null: none has
	Alerts     []InfrastructureAlert `json:"alerts"`      // that stand
	Windows    []Window              `json:"windows"`     // the shortest first
}

// health is told with the status.
func (e *Engine) health() *Health {
	s := e.Stats()
	h := &Health{Activity: s.Activity, Trouble: s.Trouble, Since: s.Since.UTC(), LagBytes: s.LagBytes, Alerts: s.Alerts, Windows: e.meter.windows(s.At)}
	if !s.LastCommit.IsZero() {
		at := s.LastCommit.UTC()
		h.LastCommit = &at
	}
	return h
}
