package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/postgres"
	"github.com/lakeload/lakeload/cmd/lakeload/config"
	"github.com/lakeload/lakeload/lakehouse"
)

// resolve gives what a run's flags come to, over a configuration.
func resolve(t *testing.T, conf *config.Config, args ...string) (*selection, lakehouse.Options) {
	t.Helper()
	cmd := newRunCommand(&console{getenv: func(string) (string, bool) { return "", false }})
	f := &runFlags{source: sourceFlags{c: &console{getenv: func(string) (string, bool) { return "", false }}}}
	cmd.ResetFlags()
	f.register(cmd.Flags())
	require.NoError(t, cmd.ParseFlags(args))
	s, err := f.source.merge(conf)
	require.NoError(t, err)
	o, err := f.options(s)
	require.NoError(t, err)
	return s, o
}

var shop = config.Source{URL: "postgres://loader@db/shop"}

func TestRunHasDefaults(t *testing.T) {
	s, o := resolve(t, &config.Config{Source: shop}, "--all")
	require.Equal(t, "default", s.name)
	require.Equal(t, "lakeload_default", s.postgres.Slot)
	require.Equal(t, "lakeload_default", s.postgres.Publication)
	require.Equal(t, postgres.KeylessInsertOnly, s.postgres.Keyless, "--all takes tables without a key, too")
	require.Equal(t, "default", o.Name)
	require.Zero(t, o.Table(&cdc.Relation{Schema: "public", Name: "orders"}), "the engine has its own default")
	require.Zero(t, o.Freshness, "the engine has its own default")
	require.Equal(t, postgres.StreamingOn, s.postgres.Streaming)
	require.Equal(t, postgres.OriginAny, s.postgres.Origin)
	require.Zero(t, s.postgres.Heartbeat, "the source has its own default")
}

func TestRunStopsAtKeylessTablesThatWereNamed(t *testing.T) {
	s, _ := resolve(t, &config.Config{Source: shop}, "--tables", "public.*,sales.a", "--exclude", "public.tmp_*")
	require.Equal(t, postgres.KeylessStop, s.postgres.Keyless)
	require.Equal(t, []string{"public.*", "sales.a"}, s.postgres.Tables)
	require.Equal(t, []string{"public.tmp_*"}, s.postgres.Exclude)
	s, _ = resolve(t, &config.Config{Source: shop}, "--tables", "public.*", "--keyless", "insert-only")
	require.Equal(t, postgres.KeylessInsertOnly, s.postgres.Keyless)
	s, _ = resolve(t, &config.Config{Source: shop}, "--all", "--keyless", "stop")
	require.Equal(t, postgres.KeylessStop, s.postgres.Keyless)
}

func TestRunTakesTheConfigurationAndFlagsWin(t *testing.T) {
	conf := &config.Config{
		Name: "My-Shop", Source: config.Source{URL: shop.URL, PasswordFile: "/run/secrets/pg", Streaming: config.Off, Origin: config.None, Heartbeat: time.Hour},
		Lake:     config.Lake{Freshness: 10 * time.Second},
		Defaults: config.Defaults{Mode: []string{config.Changelog}},
		Limits:   config.Limits{Memory: 1 << 30, Spool: 2 << 30, SpoolFolder: "/spool", SourceConnections: 7},
		Keyless:  config.InsertOnly,
		Tables: []config.Rule{
			{Match: []string{"public.*"}, Exclude: []string{"public.tmp_*"}},
			{Match: []string{"public.o*"}, Mode: []string{config.Mirror}},
			{Match: []string{"public.orders", "x.y"}, Mode: []string{config.Mirror, config.Changelog}},
		},
	}
	s, o := resolve(t, conf)
	require.Equal(t, "My-Shop", o.Name)
	require.Equal(t, "lakeload_my_shop", s.postgres.Slot, "PostgreSQL allows fewer letters")
	require.Equal(t, "/run/secrets/pg", s.postgres.PasswordFile)
	require.Equal(t, 7, s.postgres.Connections)
	require.Equal(t, postgres.StreamingOff, s.postgres.Streaming)
	require.Equal(t, postgres.OriginNone, s.postgres.Origin)
	require.Equal(t, time.Hour, s.postgres.Heartbeat)
	require.Equal(t, "/spool", s.postgres.SpoolDir)
	require.Equal(t, int64(2<<30), s.postgres.SpoolBytes)
	require.Equal(t, []string{"public.*", "public.o*", "public.orders", "x.y"}, s.postgres.Tables)
	require.Equal(t, []string{"public.tmp_*"}, s.postgres.Exclude)
	require.Equal(t, postgres.KeylessInsertOnly, s.postgres.Keyless)
	require.Equal(t, 10*time.Second, o.Freshness)
	require.Equal(t, int64(1<<30), o.Memory)
	for name, want := range map[string][]lakehouse.Mode{
		"customers": {lakehouse.ModeChangelog},
		"offers":    {lakehouse.ModeMirror},
		"orders":    {lakehouse.ModeChangelog, lakehouse.ModeMirror},
	} {
		require.Equal(t, want, o.Table(&cdc.Relation{Schema: "public", Name: name}).Modes, name)
	}

	s, o = resolve(t, conf, "--tables", "sales.*", "--freshness", "50ms", "--memory", "64MiB", "--mode", "mirror", "--name", "b",
		"--slot", "mine", "--publication", "ours", "--until-current", "--copy-workers", "9")
	require.Equal(t, []string{"sales.*"}, s.postgres.Tables)
	require.Equal(t, 50*time.Millisecond, o.Freshness)
	require.Equal(t, int64(64<<20), o.Memory)
	require.Equal(t, "mine", o.Slot)
	require.Equal(t, "ours", o.Publication)
	require.Equal(t, "b", o.Name)
	require.True(t, o.UntilCurrent)
	require.Equal(t, 9, o.CopyWorkers)
	require.Equal(t, []lakehouse.Mode{lakehouse.ModeMirror}, o.Table(&cdc.Relation{Schema: "public", Name: "customers"}).Modes)
}

func TestPreflightErrorNamesEveryBlocker(t *testing.T) {
	findings := []cdc.Finding{
		{Check: "wal_level", Severity: cdc.Blocker, Have: "replica", Need: "logical", Remedy: "ALTER SYSTEM SET wal_level = logical;\nrestart the server"},
		{Check: "encoding", Severity: cdc.OK, Have: "UTF8"},
		{Check: "replica_identity", Object: "public.events", Severity: cdc.Blocker, Have: "none", Remedy: "give it a key"},
	}
	err := blocked(findings)
	require.EqualError(t, err, "the source is not ready to be mirrored: 2 things stand in the way (wal_level, replica_identity); nothing was changed")
	require.Equal(t, "mend what is listed, then try again; `lakeload check` shows it at any time\n"+
		"wal_level: it is replica; needed: logical\n  ALTER SYSTEM SET wal_level = logical;\n  restart the server\n"+
		"replica_identity (public.events): none\n  give it a key", hintOf(err))
	require.EqualError(t, blocked(findings[:2]), "the source is not ready to be mirrored: 1 thing stands in the way (wal_level); nothing was changed")
	require.NoError(t, blocked(findings[1:2]))
}
