package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cmd/lakeload/admin"
	"github.com/lakeload/lakeload/lakehouse"
)

// told is an engine that tells a status.
type told struct{ status lakehouse.Status }

func (told) Repair(context.Context, string, lakehouse.RepairOptions) (*lakehouse.Repaired, error) {
	return nil, errors.New("not asked")
}

func (told) Act(context.Context, string, lakehouse.TableAction) (lakehouse.TableState, error) {
	return lakehouse.TableState{}, errors.New("not asked")
}

func (e told) Status() lakehouse.Status { return e.status }

func (e told) Cut(context.Context, func(ctx context.Context) (cdc.LSN, error)) (lakehouse.Cut, error) {
	return lakehouse.Cut{}, errors.New("not asked for")
}

func someHealth() *lakehouse.Health {
	p50, p99, failed, passed := 0.12, 2.0, 0.25, 0.75
	at := testNow.Add(-time.Minute)
	return &lakehouse.Health{
		Activity: lakehouse.ActivityWaiting, Trouble: &lakehouse.Trouble{What: "streaming", Err: "connection refused", Since: at, Times: 3},
		Since: at, LagBytes: 4096, LastCommit: &at,
		Alerts: []lakehouse.InfrastructureAlert{{Kind: lakehouse.AlertStore, Severity: lakehouse.AlertCritical, Message: "it fails", Remedy: "mend it", Value: 31, Limit: 30}},
		Windows: []lakehouse.Window{
			{Seconds: 60, Covered: 60},
			{
				Seconds: 300, Covered: 120, Records: 1200, Transactions: 30, Batches: 3, RecordsPerSecond: 10, LatencyP50: &p50, LatencyP99: &p99,
				Failures: 1, ErrorRate: &failed, SuccessRate: &passed,
			},
		},
	}
}

// TestHealthIsAskedOverTheSocket: the keys are a contract, docs/CLI.md.
func TestHealthIsAskedOverTheSocket(t *testing.T) {
	lake, cache := t.TempDir(), filepath.Join(t.TempDir(), "c")
	f := &statusFlags{lake: lakeFlags{c: &console{}, lake: lake}}
	none, err := f.health(t.Context(), "p")
	require.NoError(t, err)
	text, err := json.Marshal(none)
	require.NoError(t, err)
	require.JSONEq(t, `{"running":false,"streaming":false}`, string(text))
	require.Equal(t, "none runs on this machine", none.text())

	f.cacheDir = cache
	server, err := admin.Start(admin.SocketPath(cache), told{lakehouse.Status{Streaming: true, Health: someHealth()}})
	require.NoError(t, err)
	h, err := f.health(t.Context(), "p")
	require.NoError(t, err)
	require.NoError(t, server.Close())
	text, err = json.Marshal(h)
	require.NoError(t, err)
	require.Equal(t, `{"running":true,"streaming":true,"activity":"waiting",`+
		`"trouble":{"what":"streaming","error":"connection refused","since":"2026-11-23T18:03:32.123456Z","times":3},`+
		`"since":"2026-11-23T18:03:32.123456Z","lag_bytes":4096,"last_commit":"2026-11-23T18:03:32.123456Z",`+
		`"alerts":[{"kind":"store_unreachable","severity":"critical","message":"it fails","remedy":"mend it","value":31,"limit":30}],`+
		`"windows":[{"seconds":60,"covered_seconds":60,"records":0,"transactions":0,"batches":0,"records_per_second":0,`+
		`"latency_p50_seconds":null,"latency_p99_seconds":null,"failures":0,"error_rate":null,"success_rate":null},`+
		`{"seconds":300,"covered_seconds":120,"records":1200,"transactions":30,"batches":3,"records_per_second":10,`+
		`"latency_p50_seconds":0.12,"latency_p99_seconds":2,"failures":1,"error_rate":0.25,"success_rate":0.75}]}`, string(text))
	require.Equal(t, "waiting (streaming failed 3 times: connection refused); in the last 2m0s 1,200 rows, 10.0/s; "+
		"visible 120ms after their commit, 2s at most for 99 in 100; 1 failure; ALERT store_unreachable: it fails", h.text())

	doc, err := os.ReadFile("../../docs/CLI.md")
	require.NoError(t, err)
	_, section, ok := strings.Cut(string(doc), "`health` is what the engine")
	require.True(t, ok)
	section, _, _ = strings.Cut(section, "`status --exit-code`")
	var keys map[string]any
	require.NoError(t, json.Unmarshal(text, &keys))
	for key := range keys {
		require.Contains(t, section, "`"+key+"`")
	}
	for key := range keys["windows"].([]any)[0].(map[string]any) {
		require.Contains(t, section, "`"+key+"`")
	}
}

// An engine that is there and does not answer does not keep status from telling
// what the lake records.
func TestHealthOfAnEngineThatFails(t *testing.T) {
	h := healthJSON{Running: true, Error: "no answer"}
	require.Equal(t, "one is there and does not answer: no answer", h.text())
	text, err := json.Marshal(h)
	require.NoError(t, err)
	require.JSONEq(t, `{"running":true,"error":"no answer","streaming":false}`, string(text))
	require.Contains(t, (&healthJSON{Running: true}).text(), "another version")
}
