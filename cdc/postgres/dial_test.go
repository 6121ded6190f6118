package postgres

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

// hole is a proxy whose wires can be cut without a word.
type hole struct {
	listener net.Listener
	to       string
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	dead  bool
}

func newHole(t *testing.T, to string) *hole {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	h := &hole{listener: l, to: to}
	h.wg.Go(h.run)
	t.Cleanup(func() {
		_ = l.Close()
		h.mu.Lock()
		for _, c := range h.conns {
			_ = c.Close()
		}
		h.mu.Unlock()
		h.wg.Wait()
	})
	return h
}

func (h *hole) run() {
	for {
		in, err := h.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", h.to)
		if err != nil {
			_ = in.Close()
			continue
		}
		h.mu.Lock()
		h.conns = append(h.conns, in, out)
		h.mu.Unlock()
		h.wg.Go(func() { h.carry(in, out) })
		h.wg.Go(func() { h.carry(out, in) })
	}
}

// carry throws away what comes once the hole is dead, and says nothing.
func (h *hole) carry(from, to net.Conn) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		h.mu.Lock()
		dead := h.dead
		h.mu.Unlock()
		if !dead {
			if _, e := to.Write(b[:n]); err == nil {
				err = e
			}
		}
		if err != nil {
			if !dead {
				_ = to.Close()
			}
			return
		}
	}
}

// kill cuts the wires; who tries to connect is refused.
func (h *hole) kill() {
	_ = h.listener.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dead = true
}

// A server that lives and says nothing is given up, whatever the connection
// is for; a deadline of the connection's user goes before.
func TestEdge23SilentServer(t *testing.T) {
	server, client := net.Pipe()
	defer func() { _ = server.Close(); _ = client.Close() }()
	c := &quietConn{Conn: client, silence: 50 * time.Millisecond}
	b := make([]byte, 1)
	_, err := c.Read(b)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	go func() { _, _ = server.Write([]byte("x")) }()
	_, err = c.Read(b)
	require.NoError(t, err, "silence is counted anew")
	require.NoError(t, c.SetReadDeadline(time.Now().Add(-time.Second)))
	_, err = c.Read(b)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Hour)))
	ended := make(chan error, 1)
	go func() { _, err := c.Read(b); ended <- err }()
	select {
	case err := <-ended:
		t.Fatalf("the user's deadline was overridden: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	require.NoError(t, c.SetReadDeadline(time.Now().Add(-time.Second)), "also while a read waits")
	require.ErrorIs(t, <-ended, os.ErrDeadlineExceeded)
	require.NoError(t, c.SetReadDeadline(time.Time{}))
	_, err = c.Read(b)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)

	for _, kind := range []connKind{connCatalog, connReader} {
		require.Positive(t, kind.silence())
	}
}

// On real connections: all have keepalive, and those of the catalogue and of
// copies their limit.
func TestEdge23DeadPeer(t *testing.T) {
	s := testServer(t)
	h := newHole(t, fmt.Sprintf("127.0.0.1:%d", s.Port()))
	dsn := strings.Replace(s.DSN(), fmt.Sprint(s.Port()), fmt.Sprint(h.listener.Addr().(*net.TCPAddr).Port), 1)
	source, err := Open(testContext(t), Config{DSN: dsn, Slot: "dead_peer", Publication: "dead_peer", All: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, source.Close()) }()
	cfg, err := source.connector.parse(connCatalog)
	require.NoError(t, err)
	limited := 0
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer(connCatalog, time.Second)(ctx, network, addr)
		if q, ok := conn.(*quietConn); ok {
			q.silence = 300 * time.Millisecond // for the test
			limited++
			keepaliveIsOn(t, q.Conn.(*net.TCPConn))
		}
		return conn, err
	}
	source.connector.dial = cfg.DialFunc
	require.NoError(t, source.admin.reset(testContext(t)))
	_, err = source.Tables(testContext(t))
	require.NoError(t, err)
	require.Equal(t, 1, limited)
	h.kill()
	_, err = source.Tables(testContext(t))
	require.True(t, cdc.Retryable(err), "%v", err)
	require.ErrorContains(t, err, "connection refused", "it has tried another connection")
}

// A server that takes the connection and says nothing is given up in time.
func TestEdge23ConnectTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	_, err = Open(testContext(t), Config{DSN: fmt.Sprintf("postgres://u@%s/d?sslmode=disable&connect_timeout=1", l.Addr()), Slot: "s", Publication: "p", All: true})
	require.True(t, cdc.Retryable(err), "%v", err)
	_, err = Open(testContext(t), Config{DSN: "postgres://u@no-such-host.invalid/d", Slot: "s", Publication: "p", All: true})
	require.True(t, cdc.Retryable(err), "%v", err)
	var e *cdc.Error
	require.ErrorAs(t, err, &e)
	require.Contains(t, e.Remedy, "resolved")
}
