package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lakeload/lakeload/cdc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// commit writes a version of a table's log as a writer does: whole.
func commit(t *testing.T, dir string, version int, cut cdc.LSN) {
	t.Helper()
	log := filepath.Join(dir, "_delta_log")
	require.NoError(t, os.MkdirAll(log, 0o755))
	text := fmt.Sprintf("{\"commitInfo\":{}}\n{\"txn\":{\"appId\":\"a\",\"version\":%d}}\n", cut)
	temp := filepath.Join(log, "temp")
	require.NoError(t, os.WriteFile(temp, []byte(text), 0o600))
	require.NoError(t, os.Rename(temp, filepath.Join(log, fmt.Sprintf("%020d.json", version))))
}

func TestPollerMeasuresFromOutside(t *testing.T) {
	dir := t.TempDir()
	p := newPoller(dir)
	defer p.stop()
	sent := time.Now()
	p.expect(100, sent)
	p.expect(200, sent)
	commit(t, dir, 0, 100) // ends where the first was still to begin
	require.Eventually(t, func() bool { return p.reached(99) }, 5*time.Second, time.Millisecond)
	require.Zero(t, p.freshness().Samples)
	commit(t, dir, 1, 150)
	require.Eventually(t, func() bool { return p.freshness().Samples == 1 }, 5*time.Second, time.Millisecond)
	f := p.freshness()
	require.LessOrEqual(t, f.P50, time.Since(sent))
	require.Positive(t, f.P50)
	require.False(t, p.reached(150))

	// What the crash fell into is told apart.
	p.crashed(time.Now())
	commit(t, dir, 2, 300)
	require.Eventually(t, func() bool { return p.freshness().OverCrash > 0 }, 5*time.Second, time.Millisecond)
	require.Equal(t, 1, p.freshness().Samples)
	require.Positive(t, p.recovery())
	p.expect(300, time.Now())
	commit(t, dir, 3, 301)
	require.Eventually(t, func() bool { return p.freshness().Samples == 2 }, 5*time.Second, time.Millisecond)
	p.stop() // twice does no harm
}

func TestCutOf(t *testing.T) {
	require.Equal(t, cdc.LSN(77), cutOf([]byte("{\"add\":{}}\nnot json\n{\"txn\":{\"appId\":\"x\",\"version\":77}}\n")))
	require.Zero(t, cutOf([]byte("{\"add\":{}}\n")))
}

func TestEngineHears(t *testing.T) {
	e := newEngine("", "", "")
	e.listen(strings.NewReader(`{"event":"snapshot_progress","table":"a","rows":5}
{"event":"snapshot_progress","table":"a","rows":9}
{"event":"snapshot_finished","table":"a","rows":10}
something else
{"event":"snapshot_finished","table":"b","rows":3}
{"event":"batch_committed","epoch":4,"rows":7}
{"event":"batch_committed","epoch":0}
{"event":"table_stopped","table":"b","reason":"why"}`))
	require.Equal(t, engineState{copied: 13, tablesCopied: 2, batches: 2, epoch: 4, stoppedTable: "b: why"}, e.state())
}

func TestEngineThatEndsIsNoticed(t *testing.T) {
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skip("left out: there is no /bin/sh")
	}
	program := filepath.Join(t.TempDir(), "engine")
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\necho \"it goes wrong: $LAKELOAD_SOURCE $*\" >&2\nexit 3\n"), 0o700))
	e := newEngine(program, "dsn", "lake")
	require.NoError(t, e.start("--until-current"))
	err := e.finish(context.Background())
	require.ErrorContains(t, err, "exit status 3")
	require.ErrorContains(t, err, "it goes wrong: dsn run --lake lake --all")
	require.ErrorContains(t, err, "--until-current")
	e.kill() // does no harm

	require.Error(t, newEngine(filepath.Join(t.TempDir(), "absent"), "", "").start())
}

func TestScreenOffTheTerminalIsPlain(t *testing.T) {
	var out bytes.Buffer
	s := newScreen(Options{Out: &out, Color: true})
	s.title("title")
	one := s.step("one")
	one.say("one and a half")
	one.done("one is %s", "done")
	s.step("two")
	s.failed()
	s.close()
	require.Regexp(t, `^title\n\n  \.\.\. one\n  ok  one is done \(\d\.\d\d s\)\n  \.\.\. two\n  NO  two \(\d\.\d\d s\)\n$`, out.String())
}

func TestScreenKeepsToOneLine(t *testing.T) {
	var out bytes.Buffer
	s := newScreen(Options{Out: &out, Terminal: true})
	s.step(strings.Repeat("long ", 100))
	require.NotContains(t, out.String(), "\n")
	require.Less(t, len([]rune(out.String())), 130)
	s.failed()
	require.NotContains(t, out.String(), "\x1b[31m", "no colour unless asked for")
}

func TestRunWantsAnEmptyFolder(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x"), nil, 0o600))
	_, err := Run(context.Background(), Options{Lake: dir})
	require.ErrorContains(t, err, "is not empty")
}

func TestSummary(t *testing.T) {
	r := &Result{Lake: "/tmp/my lake", Tables: []TableComparison{{Table: "orders", SourceRows: 5, LakeRows: 5}}, Changes: 12345}
	var out bytes.Buffer
	require.NoError(t, r.Summary(&out, "lakeload"))
	require.Contains(t, out.String(), "12,345 changes")
	require.Contains(t, out.String(), "lakeload tables --lake '/tmp/my lake'")
	require.Contains(t, out.String(), "delta_scan('/tmp/my lake/public/orders')")
	_, err := json.Marshal(r)
	require.NoError(t, err)
}
