// Package metrics lets a running engine be looked at over HTTP: its figures for
// Prometheus at /metrics, whether it lives at /healthz, whether it does its work
// at /readyz. Nothing can be changed by it.
package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lakeload/lakeload/lakehouse"
)

// namespace begins the names of all figures.
const namespace = "lakeload_"

// maxTables bounds the tables that have figures of their own. The figures of all
// others are summed up under othersLabel: names of tables are the source's, and
// a source may have very many.
const (
	maxTables   = 1000
	othersLabel = "(others)"
)

// kind is what a figure is.
type kind int

const (
	counter kind = iota
	gauge
	histogram
)

// figure is one that is told.
type figure struct {
	name   string // without the namespace
	kind   kind
	labels []string // besides pipeline
	help   string
}

// figures are all of them. docs/OPERATIONS.md says what to do about them.
var figures = []figure{
	{"start_time_seconds", gauge, nil, "When the engine was started, in seconds since 1970."},
	{"activity", gauge, []string{"activity"}, "What the engine is at: 1 for that, 0 for the others."},
	{"streaming", gauge, nil, "Whether changes are being followed."},
	{"streams_started_total", counter, nil, "How often the stream has begun."},
	{"rows_total", counter, nil, "Row images that were delivered and are durable in the lake; an update with its old row has two."},
	{"transactions_total", counter, nil, "Transactions of the source that are durable in the lake."},
	{"batches_total", counter, nil, "Flushes that changed tables and are durable."},
	{"freshness_seconds", histogram, nil, "From the commit of a batch's last transaction, by the source's clock, to its being visible in the lake."},
	{"flush_duration_seconds", histogram, nil, "How long the flushes of batches took."},
	{"flush_running_seconds", gauge, nil, "For how long the flush that is being made has been; 0: none is."},
	{"last_commit_timestamp_seconds", gauge, nil, "When a batch was last durable, in seconds since 1970."},
	{"source_commit_timestamp_seconds", gauge, nil, "When the last transaction that the lake shows was committed, by the source's clock, in seconds since 1970."},
	{"epoch", gauge, nil, "The number of the last epoch."},
	{"lag_bytes", gauge, nil, "Log between the server's newest position and what is durable in the lake."},
	{"slot_retained_bytes", gauge, nil, "Log that the server keeps for the replication slot."},
	{"slot_safe_bytes", gauge, nil, "Log that may still be written before the slot is lost, where max_slot_wal_keep_size limits that."},
	{"slot_active", gauge, nil, "Whether somebody reads the replication slot."},
	{"slot_lost", gauge, nil, "Whether the replication slot can no longer give all changes."},
	{"memory_in_flight_bytes", gauge, nil, "Changes that are gathered or flushed, in memory."},
	{"memory_held_bytes", gauge, nil, "Changes in memory that wait for the copy of their table."},
	{"memory_budget_bytes", gauge, nil, "The budget for changes in flight and key indexes."},
	{"parallel_writes", gauge, nil, "Tables that are being written to."},
	{"parallel_writes_limit", gauge, nil, "Tables that may be written to at a time."},
	{"spool_bytes", gauge, nil, "What transactions in progress take on the local disk."},
	{"spool_limit_bytes", gauge, nil, "What they may take."},
	{"spool_transactions", gauge, nil, "Transactions in progress of which something is kept."},
	{"spooled_bytes_total", counter, nil, "What was ever kept of transactions in progress, as it was sent."},
	{"spool_aborted_bytes_total", counter, nil, "What of it was dropped because it was rolled back."},
	{"spool_failures_total", counter, nil, "Streams that ended for want of room in the spool."},
	{"source_last_data_timestamp_seconds", gauge, nil, "When the server last sent something of its log, in seconds since 1970."},
	{"heartbeat_round_trip_seconds", gauge, nil, "How long the last message of ours took through the server's log."},
	{"retries_total", counter, []string{"what"}, "Failures that were waited out, by what was being done."},
	{"store_requests_total", counter, []string{"op"}, "Calls of the lake's store."},
	{"store_errors_total", counter, []string{"op"}, "Calls of the lake's store that failed."},
	{"store_retries_total", counter, nil, "Calls of the lake's store that were made again."},
	{"store_failing_seconds", gauge, nil, "For how long the lake's store has been failing; 0: it does not."},
	{"alert", gauge, []string{"kind", "severity"}, "Alerts that stand: 1."},
	{"tables", gauge, []string{"phase"}, "Tables, by their phase."},

	{"table_phase", gauge, []string{"table", "phase"}, "The phase of a table: 1."},
	{"table_changes_total", counter, []string{"table", "op"}, "Changes that were applied and are durable, without those that came while the table was copied."},
	{"table_files_total", counter, []string{"table"}, "Data files that were written, by copies too."},
	{"table_file_bytes_total", counter, []string{"table"}, "Bytes of these."},
	{"table_vectors_total", counter, []string{"table"}, "Deletion vectors that were written."},
	{"table_vector_bytes_total", counter, []string{"table"}, "Bytes of these."},
	{"table_index_keys", gauge, []string{"table"}, "Keys in the key index, about."},
	{"table_index_disk_bytes", gauge, []string{"table"}, "What the key index takes on the local disk."},
	{"table_index_memory_bytes", gauge, []string{"table"}, "What the key index takes in memory, about."},
	{"table_index_lookups_total", counter, []string{"table"}, "Keys that were looked up in the key index."},
	{"table_index_merges_total", counter, []string{"table"}, "Merges of the key index's runs."},
	{"table_copy_rows", gauge, []string{"table"}, "Rows that the table's copy has read, while one is made."},
	{"table_copy_rows_estimate", gauge, []string{"table"}, "Rows that it has to read, as the source estimates."},
	{"table_copy_ranges", gauge, []string{"table"}, "Ranges that the table is read by, while it is copied."},
	{"table_copy_ranges_done", gauge, []string{"table"}, "Those that are read."},
}

// activities are all that there are.
var activities = []lakehouse.Activity{
	lakehouse.ActivityStarting, lakehouse.ActivityCopying, lakehouse.ActivityStreaming, lakehouse.ActivityWaiting, lakehouse.ActivityEnded,
}

// phases are all that there are.
var phases = []lakehouse.TablePhase{
	lakehouse.PhaseCopying, lakehouse.PhaseLive, lakehouse.PhaseStopped, lakehouse.PhaseDetached, lakehouse.PhaseOffered,
}

// collector makes Prometheus' metrics of an engine's figures when it is asked.
type collector struct {
	stats func() (lakehouse.Stats, bool) // false: there is no engine yet
	descs map[string]described
}

type described struct {
	*prometheus.Desc
	kind kind
}

func newCollector(pipeline string, stats func() (lakehouse.Stats, bool)) *collector {
	c := &collector{stats: stats, descs: map[string]described{}}
	for _, f := range figures {
		c.descs[f.name] = described{prometheus.NewDesc(namespace+f.name, f.help, f.labels, prometheus.Labels{"pipeline": pipeline}), f.kind}
	}
	return c
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		to <- d.Desc
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(to chan<- prometheus.Metric) {
	s, ok := c.stats()
	if !ok {
		return
	}
	t := teller{c: c, to: to}
	t.flow(&s)
	t.bounds(&s)
	t.source(&s)
	t.lake(&s)
	t.tables(&s)
}

// teller tells the figures of one moment.
type teller struct {
	c  *collector
	to chan<- prometheus.Metric
}

func (t teller) tell(name string, value float64, labels ...string) {
	d := t.c.descs[name]
	as := prometheus.GaugeValue
	if d.kind == counter {
		as = prometheus.CounterValue
	}
	t.to <- prometheus.MustNewConstMetric(d.Desc, as, value, labels...)
}

func (t teller) count(name string, value int64, labels ...string) {
	t.tell(name, float64(value), labels...)
}

func (t teller) flag(name string, value bool, labels ...string) {
	if value {
		t.tell(name, 1, labels...)
	} else {
		t.tell(name, 0, labels...)
	}
}

// time tells nothing of what has never been.
func (t teller) time(name string, at time.Time) {
	if !at.IsZero() {
		t.tell(name, float64(at.UnixNano())/1e9)
	}
}

// since is how long something has lasted; 0 where it does not.
func (t teller) since(name string, from, now time.Time) {
	if from.IsZero() {
		from = now
	}
	t.tell(name, now.Sub(from).Seconds())
}

func (t teller) histogram(name string, h *lakehouse.Histogram) {
	buckets, sum := map[float64]uint64{}, uint64(0)
	for i, bound := range h.Bounds {
		sum += uint64(h.Counts[i])
		buckets[bound.Seconds()] = sum
	}
	t.to <- prometheus.MustNewConstHistogram(t.c.descs[name].Desc, uint64(h.Total()), h.Sum.Seconds(), buckets)
}

func (t teller) flow(s *lakehouse.Stats) {
	t.time("start_time_seconds", s.Since)
	for _, a := range activities {
		t.flag("activity", s.Activity == a, string(a))
	}
	t.flag("streaming", s.Status.Streaming)
	t.count("streams_started_total", s.Streams)
	t.count("rows_total", s.Rows)
	t.count("transactions_total", s.Transactions)
	t.count("batches_total", s.Batches)
	t.histogram("freshness_seconds", &s.Freshness)
	t.histogram("flush_duration_seconds", &s.Flush)
	t.since("flush_running_seconds", s.Flushing, s.At)
	t.time("last_commit_timestamp_seconds", s.LastCommit)
	t.time("source_commit_timestamp_seconds", s.Status.EpochTime)
	t.count("epoch", s.Status.Epoch)
}

func (t teller) bounds(s *lakehouse.Stats) {
	t.count("memory_in_flight_bytes", s.InFlight)
	t.count("memory_held_bytes", s.Held)
	t.count("memory_budget_bytes", s.Budget)
	t.count("parallel_writes", int64(s.Writing))
	t.count("parallel_writes_limit", int64(s.WritingLimit))
	for _, a := range s.Alerts {
		t.tell("alert", 1, a.Kind, string(a.Severity))
	}
	for what, n := range s.Retries {
		t.count("retries_total", n, what)
	}
}

func (t teller) source(s *lakehouse.Stats) {
	t.count("lag_bytes", s.LagBytes)
	if slot := s.Slot; slot != nil {
		t.count("slot_retained_bytes", slot.Retained)
		t.flag("slot_active", slot.State.Active)
		t.flag("slot_lost", slot.State.Lost)
		if slot.State.SafeWALSize != nil {
			t.count("slot_safe_bytes", *slot.State.SafeWALSize)
		}
	}
	if f := s.Stream; f != nil {
		t.count("spool_bytes", f.OnDisk)
		t.count("spool_limit_bytes", f.SpoolLimit)
		t.count("spool_transactions", int64(f.InProgress))
		t.count("spooled_bytes_total", f.SpooledEver)
		t.count("spool_aborted_bytes_total", f.Aborted)
		t.count("spool_failures_total", f.SpoolFailures)
		t.time("source_last_data_timestamp_seconds", f.LastData)
		if f.RoundTrip > 0 {
			t.tell("heartbeat_round_trip_seconds", f.RoundTrip.Seconds())
		}
	}
}

func (t teller) lake(s *lakehouse.Stats) {
	for op, n := range s.Store.Calls {
		t.count("store_requests_total", n, op)
		t.count("store_errors_total", s.Store.Failures[op], op)
	}
	t.count("store_retries_total", s.Store.Retries)
	t.since("store_failing_seconds", s.Store.FailingSince, s.At)
}

func (t teller) tables(s *lakehouse.Stats) {
	in := map[lakehouse.TablePhase]int64{}
	for i := range s.Tables {
		in[s.Tables[i].Phase]++
	}
	for _, p := range phases {
		t.count("tables", in[p], string(p))
	}
	own, others := byName(s.Tables), []lakehouse.TableStats(nil)
	if len(own) > maxTables {
		own, others = own[:maxTables:maxTables], own[maxTables:]
	}
	for i := range own {
		t.tell("table_phase", 1, own[i].Name, string(own[i].Phase))
		t.table(&own[i])
	}
	if len(others) > 0 {
		sum := summed(others)
		sum.Name = othersLabel
		t.table(&sum)
	}
}

func (t teller) table(s *lakehouse.TableStats) {
	t.count("table_changes_total", s.Inserts, s.Name, "insert")
	t.count("table_changes_total", s.Updates, s.Name, "update")
	t.count("table_changes_total", s.Deletes, s.Name, "delete")
	t.count("table_changes_total", s.Truncates, s.Name, "truncate")
	t.count("table_files_total", s.Files, s.Name)
	t.count("table_file_bytes_total", s.FileBytes, s.Name)
	t.count("table_vectors_total", s.Vectors, s.Name)
	t.count("table_vector_bytes_total", s.VectorBytes, s.Name)
	if x := s.Index; x != nil {
		t.count("table_index_keys", x.Keys, s.Name)
		t.count("table_index_disk_bytes", x.Disk, s.Name)
		t.count("table_index_memory_bytes", x.Memory, s.Name)
		t.count("table_index_lookups_total", x.Lookups, s.Name)
		t.count("table_index_merges_total", x.Merges, s.Name)
	}
	if c := s.Copy; c != nil {
		t.count("table_copy_rows", c.Rows, s.Name)
		t.count("table_copy_rows_estimate", c.RowsEstimate, s.Name)
		t.count("table_copy_ranges", int64(c.Ranges), s.Name)
		t.count("table_copy_ranges_done", int64(c.RangesDone), s.Name)
	}
}
