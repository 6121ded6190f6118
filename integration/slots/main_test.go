// Package slots takes servers, slots and connections away from the real program, and gives it others: failovers, restores, upgrades,
// shutdowns, a second engine. What it holds is what an operator meets.
package slots

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/internal/pgserver"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// The documented exit codes (docs/CLI.md).
const (
	failed    = 1
	preflight = 3
	conflict  = 4
)

// pair is a primary with a standby, a database of both, and a pipeline that knows both hosts.
type pair struct {
	t                *testing.T
	primary, standby *pgserver.Server
	db               *harness.Database // leads to whichever can be written to
	bank             *harness.Bank
	pipe             *harness.Pipeline
}

func newPair(t *testing.T, version int, args ...string) *pair {
	t.Helper()
	harness.Need(t)
	ctx := t.Context()
	p := &pair{t: t, primary: pgtest.Start(t, pgserver.Options{Version: version})}
	one := harness.NewDatabase(t, p.primary)
	settings := map[string]string{"hot_standby_feedback": "on", "max_standby_streaming_delay": "1s"}
	if version >= 17 {
		settings["sync_replication_slots"] = "on"
	}
	var err error
	p.standby, err = p.primary.Standby(ctx, pgserver.Options{Settings: settings})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.standby.Stop(t.Context())) })
	harness.Await(t, "the standby's feedback", func() (bool, string) { // before it the primary removes what a slot on the standby would need
		rows, err := p.primary.SQL(ctx, "SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'physical' AND xmin IS NOT NULL")
		require.NoError(t, err)
		return rows[0][0] == "1", ""
	})
	dsn := fmt.Sprintf("postgres://postgres@127.0.0.1:%d,127.0.0.1:%d/%s?sslmode=disable&target_session_attrs=read-write", p.primary.Port(), p.standby.Port(), one.Name)
	p.db = &harness.Database{Server: p.primary, Name: one.Name, DSN: dsn}
	p.bank = harness.NewBank(t, p.db, uint64(version))
	p.pipe = harness.NewPipeline(t, p.db, args...)
	return p
}

// waitsForStandby lets the primary give nothing to the lake that the standby does not have yet (PostgreSQL 17).
func (p *pair) waitsForStandby() {
	p.t.Helper()
	rows, err := p.primary.SQL(p.t.Context(), "SELECT slot_name FROM pg_replication_slots WHERE slot_type = 'physical'")
	require.NoError(p.t, err)
	_, err = p.primary.SQL(p.t.Context(), "ALTER SYSTEM SET synchronized_standby_slots = '"+rows[0][0]+"'", "SELECT pg_reload_conf()")
	require.NoError(p.t, err)
}

// kept waits until the standby has the slot for good.
func (p *pair) kept() {
	p.t.Helper()
	harness.Await(p.t, "the standby keeps the slot", func() (bool, string) {
		p.db.Exec(p.t, "update lakeload_mark set n = n + 1") // it looks seldom where nothing happens
		_, err := p.primary.SQL(p.t.Context(), "SELECT pg_log_standby_snapshot()")
		require.NoError(p.t, err)
		rows, err := p.standby.SQL(p.t.Context(), "SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'logical' AND synced AND NOT temporary")
		require.NoError(p.t, err)
		return rows[0][0] == "1", ""
	})
}

// caughtUp waits until the standby has all that the primary has.
func (p *pair) caughtUp() {
	p.t.Helper()
	at, err := p.primary.SQL(p.t.Context(), "SELECT pg_current_wal_lsn()")
	require.NoError(p.t, err)
	harness.Await(p.t, "the standby has it all", func() (bool, string) {
		rows, err := p.standby.SQL(p.t.Context(), "SELECT pg_last_wal_replay_lsn() >= '"+at[0][0]+"'")
		require.NoError(p.t, err)
		return rows[0][0] == "t", ""
	})
}

// status is what `lakeload status -o json` tells of a pipeline, without its source.
func status(t *testing.T, p *harness.Pipeline) (s struct {
	Source struct {
		SystemID string `json:"system_id"`
		Timeline int    `json:"timeline"`
	} `json:"source"`
	Halt *struct {
		Reason string `json:"reason"`
		Remedy string `json:"remedy"`
	} `json:"halt"`
	Adoptions []struct {
		By         string `json:"by"`
		Note       string `json:"note"`
		Continuous bool   `json:"continuous"`
	} `json:"adoptions"`
	Healthy  bool     `json:"healthy"`
	Problems []string `json:"problems"`
},
) {
	t.Helper()
	r := harness.Call(t, "status", "--lake", p.Lake, "--name", p.Name, "-o", "json")
	require.NoError(t, json.Unmarshal([]byte(r.Stdout), &s))
	return s
}

// adopt calls `lakeload adopt`.
func adopt(t *testing.T, p *harness.Pipeline, args ...string) harness.Result {
	t.Helper()
	return harness.Do(t, harness.Command(t, append([]string{"adopt", "--source", p.DB.DSN, "--lake", p.Lake, "--name", p.Name, "--all"}, args...)...))
}

// refused runs the engine and fails the test unless it ends with a conflict that says all of what is given, and changes no table.
func refused(t *testing.T, p *harness.Pipeline, says ...string) {
	t.Helper()
	e := p.Start(t, "--until-current")
	require.Equal(t, conflict, e.Wait(), e.Log())
	stopped := e.Events("pipeline_stopped")
	require.Len(t, stopped, 1, e.Log())
	for _, s := range says {
		require.Contains(t, stopped[0].Error+" "+stopped[0].Remedy, s)
	}
	require.Empty(t, e.Events("batch_committed"), e.Log())
	t.Log(strings.TrimSpace(stopped[0].Error))
}
