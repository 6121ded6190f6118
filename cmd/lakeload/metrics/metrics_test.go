package metrics

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/lakehouse/keyindex"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// full are figures of everything that there is.
func full() lakehouse.Stats {
	at := time.Unix(1_800_000_000, 0)
	safe := int64(5 << 30)
	s := lakehouse.Stats{
		At: at, Since: at.Add(-time.Hour), Activity: lakehouse.ActivityStreaming,
		Status: lakehouse.Status{Pipeline: "shop", Streaming: true, Epoch: 41, EpochTime: at.Add(-2 * time.Second)},
		Rows:   1234, Transactions: 100, Batches: 3, Streams: 2, LastCommit: at.Add(-time.Second), LagBytes: 4096,
		Freshness: lakehouse.Histogram{Bounds: []time.Duration{time.Second, 10 * time.Second}, Counts: []int64{1, 1, 1}, Sum: 20 * time.Second},
		Flush:     lakehouse.Histogram{Bounds: []time.Duration{time.Second}, Counts: []int64{3, 0}, Sum: time.Second},
		Slot:      &lakehouse.SlotSample{At: at, Retained: 1 << 20, State: cdc.SlotState{Active: true, SafeWALSize: &safe}},
		Stream: &cdc.StreamStats{
			InProgress: 2, SpooledEver: 5000, Aborted: 10, OnDisk: 3000, SpoolLimit: 1 << 30, SpoolFailures: 1, LastData: at, RoundTrip: 5 * time.Millisecond,
		},
		InFlight: 10, Held: 20, Budget: 512 << 20, Writing: 1, WritingLimit: 8,
		Retries: map[string]int64{"streaming": 2, "copying": 1},
		Store: lakehouse.StoreStats{
			Calls: map[string]int64{"Get": 7, "PutIfAbsent": 5}, Failures: map[string]int64{"Get": 1}, Retries: 1, FailingSince: at.Add(-3 * time.Second),
		},
		Alerts: []lakehouse.InfrastructureAlert{{Kind: lakehouse.AlertSpool, Severity: lakehouse.AlertWarning}},
		Tables: []lakehouse.TableStats{
			{
				Name: "public.orders", Phase: lakehouse.PhaseLive, Inserts: 1, Updates: 2, Deletes: 3, Truncates: 4, Files: 5, FileBytes: 6, Vectors: 7, VectorBytes: 8,
				Index: &keyindex.Stats{Keys: 9, Memory: 10, Disk: 11, Lookups: 12, Merges: 13},
			},
			{Name: "public.new", Phase: lakehouse.PhaseCopying, Copy: &lakehouse.CopyStats{Ranges: 4, RangesDone: 1, Rows: 100, RowsEstimate: 400}},
		},
	}
	s.Loops.Observer, s.Loops.Stream = at, at
	return s
}

type engine struct{ stats lakehouse.Stats }

func (e *engine) Stats() lakehouse.Stats { return e.stats }

func registry(t *testing.T, s lakehouse.Stats) *prometheus.Registry {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	require.NoError(t, r.Register(newCollector("shop", func() (lakehouse.Stats, bool) { return s, true })))
	return r
}

// What promtool check metrics would say.
func TestNamesFollowTheRules(t *testing.T) {
	problems, err := testutil.GatherAndLint(registry(t, full()))
	require.NoError(t, err)
	require.Empty(t, problems)
	for _, f := range figures {
		require.Equal(t, f.kind == counter, strings.HasSuffix(f.name, "_total"), f.name)
		require.NotEmpty(t, f.help, f.name)
	}
}

// Every figure is told, and has the value that the engine has.
func TestEveryFigureIsTold(t *testing.T) {
	families, err := registry(t, full()).Gather()
	require.NoError(t, err)
	told := map[string]bool{}
	for _, f := range families {
		told[strings.TrimPrefix(f.GetName(), namespace)] = true
		for _, m := range f.Metric {
			labels := map[string]string{}
			for _, l := range m.Label {
				labels[l.GetName()] = l.GetValue()
			}
			require.Equal(t, "shop", labels["pipeline"], f.GetName())
		}
	}
	for _, f := range figures {
		require.True(t, told[f.name], f.name)
	}
	require.NoError(t, testutil.GatherAndCompare(registry(t, full()), strings.NewReader(`
# HELP lakeload_rows_total Row images that were delivered and are durable in the lake; an update with its old row has two.
# TYPE lakeload_rows_total counter
lakeload_rows_total{pipeline="shop"} 1234
# HELP lakeload_freshness_seconds From the commit of a batch's last transaction, by the source's clock, to its being visible in the lake.
# TYPE lakeload_freshness_seconds histogram
lakeload_freshness_seconds_bucket{pipeline="shop",le="1"} 1
lakeload_freshness_seconds_bucket{pipeline="shop",le="10"} 2
lakeload_freshness_seconds_bucket{pipeline="shop",le="+Inf"} 3
lakeload_freshness_seconds_sum{pipeline="shop"} 20
lakeload_freshness_seconds_count{pipeline="shop"} 3
# HELP lakeload_table_changes_total Changes that were applied and are durable, without those that came while the table was copied.
# TYPE lakeload_table_changes_total counter
lakeload_table_changes_total{op="delete",pipeline="shop",table="public.new"} 0
lakeload_table_changes_total{op="delete",pipeline="shop",table="public.orders"} 3
lakeload_table_changes_total{op="insert",pipeline="shop",table="public.new"} 0
lakeload_table_changes_total{op="insert",pipeline="shop",table="public.orders"} 1
lakeload_table_changes_total{op="truncate",pipeline="shop",table="public.new"} 0
lakeload_table_changes_total{op="truncate",pipeline="shop",table="public.orders"} 4
lakeload_table_changes_total{op="update",pipeline="shop",table="public.new"} 0
lakeload_table_changes_total{op="update",pipeline="shop",table="public.orders"} 2
# HELP lakeload_store_failing_seconds For how long the lake's store has been failing; 0: it does not.
# TYPE lakeload_store_failing_seconds gauge
lakeload_store_failing_seconds{pipeline="shop"} 3
# HELP lakeload_alert Alerts that stand: 1.
# TYPE lakeload_alert gauge
lakeload_alert{kind="spool_nearly_full",pipeline="shop",severity="warning"} 1
`), "lakeload_rows_total", "lakeload_freshness_seconds", "lakeload_table_changes_total", "lakeload_store_failing_seconds", "lakeload_alert"))
}

// Every figure is explained where an operator looks.
func TestEveryFigureIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/OPERATIONS.md")
	require.NoError(t, err)
	for _, f := range figures {
		require.Contains(t, string(doc), "`"+namespace+f.name+"`", "say in docs/OPERATIONS.md what to do about it")
	}
	for _, a := range []string{lakehouse.AlertSpool, lakehouse.AlertStore} {
		require.Contains(t, string(doc), "`"+a+"`")
	}
}

// The series of tables are bounded, and their sums are right.
func TestSeriesAreBounded(t *testing.T) {
	s := full()
	s.Tables = nil
	for i := range maxTables + 50 {
		s.Tables = append(s.Tables, lakehouse.TableStats{Name: fmt.Sprint("public.t", i), Phase: lakehouse.PhaseLive, Inserts: 2, Index: &keyindex.Stats{Keys: 3}})
	}
	r := registry(t, s)
	n, err := testutil.GatherAndCount(r, "lakeload_table_files_total")
	require.NoError(t, err)
	require.Equal(t, maxTables+1, n)
	n, err = testutil.GatherAndCount(r, "lakeload_table_phase")
	require.NoError(t, err)
	require.Equal(t, maxTables, n)
	families, err := r.Gather()
	require.NoError(t, err)
	sum := 0.0
	for _, f := range families {
		if f.GetName() == "lakeload_table_changes_total" {
			for _, m := range f.Metric {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	require.Equal(t, float64(2*(maxTables+50)), sum)
}

// A table that was dropped and another in its place are one series.
func TestTablesOfOneNameAreOne(t *testing.T) {
	s := full()
	s.Tables = []lakehouse.TableStats{
		{Name: "public.t", Phase: lakehouse.PhaseLive, Inserts: 1},
		{Name: "public.u", Phase: lakehouse.PhaseDetached, Inserts: 10},
		{Name: "public.t", Phase: lakehouse.PhaseDetached, Inserts: 100},
		{Name: "public.u", Phase: lakehouse.PhaseStopped, Inserts: 1000, Index: &keyindex.Stats{Keys: 1}},
	}
	_, err := registry(t, s).Gather()
	require.NoError(t, err)
	got := byName(s.Tables)
	require.Equal(t, []lakehouse.TableStats{
		{Name: "public.t", Phase: lakehouse.PhaseLive, Inserts: 101},
		{Name: "public.u", Phase: lakehouse.PhaseStopped, Inserts: 1010, Index: &keyindex.Stats{Keys: 1}},
	}, got)
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string]Address{
		"127.0.0.1:9187":  {HostPort: "127.0.0.1:9187"},
		":9187":           {HostPort: "127.0.0.1:9187"},
		"localhost:1":     {HostPort: "localhost:1"},
		"[::1]:9187":      {HostPort: "[::1]:9187"},
		"0.0.0.0:9187":    {HostPort: "0.0.0.0:9187", Open: true},
		"[::]:9187":       {HostPort: "[::]:9187", Open: true},
		"10.1.2.3:9187":   {HostPort: "10.1.2.3:9187", Open: true},
		"db.example:9187": {HostPort: "db.example:9187", Open: true},
	} {
		got, err := ParseAddress(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "9187", "localhost", "127.0.0.1:", "::1:9187"} {
		_, err := ParseAddress(text)
		require.ErrorContains(t, err, "as 127.0.0.1:9187", text)
	}
}

func serve(t *testing.T) *Server {
	t.Helper()
	at, err := ParseAddress(":0")
	require.NoError(t, err)
	s, err := Listen(at, "shop", Build{Version: "v1", Revision: "abc", Go: "go1"})
	require.NoError(t, err)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		require.NoError(t, s.Close())
	})
	return s
}

func get(t *testing.T, s *Server, path string) (int, string) {
	t.Helper()
	resp, err := http.Get("http://" + s.Addr() + path)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, strings.TrimSpace(string(body))
}

// It answers from the beginning, and a parser understands what it says.
func TestServer(t *testing.T) {
	s := serve(t)
	parse := func() map[string]bool {
		code, text := get(t, s, "/metrics")
		require.Equal(t, http.StatusOK, code)
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(text + "\n"))
		require.NoError(t, err)
		names := map[string]bool{}
		for name := range families {
			names[name] = true
		}
		return names
	}
	names := parse()
	require.True(t, names["lakeload_build_info"] && names["go_goroutines"])
	require.False(t, names["lakeload_rows_total"], "there is no engine")
	code, text := get(t, s, "/healthz")
	require.Equal(t, http.StatusOK, code)
	require.JSONEq(t, `{"alive":true}`, text)
	code, text = get(t, s, "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.JSONEq(t, `{"ready":false,"activity":"starting","reason":"source and lake are looked at; nothing is followed yet"}`, text)

	s.Show(&engine{full()})
	require.True(t, parse()["lakeload_rows_total"])
	code, text = get(t, s, "/readyz")
	require.Equal(t, http.StatusOK, code)
	require.JSONEq(t, `{"ready":true,"activity":"streaming"}`, text)
	for _, path := range []string{"/", "/debug/pprof/", "/v1/status"} {
		code, _ = get(t, s, path)
		require.Equal(t, http.StatusNotFound, code, path)
	}
	resp, err := http.Post("http://"+s.Addr()+"/metrics", "text/plain", nil)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)

	at, err := ParseAddress(s.Addr())
	require.NoError(t, err)
	_, err = Listen(at, "other", Build{})
	require.ErrorContains(t, err, "listening on "+s.Addr())
}

func TestReadiness(t *testing.T) {
	at := time.Unix(1_800_000_000, 0).UTC()
	waiting := lakehouse.Stats{Activity: lakehouse.ActivityWaiting, Trouble: &lakehouse.Trouble{What: "streaming", Err: "connection refused", Since: at, Times: 3}}
	r := works(&waiting)
	require.Equal(t, ready{Activity: lakehouse.ActivityWaiting, Reason: "streaming failed and is tried again", Error: "connection refused", Since: &at, Times: 3}, r)
	waiting.Status.Streaming = true
	require.True(t, works(&waiting).Ready, "a copy beside the stream is waited for")
	require.True(t, works(&lakehouse.Stats{Activity: lakehouse.ActivityCopying}).Ready)
	require.False(t, works(&lakehouse.Stats{Activity: lakehouse.ActivityEnded}).Ready)
	require.False(t, works(&lakehouse.Stats{Activity: lakehouse.ActivityStarting}).Ready)
}

func TestLiveness(t *testing.T) {
	s := full()
	require.True(t, lives(&s).Alive)
	s.Loops.Stream = s.At.Add(-2 * time.Minute)
	require.Equal(t, alive{Reason: "the loop of the stream has not turned for 2m0s"}, lives(&s))
	s.Status.Streaming, s.Activity = false, lakehouse.ActivityWaiting
	require.True(t, lives(&s).Alive, "there is no stream; to start the process again would not help")
	s.Loops.Observer = s.At.Add(-3 * time.Minute)
	require.False(t, lives(&s).Alive)
	s.Loops.Observer = time.Time{}
	require.True(t, lives(&s).Alive, "it has not been started yet")
	s.Activity = lakehouse.ActivityEnded
	require.False(t, lives(&s).Alive)
}
