//go:build unix

package pgserver_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/internal/pgserver"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

// TestStandby: a standby follows, lags when it is disconnected, and becomes a primary on another timeline with what it has.
func TestStandby(t *testing.T) {
	for _, version := range []int{14, 15, 16, 17, 18} {
		t.Run(strconv.Itoa(version), func(t *testing.T) {
			ctx := t.Context()
			primary := pgtest.Start(t, pgserver.Options{Version: version})
			_, err := primary.SQL(ctx, "CREATE TABLE t (id int)", "INSERT INTO t VALUES (1)")
			require.NoError(t, err)
			standby, err := primary.Standby(ctx, pgserver.Options{Settings: map[string]string{"work_mem": "5MB"}})
			require.NoError(t, err)
			defer func() { require.NoError(t, standby.Stop(t.Context())) }()
			count := func(s *pgserver.Server) string {
				rows, err := s.SQL(ctx, "SELECT count(*), pg_is_in_recovery() FROM t")
				require.NoError(t, err)
				return rows[0][0] + rows[0][1]
			}
			require.Equal(t, "1t", count(standby))
			_, err = primary.SQL(ctx, "INSERT INTO t VALUES (2)")
			require.NoError(t, err)
			require.Eventually(t, func() bool { return count(standby) == "2t" }, 30*time.Second, 20*time.Millisecond)
			require.NoError(t, standby.Restart(ctx))
			require.Eventually(t, func() bool { return count(standby) == "2t" }, 30*time.Second, 20*time.Millisecond)

			require.NoError(t, standby.Disconnect(ctx))
			require.Eventually(t, func() bool {
				rows, err := primary.SQL(ctx, "SELECT count(*) FROM pg_stat_replication")
				require.NoError(t, err)
				return rows[0][0] == "0"
			}, 30*time.Second, 20*time.Millisecond)
			_, err = primary.SQL(ctx, "INSERT INTO t VALUES (3)")
			require.NoError(t, err)
			require.NoError(t, standby.Promote(ctx))
			require.Equal(t, "2f", count(standby))
			require.Equal(t, "3f", count(primary))
			rows, err := standby.SQL(ctx, "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)")
			require.NoError(t, err)
			require.Equal(t, "00000002", rows[0][0])
			_, err = standby.SQL(ctx, "INSERT INTO nothing VALUES (1)")
			require.ErrorContains(t, err, `relation "nothing" does not exist`)
		})
	}
}

// TestClone: a copy of a halted server's data has its slots, and goes its own way.
func TestClone(t *testing.T) {
	ctx := t.Context()
	s := pgtest.Start(t, pgserver.Options{})
	_, err := s.SQL(ctx, "SELECT pg_create_logical_replication_slot('kept', 'pgoutput')")
	require.NoError(t, err)
	_, err = s.Clone(ctx, pgserver.Options{})
	require.ErrorContains(t, err, "halt it first")
	require.NoError(t, s.Halt(ctx))
	require.False(t, s.Running())
	copied, err := s.Clone(ctx, pgserver.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, copied.Stop(t.Context())) }()
	require.NoError(t, s.Restart(ctx))
	for _, server := range []*pgserver.Server{s, copied} {
		rows, err := server.SQL(ctx, "SELECT slot_name, NULL FROM pg_replication_slots")
		require.NoError(t, err)
		require.Equal(t, [][]string{{"kept", ""}}, rows)
	}
}

// TestExtras: lines of pg_hba.conf and files are there at every start, and new files after a reload.
func TestExtras(t *testing.T) {
	ctx := t.Context()
	s := pgtest.Start(t, pgserver.Options{
		HBA:   []string{"host all nobody_may 127.0.0.1/32 reject"},
		Files: map[string][]byte{"words.txt": []byte("one")},
	})
	read := func() string {
		rows, err := s.SQL(ctx, "SELECT pg_read_file('words.txt')")
		require.NoError(t, err)
		return rows[0][0]
	}
	require.Equal(t, "one", read())
	rows, err := s.SQL(ctx, "SELECT auth_method FROM pg_hba_file_rules WHERE user_name = '{nobody_may}'")
	require.NoError(t, err)
	require.Equal(t, [][]string{{"reject"}}, rows)
	require.NoError(t, s.Reload(ctx, map[string][]byte{"words.txt": []byte("two")}))
	require.Equal(t, "two", read())
}
