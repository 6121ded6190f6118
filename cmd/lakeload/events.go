package main

import (
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/lakeload/lakeload/lakehouse"
)

// The names of events. They and the keys of each are a contract, see
// docs/CLI.md.
const (
	eventPipelineStarted  = "pipeline_started"
	eventSnapshotStarted  = "snapshot_started"
	eventSnapshotProgress = "snapshot_progress"
	eventSnapshotFinished = "snapshot_finished"
	eventStreamStarted    = "stream_started"
	eventBatchCommitted   = "batch_committed"
	eventIndexProgress    = "index_progress"
	eventTableStopped     = "table_stopped"
	eventTableChanged     = "table_changed"
	eventTableResync      = "table_resync"
	eventTableRepaired    = "table_repaired"
	eventTableFound       = "table_found"
	eventTableDetached    = "table_detached"
	eventAlert            = "infrastructure_alert"
	eventRetrying         = "retrying"
	eventReloaded         = "configuration_reloaded"
	eventPipelineStopped  = "pipeline_stopped"
)

// pipelineStopped is the last event of a run.
type pipelineStopped struct {
	Pipeline string `json:"pipeline"`
	Code     int    `json:"exit_code"`
	Error    string `json:"error,omitempty"`
	Remedy   string `json:"remedy,omitempty"`
}

// listen makes listeners out of one function that is told every event.
func listen(tell func(name string, event any)) lakehouse.Events {
	return lakehouse.Events{
		PipelineStarted: func(e lakehouse.PipelineStarted) { tell(eventPipelineStarted, e) },
		CopyStarted:     func(e lakehouse.CopyStarted) { tell(eventSnapshotStarted, e) },
		CopyProgress:    func(e lakehouse.CopyProgress) { tell(eventSnapshotProgress, e) },
		CopyFinished:    func(e lakehouse.CopyFinished) { tell(eventSnapshotFinished, e) },
		StreamStarted:   func(e lakehouse.StreamStarted) { tell(eventStreamStarted, e) },
		BatchCommitted:  func(e lakehouse.BatchCommitted) { tell(eventBatchCommitted, e) },
		IndexProgress:   func(e lakehouse.IndexProgress) { tell(eventIndexProgress, e) },
		TableStopped:    func(e lakehouse.TableStopped) { tell(eventTableStopped, e) },
		TableChanged:    func(e lakehouse.TableChanged) { tell(eventTableChanged, e) },
		TableResync:     func(e lakehouse.TableResync) { tell(eventTableResync, e) },
		TableRepaired:   func(e lakehouse.TableRepaired) { tell(eventTableRepaired, e) },
		TableFound:      func(e lakehouse.TableFound) { tell(eventTableFound, e) },
		TableDetached:   func(e lakehouse.TableDetached) { tell(eventTableDetached, e) },
		Retrying:        func(e lakehouse.Retrying) { tell(eventRetrying, e) },

		InfrastructureAlert: func(e lakehouse.InfrastructureAlert) { tell(eventAlert, e) },
	}
}

// jsonLines writes each event as one line of JSON: time, event, then the
// event's own keys. Safe for concurrent use.
type jsonLines struct {
	mu  sync.Mutex
	w   io.Writer
	now func() time.Time
}

func (l *jsonLines) tell(name string, event any) {
	head, err := json.Marshal(struct {
		Time  time.Time `json:"time"`
		Event string    `json:"event"`
	}{l.now().UTC(), name})
	if err != nil {
		return // a time beyond year 9999
	}
	body, err := json.Marshal(event)
	if err != nil {
		body, _ = json.Marshal(map[string]string{"error": err.Error()})
	}
	line := append(head[:len(head)-1], ',')
	if len(body) == len("{}") {
		line = line[:len(line)-1]
	}
	line = append(append(line, body[1:]...), '\n')
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.w.Write(line) // nobody is left to tell
}

// batchesEvery is how often the text log sums up the batches since its last
// line about them.
const batchesEvery = 10 * time.Second

// textLines tells events in the lines of a log. Safe for concurrent use.
type textLines struct {
	log *slog.Logger
	now func() time.Time

	mu      sync.Mutex
	told    time.Time // when batches were told last
	batches int
	rows    int64
	txns    int
}

func (l *textLines) tell(event any) {
	switch e := event.(type) {
	case lakehouse.PipelineStarted:
		l.log.Info("pipeline started", "pipeline", e.Pipeline, "database", e.Source.Database, "tables", e.Tables)
	case lakehouse.CopyStarted:
		l.log.Info("copying", "table", e.Table, "rows_estimate", e.Rows, "at", e.Point.String())
	case lakehouse.CopyProgress:
		l.log.Info("copying", "table", e.Table, "rows", e.Rows)
	case lakehouse.CopyFinished:
		l.log.Info("copied", "table", e.Table, "rows", e.Rows, "version", e.Version, "elapsed", e.Elapsed.Round(time.Millisecond))
	case lakehouse.StreamStarted:
		l.log.Info("streaming", "from", e.From.String())
	case lakehouse.BatchCommitted:
		l.batch(e)
	case lakehouse.IndexProgress:
		l.log.Info("reading the key index from the table", "table", e.Table, "rows", e.Rows, "of", e.TotalRows, "elapsed", e.Elapsed.Round(time.Millisecond))
	case lakehouse.TableStopped:
		l.log.Error("table stopped", "table", e.Table, "reason", e.Reason, "what_to_do", e.Remedy)
	case lakehouse.TableChanged:
		l.log.Info("table changed", "table", e.Table, "mode", e.Mode, "changes", strings.Join(e.Changes, "; "))
	case lakehouse.TableResync:
		l.log.Warn("table copied again", "table", e.Table, "reason", e.Reason)
	case lakehouse.TableRepaired:
		l.log.Info("table repaired", "table", e.Table, "differing_keys", e.Keys, "rows_written", e.Written, "rows_removed", e.Removed, "version", e.Version)
	case lakehouse.TableFound:
		if e.Phase == lakehouse.PhaseOffered {
			l.log.Warn("new table, which is not copied", "table", e.Table, "reason", e.Reason, "what_to_do", e.Remedy)
		} else {
			l.log.Info("new table", "table", e.Table)
		}
	case lakehouse.TableDetached:
		l.log.Warn("table is not followed any more", "table", e.Table, "reason", e.Reason, "what_to_do", e.Remedy)
	case lakehouse.InfrastructureAlert:
		l.alert(e)
	case lakehouse.Retrying:
		args := []any{"what", e.What, "error", e.Err, "after", e.After.Round(time.Millisecond)}
		if e.Remedy != "" {
			args = append(args, "what_to_do", e.Remedy)
		}
		l.log.Warn("trying again", args...)
	case configurationReloaded:
		if e.Accepted {
			l.log.Info("the configuration was read again", "pipeline", e.Pipeline)
		} else {
			l.log.Error("the configuration was read again and is not taken over: everything goes on as before", "error", e.Error, "what_to_do", e.Remedy)
		}
	case pipelineStopped:
		if e.Error == "" { // an error is reported by who called us
			l.log.Info("pipeline stopped", "pipeline", e.Pipeline)
		}
	}
}

func (l *textLines) alert(e lakehouse.InfrastructureAlert) {
	switch e.Severity {
	case lakehouse.AlertResolved:
		l.log.Info(e.Message, "alert", e.Kind, "severity", e.Severity, "value", e.Value, "limit", e.Limit)
	case lakehouse.AlertCritical:
		l.log.Error(e.Message, "alert", e.Kind, "severity", e.Severity, "value", e.Value, "limit", e.Limit, "what_to_do", e.Remedy)
	default:
		l.log.Warn(e.Message, "alert", e.Kind, "severity", e.Severity, "value", e.Value, "limit", e.Limit, "what_to_do", e.Remedy)
	}
}

// batch tells the first batch, and from then on sums of them.
func (l *textLines) batch(e lakehouse.BatchCommitted) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.batches++
	l.rows += e.Rows
	l.txns += e.Transactions
	now := l.now()
	if now.Sub(l.told) < batchesEvery {
		return
	}
	l.log.Info("committed", "epoch", e.Epoch, "lsn", e.LSN.String(), "batches", l.batches, "transactions", l.txns, "rows", l.rows,
		"freshness", e.Freshness.Round(time.Millisecond))
	l.told, l.batches, l.rows, l.txns = now, 0, 0, 0
}
