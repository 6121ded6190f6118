package pgbench

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/internal/pgserver"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
	"github.com/lakeload/lakeload/lakehouse"
)

// watched is an engine that is looked at over HTTP.
type watched struct {
	t       *testing.T
	address string
	*http.Client
}

func watch(t *testing.T) *watched {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close() // the engine takes it next
	w := &watched{t: t, address: l.Addr().String(), Client: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{}}}
	t.Cleanup(w.CloseIdleConnections)
	return w
}

// get asks, and gives 0 where nobody answers.
func (w *watched) get(path string) (int, string) {
	w.t.Helper()
	resp, err := w.Get("http://" + w.address + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	return resp.StatusCode, string(body)
}

type figures map[string]*dto.MetricFamily

// scrape reads the figures, which have to be ones that Prometheus takes.
func (w *watched) scrape() figures {
	w.t.Helper()
	code, text := w.get("/metrics")
	require.Equal(w.t, http.StatusOK, code, text)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	require.NoError(w.t, err)
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	require.NoError(w.t, err)
	for _, p := range problems {
		require.NotContains(w.t, p.Metric, "lakeload_", p.Text)
	}
	return families
}

// value is that of a figure with some labels, as name=value; 0 where it is not told.
func (f figures) value(name string, labels ...string) float64 {
	for _, m := range f["lakeload_"+name].GetMetric() {
		left := map[string]bool{}
		for _, l := range labels {
			left[l] = true
		}
		for _, l := range m.Label {
			delete(left, l.GetName()+"="+l.GetValue())
		}
		if len(left) > 0 {
			continue
		}
		switch {
		case m.Counter != nil:
			return m.Counter.GetValue()
		case m.Histogram != nil:
			return float64(m.Histogram.GetSampleCount())
		}
		return m.Gauge.GetValue()
	}
	return 0
}

// health is what `status -o json` tells of the engine.
type health struct {
	Running   bool               `json:"running"`
	Streaming bool               `json:"streaming"`
	Activity  lakehouse.Activity `json:"activity"`
	Trouble   *lakehouse.Trouble `json:"trouble"`
	Windows   []lakehouse.Window `json:"windows"`
	Alerts    []map[string]any   `json:"alerts"`
	Since     time.Time          `json:"since"`
}

func healthOf(t *testing.T, pipe *harness.Pipeline) health {
	t.Helper()
	var told struct{ Health health }
	r := harness.Call(t, "status", "--lake", pipe.Lake, "--name", pipe.Name, "-o", "json")
	require.NoError(t, json.Unmarshal([]byte(r.Stdout), &told), "%s", r)
	return told.Health
}

// TestMetrics looks at the engine while pgbench works: its counters are what pgbench has done, to the row. When the server is stopped the engine
// is not ready and lives, and when it is back it is ready again.
func TestMetrics(t *testing.T) {
	harness.Need(t)
	s := pgtest.Start(t, pgserver.Options{Version: 18})
	db := harness.NewDatabase(t, s)
	pgbench(t, db, "-i", "-q", "-s", "2").wait(t)
	pipe := harness.NewPipeline(t, db)
	w := watch(t)
	e := pipe.Start(t, "--listen", w.address)
	harness.Await(t, "an answer of /readyz", func() (bool, string) {
		require.True(t, e.Running(), e.Log())
		code, text := w.get("/readyz")
		return code == http.StatusOK, text
	})
	e.Await("stream_started", nil)
	pipe.Sync(t, e)
	before, marks, batches := w.scrape(), mark(t, db), len(e.Events("batch_committed"))
	for _, table := range tables {
		require.Equal(t, 1.0, before.value("table_phase", "table=public."+table, "phase=live"), table)
	}
	require.Positive(t, before.value("table_files_total", "table=public.pgbench_accounts"))
	require.Positive(t, before.value("table_file_bytes_total", "table=public.pgbench_accounts"))
	require.Equal(t, 200_000.0, before.value("table_index_keys", "table=public.pgbench_accounts"))

	load := pgbench(t, db, "-c", "4", "-j", "2", "-T", "12", "-n")
	rows, most, scrapes := before.value("rows_total"), 0.0, 0
	for until := time.Now().Add(11 * time.Second); time.Now().Before(until); time.Sleep(200 * time.Millisecond) {
		now := w.scrape()
		require.GreaterOrEqual(t, now.value("rows_total"), rows, "counters only grow")
		rows, most, scrapes = now.value("rows_total"), max(most, now.value("memory_in_flight_bytes")), scrapes+1
		require.LessOrEqual(t, now.value("memory_in_flight_bytes"), now.value("memory_budget_bytes"))
		require.Equal(t, 1.0, now.value("streaming"))
		code, text := w.get("/readyz")
		require.Equal(t, http.StatusOK, code, text)
	}
	require.Positive(t, most, "nothing was ever in flight")
	require.Greater(t, rows, before.value("rows_total"), "nothing came while pgbench worked")
	said := load.wait(t)
	done, err := strconv.ParseFloat(regexp.MustCompile(`actually processed: (\d+)`).FindStringSubmatch(said)[1], 64)
	require.NoError(t, err)
	pipe.Sync(t, e)

	after, marked := w.scrape(), mark(t, db)-marks
	grown := func(name string, labels ...string) float64 {
		return after.value(name, labels...) - before.value(name, labels...)
	}
	require.Equal(t, 4*done+marked, grown("rows_total"), "three updates and an insert")
	require.Equal(t, done+marked, grown("transactions_total"))
	for _, table := range tables[:3] {
		require.Equal(t, done, grown("table_changes_total", "table=public."+table, "op=update"), table)
		require.Zero(t, grown("table_changes_total", "table=public."+table, "op=insert"), table)
	}
	require.Positive(t, grown("table_vectors_total", "table=public.pgbench_accounts"), "of the others whole files go")
	require.Positive(t, grown("table_vector_bytes_total", "table=public.pgbench_accounts"))
	require.Equal(t, done, grown("table_changes_total", "table=public.pgbench_history", "op=insert"))
	require.Equal(t, marked, grown("table_changes_total", "table=public.lakeload_mark", "op=update"))
	told := float64(len(e.Events("batch_committed")) - batches)
	require.Equal(t, told, grown("batches_total"))
	require.Equal(t, told, grown("freshness_seconds"))
	require.Equal(t, told, grown("flush_duration_seconds"))
	require.EqualValues(t, pipe.Last(t).Epoch, after.value("epoch"))
	require.Equal(t, 5.0, after.value("tables", "phase=live"))
	require.Zero(t, after.value("retries_total"))
	require.Equal(t, 1.0, after.value("slot_active"))
	require.Positive(t, after.value("slot_retained_bytes"))
	require.Positive(t, after.value("spool_limit_bytes"))
	require.Positive(t, grown("table_index_lookups_total", "table=public.pgbench_accounts"))
	t.Logf("%.0f transactions of pgbench, %.0f batches, %d scrapes, at most %.0f bytes in flight", done, told, scrapes, most)

	h := healthOf(t, pipe)
	require.True(t, h.Running && h.Streaming)
	require.Equal(t, lakehouse.ActivityStreaming, h.Activity)
	require.Len(t, h.Windows, 3)
	require.EqualValues(t, after.value("rows_total"), h.Windows[2].Records, "it has run for less than a quarter of an hour")
	require.Equal(t, 1.0, *h.Windows[2].SuccessRate)
	require.Positive(t, *h.Windows[2].LatencyP50)
	require.GreaterOrEqual(t, *h.Windows[2].LatencyP99, *h.Windows[2].LatencyP50)
	require.Regexp(t, `engine +streaming; in the last .* rows, .*/s; visible .* after their commit`, harness.Call(t, "status", "--lake", pipe.Lake, "--name", pipe.Name).Stdout)

	takenAddress(t, db, w.address)
	serverGoesAndComes(t, s, pipe, e, w)

	e.Stop()
	code, _ := w.get("/healthz")
	require.Zero(t, code, "nobody listens any more")
	require.False(t, healthOf(t, pipe).Running)
	require.Regexp(t, `engine +none runs on this machine`, harness.Call(t, "status", "--lake", pipe.Lake, "--name", pipe.Name).Stdout)
}

func mark(t *testing.T, db *harness.Database) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(db.Value(t, "select n from lakeload_mark"), 64)
	require.NoError(t, err)
	return n
}

// takenAddress has another run listen where one does: it ends, and nothing is made.
func takenAddress(t *testing.T, db *harness.Database, address string) {
	t.Helper()
	owned, lake := db.Owned(t), filepath.Join(t.TempDir(), "other")
	r := harness.Do(t, harness.Command(t, "run", "--source", db.DSN, "--lake", lake, "--name", "other", "--all", "--listen", address))
	require.Equal(t, 1, r.Code, "%s", r)
	require.Contains(t, r.Stderr, "listening on "+address)
	require.Contains(t, r.Stderr, "nothing was changed")
	require.Contains(t, r.Stderr, "choose another address with --listen")
	require.NoDirExists(t, lake)
	slots := regexp.MustCompile(`0*[0-9A-F]+/[0-9A-F]+`) // the engine that runs goes on
	require.Equal(t, slots.ReplaceAllString(owned, ""), slots.ReplaceAllString(db.Owned(t), ""))
}

func serverGoesAndComes(t *testing.T, s *pgserver.Server, pipe *harness.Pipeline, e *harness.Engine, w *watched) {
	t.Helper()
	begun := time.Now()
	require.NoError(t, s.Halt(t.Context()))
	var text string
	harness.Await(t, "503 of /readyz", func() (bool, string) {
		var code int
		code, text = w.get("/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(text, "tried again"), text
	})
	t.Logf("not ready %v after the server was told to stop: %s", time.Since(begun).Round(10*time.Millisecond), strings.TrimSpace(text))
	var answer struct {
		Ready    bool               `json:"ready"`
		Activity lakehouse.Activity `json:"activity"`
		Reason   string             `json:"reason"`
		Error    string             `json:"error"`
		Since    time.Time          `json:"since"`
	}
	require.NoError(t, json.Unmarshal([]byte(text), &answer))
	require.False(t, answer.Ready)
	require.Equal(t, lakehouse.ActivityWaiting, answer.Activity)
	require.Contains(t, answer.Reason, "streaming")
	require.NotEmpty(t, answer.Error)
	require.WithinDuration(t, time.Now(), answer.Since, time.Minute)
	time.Sleep(2 * time.Second)
	code, text := w.get("/healthz")
	require.Equal(t, http.StatusOK, code, text)
	now := w.scrape()
	require.Zero(t, now.value("streaming"))
	require.Equal(t, 1.0, now.value("activity", "activity=waiting"))
	require.Positive(t, now.value("retries_total", "what=streaming"))
	h := healthOf(t, pipe)
	require.True(t, h.Running)
	require.False(t, h.Streaming)
	require.Equal(t, "streaming", h.Trouble.What)
	require.Positive(t, h.Windows[0].Failures)
	require.Less(t, *h.Windows[0].SuccessRate, 1.0)

	begun = time.Now()
	require.NoError(t, s.Restart(t.Context()))
	harness.Await(t, "200 of /readyz", func() (bool, string) {
		require.True(t, e.Running(), e.Log())
		code, text := w.get("/readyz")
		return code == http.StatusOK, text
	})
	t.Logf("ready %v after the server began to start", time.Since(begun).Round(10*time.Millisecond))
	pipe.Sync(t, e)
	now = w.scrape()
	require.Equal(t, 1.0, now.value("streaming"))
	require.GreaterOrEqual(t, now.value("streams_started_total"), 2.0)
	require.Nil(t, healthOf(t, pipe).Trouble)
}
