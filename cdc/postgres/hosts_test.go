package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/internal/pgserver"
)

// serverPair is a primary and its standby, of the tests' major version.
type serverPair struct {
	t                *testing.T
	primary, standby *pgserver.Server
}

func newServerPair(t *testing.T, settings map[string]string) *serverPair {
	t.Helper()
	version := testServer(t).Version() // leaves the test out where there is none
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p := &serverPair{t: t}
	var err error
	p.primary, err = pgserver.Start(ctx, pgserver.Options{Version: version, Offline: true, Password: testPassword})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.primary.Stop(context.Background())) })
	p.standby, err = p.primary.Standby(ctx, pgserver.Options{Settings: settings})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.standby.Stop(context.Background())) })
	return p
}

// caughtUp waits until the standby has replayed what the primary has written.
func (p *serverPair) caughtUp() {
	p.t.Helper()
	at, err := p.primary.SQL(p.t.Context(), "SELECT pg_current_wal_lsn()")
	require.NoError(p.t, err)
	require.Eventually(p.t, func() bool {
		rows, err := p.standby.SQL(p.t.Context(), "SELECT pg_last_wal_replay_lsn() >= '"+at[0][0]+"'")
		require.NoError(p.t, err)
		return rows[0][0] == "t"
	}, 30*time.Second, 20*time.Millisecond)
}

// config leads to some of the two servers, in this order.
func (p *serverPair) config(servers ...*pgserver.Server) Config {
	var hosts []string
	for _, s := range servers {
		hosts = append(hosts, fmt.Sprintf("127.0.0.1:%d", s.Port()))
	}
	return Config{
		DSN:  fmt.Sprintf("postgres://postgres:%s@%s/postgres?sslmode=disable", testPassword, strings.Join(hosts, ",")),
		Slot: "pair", Publication: "pair", All: true,
	}
}

func (p *serverPair) open(change func(*Config), servers ...*pgserver.Server) *Source {
	p.t.Helper()
	c := p.config(servers...)
	if change != nil {
		change(&c)
	}
	s, err := Open(testContext(p.t), c)
	require.NoError(p.t, err)
	p.t.Cleanup(func() { require.NoError(p.t, s.Close()) })
	return s
}

// Of several hosts the one that can be written to is used, unless a standby
// was asked for; without one there is something to wait for.
func TestEdge23SeveralHosts(t *testing.T) {
	p := newServerPair(t, nil)
	ctx := testContext(t)
	s := p.open(nil, p.standby, p.primary)
	id, err := s.Identify(ctx)
	require.NoError(t, err)
	require.False(t, id.Standby)
	for _, kind := range []connKind{connCatalog, connReader, connWalsender} {
		conn, err := s.connector.connect(ctx, kind)
		require.NoError(t, err)
		require.False(t, serverOf(conn).Standby, "kind %d", kind)
		closeConn(conn)
	}
	any := p.open(func(c *Config) { c.AllowStandby = true }, p.standby, p.primary)
	id, err = any.Identify(ctx)
	require.NoError(t, err)
	require.True(t, id.Standby)

	p.primary.Kill()
	_, err = s.Identify(ctx)
	require.True(t, cdc.Retryable(err), "%v", err)
	var e *cdc.Error
	require.ErrorAs(t, err, &e)
	require.NotEmpty(t, e.Remedy)
	require.Contains(t, err.Error(), fmt.Sprint(p.standby.Port()))

	// A promotion is another timeline, which has to be looked at first.
	require.NoError(t, p.standby.Promote(ctx))
	_, err = s.connector.connect(ctx, connCatalog)
	require.NoError(t, err, "the first to ask tells the timeline anew")
	s.connector.known.Timeline = 1
	for _, kind := range []connKind{connCatalog, connReader, connWalsender} {
		_, err = s.connector.connect(ctx, kind)
		require.ErrorIs(t, err, cdc.ErrTimeline)
		require.False(t, cdc.Retryable(err))
	}
	id, err = s.Identify(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 2, id.Timeline)
	history, err := s.Timelines(ctx)
	require.NoError(t, err)
	require.Len(t, history, 1)
	require.EqualValues(t, 1, history[0].Timeline)
	require.NotZero(t, history[0].At)
}

func TestTimelineHistory(t *testing.T) {
	history, err := parseHistory("1\t0/3000000\tno recovery target specified\n\n# a note\n3\t16/B374D848\tbefore 2000-01-01 # note\n")
	require.NoError(t, err)
	require.Equal(t, []cdc.Switch{{Timeline: 1, At: 0x3000000}, {Timeline: 3, At: 0x16B374D848}}, history)
	for _, bad := range []string{"1", "x 0/1", "1 nowhere", "2 0/2\n1 0/3", "1 0/3\n2 0/2"} {
		_, err := parseHistory(bad)
		require.Error(t, err, bad)
	}
}
