package admin

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// resting is an engine that notes what is asked of it.
type resting struct {
	refuse error
	ended  chan error // of each cut
}

func (r *resting) Status() lakehouse.Status { return lakehouse.Status{Pipeline: "p", Received: 7} }

func (r *resting) Cut(ctx context.Context, point func(ctx context.Context) (cdc.LSN, error)) (lakehouse.Cut, error) {
	if r.refuse != nil {
		return lakehouse.Cut{}, r.refuse
	}
	at, err := point(ctx)
	r.ended <- err
	return lakehouse.Cut{LSN: at, Epoch: 3, Tables: map[string]int64{"public.t": 9}}, err
}

func (r *resting) Act(_ context.Context, table string, action lakehouse.TableAction) (lakehouse.TableState, error) {
	if r.refuse != nil {
		return lakehouse.TableState{}, r.refuse
	}
	return lakehouse.TableState{Schema: table, Phase: lakehouse.TablePhase(action)}, nil
}

func (r *resting) Repair(_ context.Context, table string, o lakehouse.RepairOptions) (*lakehouse.Repaired, error) {
	if r.refuse != nil {
		return nil, r.refuse
	}
	done := &lakehouse.Repaired{Table: table, LSN: 0x42, Keys: int64(o.Workers)}
	if o.Where != nil {
		done.Table += " where " + o.Where.String()
	}
	return done, nil
}

func TestRepairOverTheSocket(t *testing.T) {
	e := &resting{}
	_, c := serve(t, e)
	done, err := c.Repair(t.Context(), "public.a/b c", "n = 'x%'", 3)
	require.NoError(t, err)
	require.Equal(t, &lakehouse.Repaired{Table: "public.a/b c where n = 'x%'", LSN: 0x42, Keys: 3}, done)
	_, err = c.Repair(t.Context(), "public.a", "n like '%x'", 0)
	require.ErrorContains(t, err, "only 'prefix%' is known")
	e.refuse = &lakehouse.Error{Op: "repairing", Err: lakehouse.ErrNotRepaired, Remedy: "copy it again"}
	_, err = c.Repair(t.Context(), "public.a", "", 0)
	var said *Error
	require.ErrorAs(t, err, &said)
	require.Equal(t, "copy it again", said.Hint())
}

func serve(t *testing.T, e *resting) (string, *Client) {
	t.Helper()
	path := SocketPath(t.TempDir())
	s, err := Start(path, e)
	require.NoError(t, err)
	c := NewClient(path)
	t.Cleanup(func() {
		c.Close()
		require.NoError(t, s.Close())
	})
	return path, c
}

func TestCutOverTheSocket(t *testing.T) {
	e := &resting{ended: make(chan error, 1)}
	path, c := serve(t, e)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "others may not ask")
	status, err := c.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, "p", status.Pipeline)

	cut, err := c.Cut(t.Context(), func(context.Context) (cdc.LSN, error) {
		require.Empty(t, e.ended, "it waits for the point")
		return 0x42, nil
	})
	require.NoError(t, err)
	require.NoError(t, <-e.ended)
	require.Equal(t, lakehouse.Cut{LSN: 0x42, Epoch: 3, Tables: map[string]int64{"public.t": 9}}, cut)

	broken := errors.New("no snapshot")
	_, err = c.Cut(t.Context(), func(context.Context) (cdc.LSN, error) { return 0, broken })
	require.ErrorIs(t, err, broken)
	require.ErrorIs(t, <-e.ended, context.Canceled, "the engine is let go at once")

	e.refuse = &lakehouse.Error{Op: "cutting", Err: lakehouse.ErrNoCut, Remedy: "try again"}
	_, err = c.Cut(t.Context(), func(context.Context) (cdc.LSN, error) { return 1, nil })
	var said *Error
	require.ErrorAs(t, err, &said)
	require.Contains(t, err.Error(), lakehouse.ErrNoCut.Error())
	require.Equal(t, "try again", said.Hint())
}

func TestActionOverTheSocket(t *testing.T) {
	e := &resting{}
	_, c := serve(t, e)
	is, err := c.Act(t.Context(), `odd/na"me.t %x`, lakehouse.ActionPause)
	require.NoError(t, err)
	require.Equal(t, lakehouse.TableState{Schema: `odd/na"me.t %x`, Phase: "pause"}, is)
	e.refuse = &lakehouse.Error{Op: "to pause a table", Err: errors.New("no such table"), Remedy: "name another"}
	_, err = c.Act(t.Context(), "t", lakehouse.ActionPause)
	var said *Error
	require.ErrorAs(t, err, &said)
	require.ErrorContains(t, err, "no such table")
	require.Equal(t, "name another", said.Hint())
}

// One who has asked for a cut and goes away leaves no engine that rests.
func TestCutOfOneWhoGoesAway(t *testing.T) {
	e := &resting{ended: make(chan error, 1)}
	path := SocketPath(t.TempDir())
	s, err := Start(path, e)
	require.NoError(t, err)
	c := NewClient(path)
	var h held
	require.NoError(t, c.ask(t.Context(), "", "POST", "/v1/cuts", nil, &h))
	c.Close()
	require.NoError(t, s.Close(), "the engine ends")
	require.Error(t, <-e.ended)
}

func TestWhoListens(t *testing.T) {
	e := &resting{ended: make(chan error, 1)}
	path, _ := serve(t, e)
	_, err := Start(path, e)
	require.ErrorIs(t, err, ErrInUse)

	stale := SocketPath(t.TempDir())
	l, err := net.Listen("unix", stale)
	require.NoError(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
	c := NewClient(stale)
	_, err = c.Status(t.Context())
	require.ErrorIs(t, err, ErrNoEngine)
	s, err := Start(stale, e)
	require.NoError(t, err, "what a killed engine has left is in nobody's way")
	require.NoError(t, s.Close())

	file := SocketPath(t.TempDir())
	require.NoError(t, os.WriteFile(file, []byte("mine"), 0o600))
	_, err = Start(file, e)
	require.Error(t, err)
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "mine", string(data), "what is no socket stays")
}

func TestSocketPath(t *testing.T) {
	short := filepath.Join(t.TempDir()[:5], "cache")
	require.Equal(t, filepath.Join(short, "admin.sock"), SocketPath(short))
	long := "/" + strings.Repeat("a/", 60) + "cache"
	require.Less(t, len(SocketPath(long)), pathMax)
	require.Equal(t, SocketPath(long), SocketPath(long+"/"))
	require.NotEqual(t, SocketPath(long), SocketPath(long+"2"))
	l, err := listen(SocketPath(long))
	require.NoError(t, err)
	require.NoError(t, l.Close())
}
