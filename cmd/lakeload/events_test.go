package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse"
)

// tellAll tells one event of every kind.
func tellAll(tell func(name string, event any)) {
	e := listen(tell)
	at := time.Date(2026, 11, 23, 18, 4, 30, 500000000, time.UTC)
	e.PipelineStarted(lakehouse.PipelineStarted{
		Pipeline: "shop", Tables: 4,
		Source: cdc.Identity{SystemID: "7423", Timeline: 1, Database: "shop", ServerVersion: 180006},
	})
	e.CopyStarted(lakehouse.CopyStarted{Table: "public.orders", Point: 0x1A2B3C8, Ranges: 4, Rows: 1000, Bytes: 65536})
	e.CopyProgress(lakehouse.CopyProgress{Table: "public.orders", Rows: 500, Ranges: 2})
	e.CopyFinished(lakehouse.CopyFinished{Table: "public.orders", Rows: 1001, Elapsed: 1500 * time.Millisecond, Version: 0})
	e.StreamStarted(lakehouse.StreamStarted{From: 0x1A2B3C8})
	e.BatchCommitted(lakehouse.BatchCommitted{
		Epoch: 2, LSN: 0x2000000010, CommitTime: at, Transactions: 3, Rows: 12,
		Tables: map[string]int64{"public.orders": 1, "public.customers": 7}, Elapsed: 20 * time.Millisecond, Freshness: 250 * time.Millisecond,
	})
	e.IndexProgress(lakehouse.IndexProgress{Table: "public.orders", Rebuilt: true, Rows: 500, TotalRows: 1001, Elapsed: 1500 * time.Millisecond})
	e.TableStopped(lakehouse.TableStopped{Table: "public.events", Reason: "its key changed", Remedy: "copy it again"})
	e.TableChanged(lakehouse.TableChanged{Table: "public.orders", Mode: lakehouse.ModeMirror, Changes: []string{`column "note" was added`, `column "a" is now called "b"`}, LSN: 0x2000000010, Version: 8})
	e.TableResync(lakehouse.TableResync{Table: "public.events", Reason: "a partition was attached with rows"})
	e.TableRepaired(lakehouse.TableRepaired{Table: "public.events", LSN: 0x2000000010, SourceRows: 1000, LakeRows: 1001, Keys: 3, Written: 2, Removed: 3, Bytes: 900, TableBytes: 50_000, Version: 9})
	e.TableFound(lakehouse.TableFound{Table: "public.new", Phase: lakehouse.PhaseCopying})
	e.TableFound(lakehouse.TableFound{Table: "public.odd", Phase: lakehouse.PhaseOffered, Reason: "two columns have one name", Remedy: "rename one"})
	e.TableDetached(lakehouse.TableDetached{Table: "public.old", Reason: "the source has dropped it", Remedy: "select it again"})
	e.InfrastructureAlert(lakehouse.InfrastructureAlert{Kind: lakehouse.AlertSpool, Severity: lakehouse.AlertWarning, Message: "the spool fills", Remedy: "end them", Value: 900, Limit: 1000})
	e.InfrastructureAlert(lakehouse.InfrastructureAlert{Kind: lakehouse.AlertStore, Severity: lakehouse.AlertCritical, Message: "it cannot be used", Remedy: "see to it", Value: 31, Limit: 30})
	e.InfrastructureAlert(lakehouse.InfrastructureAlert{Kind: lakehouse.AlertStore, Severity: lakehouse.AlertResolved, Message: "it can be used again", Limit: 30})
	e.Retrying(lakehouse.Retrying{What: "streaming", Err: "connection refused", After: time.Second})
	e.Retrying(lakehouse.Retrying{What: "writing to the lake", Err: "no space left on device", After: time.Second, Remedy: "free some space"})
	tell(eventReloaded, configurationReloaded{Pipeline: "shop", Accepted: true})
	tell(eventReloaded, configurationReloaded{Pipeline: "shop", Error: "unknown key", Remedy: "mend it"})
	tell(eventPipelineStopped, pipelineStopped{Pipeline: "shop", Code: 0})
	tell(eventPipelineStopped, pipelineStopped{Pipeline: "shop", Code: 4, Error: "another engine <has> it", Remedy: "stop it"})
}

// TestEvents holds the JSON lines to testdata/events: programs read them.
func TestEvents(t *testing.T) {
	datadriven.RunTest(t, "testdata/events", func(t *testing.T, d *datadriven.TestData) string {
		var out bytes.Buffer
		switch d.Cmd {
		case "json":
			tellAll((&jsonLines{w: &out, now: func() time.Time { return testNow }}).tell)
		case "text":
			text := &textLines{now: func() time.Time { return testNow }, log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{
				ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
					if a.Key == slog.TimeKey {
						return slog.Attr{}
					}
					return a
				},
			}))}
			tellAll(func(_ string, event any) { text.tell(event) })
		}
		return out.String()
	})
}

// No event that the engine tells is left out, by listen or by tellAll.
func TestEveryEventIsTold(t *testing.T) {
	listeners := reflect.ValueOf(listen(func(string, any) {}))
	for i := range listeners.NumField() {
		require.False(t, listeners.Field(i).IsNil(), listeners.Type().Field(i).Name)
	}
	names := map[string]bool{}
	tellAll(func(name string, _ any) { names[name] = true })
	require.Len(t, names, listeners.NumField()+2, "and what the command tells itself: configuration_reloaded, pipeline_stopped")
}

// Every event and every key of it is in docs/CLI.md.
func TestEventsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/CLI.md")
	require.NoError(t, err)
	var out bytes.Buffer
	tellAll((&jsonLines{w: &out, now: func() time.Time { return testNow }}).tell)
	for line := range strings.Lines(out.String()) {
		var event map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &event))
		row := ""
		for l := range strings.Lines(string(doc)) {
			if strings.HasPrefix(l, "| `"+event["event"].(string)+"`") {
				row = l
			}
		}
		require.NotEmpty(t, row, event["event"])
		for key := range event {
			if key != "time" && key != "event" {
				require.Contains(t, row, "`"+key+"`", event["event"])
			}
		}
	}
}

func TestTextLogSumsUpBatches(t *testing.T) {
	var out bytes.Buffer
	now := testNow
	l := &textLines{log: slog.New(slog.NewTextHandler(&out, nil)), now: func() time.Time { return now }}
	for range 25 {
		l.tell(lakehouse.BatchCommitted{Rows: 2, Transactions: 1})
		now = now.Add(time.Second)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 3, "one at once, then one each ten seconds")
	require.Contains(t, lines[1], "batches=10 transactions=10 rows=20")
}

// Lines written by many goroutines stay whole.
func TestJSONLinesStayWhole(t *testing.T) {
	var out bytes.Buffer
	l := &jsonLines{w: &out, now: time.Now}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 100 {
				l.tell(eventRetrying, lakehouse.Retrying{What: strings.Repeat("x", 100)})
			}
		})
	}
	group.Wait()
	n := 0
	for line := range strings.Lines(out.String()) {
		require.True(t, json.Valid([]byte(line)))
		n++
	}
	require.Equal(t, 800, n)
}

func TestQuietTellsStoppedTablesOnly(t *testing.T) {
	var out, log bytes.Buffer
	n := newNarrator(&console{out: &out, err: &log, now: time.Now, logFormat: formatAuto, quiet: true})
	tellAll(n.tell)
	n.log.Warn("not told")
	n.close()
	require.Equal(t, 1, strings.Count(out.String(), "\n"))
	require.Contains(t, out.String(), `"event":"table_stopped"`)
	require.Empty(t, log.String())
}

// The bars end, and what is drawn while events come does not block them.
func TestProgressEnds(t *testing.T) {
	var out safeBuffer
	n := newNarrator(&console{out: &bytes.Buffer{}, err: &out, errIsTerm: true, outIsTerm: true, now: time.Now, logFormat: formatAuto})
	for range 20 {
		tellAll(n.tell)
	}
	n.log.Info("above the bars")
	n.close()
	require.Contains(t, out.String(), "above the bars")
}

type safeBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *safeBuffer) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.String()
}
