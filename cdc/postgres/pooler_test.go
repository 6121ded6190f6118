package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

// pooler behaves as a connection pooler in transaction mode does: it logs
// clients in itself, and gives each of their statements another session of the
// server, which it had opened before.
type pooler struct {
	t        *testing.T
	listener net.Listener
	sessions []*pgconn.HijackedConn
	strict   bool // it refuses startup parameters that it does not know
	wg       sync.WaitGroup

	mu   sync.Mutex
	next int
}

func newPooler(t *testing.T, d *database, sessions int, strict bool) *pooler {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &pooler{t: t, listener: l, strict: strict}
	for range sessions {
		conn, err := pgconn.Connect(testContext(t), d.dsn)
		require.NoError(t, err)
		h, err := conn.Hijack()
		require.NoError(t, err)
		p.sessions = append(p.sessions, h)
	}
	p.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() {
				defer func() { _ = conn.Close() }()
				if err := p.serve(conn); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Logf("the pooler's client: %v", err)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.wg.Wait()
		for _, s := range p.sessions {
			_ = s.Conn.Close()
		}
	})
	return p
}

func (p *pooler) serve(conn net.Conn) error {
	client := pgproto3.NewBackend(conn, conn)
	msg, err := client.ReceiveStartupMessage()
	if err != nil {
		return err
	}
	if cancel, ok := msg.(*pgproto3.CancelRequest); ok {
		_ = cancel
		return nil
	}
	startup := msg.(*pgproto3.StartupMessage)
	if p.strict {
		client.Send(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "08P01", Message: "unsupported startup parameter: IntervalStyle"})
		return client.Flush()
	}
	if startup.Parameters["replication"] != "" {
		client.Send(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "08P01", Message: "unsupported startup parameter: replication"})
		return client.Flush()
	}
	client.Send(&pgproto3.AuthenticationOk{})
	for name, value := range p.sessions[0].ParameterStatuses {
		client.Send(&pgproto3.ParameterStatus{Name: name, Value: value})
	}
	client.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{1, 2, 3, 4}})
	client.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	if err := client.Flush(); err != nil {
		return err
	}
	for {
		if err := p.statement(client); err != nil {
			return err
		}
	}
}

// statement passes one statement on to the next session, and its answer back.
func (p *pooler) statement(client *pgproto3.Backend) error {
	first, err := client.Receive()
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	server := p.sessions[p.next%len(p.sessions)].Frontend
	p.next++
	for msg := first; ; {
		if _, ok := msg.(*pgproto3.Terminate); ok {
			return io.EOF
		}
		server.Send(msg)
		_, simple := msg.(*pgproto3.Query)
		_, sync := msg.(*pgproto3.Sync)
		if simple || sync {
			break
		}
		if msg, err = client.Receive(); err != nil {
			return err
		}
	}
	if err := server.Flush(); err != nil {
		return err
	}
	for {
		msg, err := server.Receive()
		if err != nil {
			return err
		}
		client.Send(msg)
		if _, ok := msg.(*pgproto3.ReadyForQuery); ok {
			return client.Flush()
		}
	}
}

// A pooler is told from the server by how it behaves, and by what it refuses.
func TestCheckFindsPoolers(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY)")
	through := func(p *pooler) (*Source, error) {
		u, err := url.Parse(d.dsn)
		require.NoError(t, err)
		u.Host = p.listener.Addr().String()
		c := d.config()
		c.DSN = u.String()
		return newSource(c)
	}
	for name, sessions := range map[string]int{"of two sessions": 2, "of one session": 1} {
		s, err := through(newPooler(t, d, sessions, false))
		require.NoError(t, err)
		found := check(t, s)
		require.Contains(t, keys(found), "blocker pooler", name)
		require.Contains(t, keys(found), "blocker walsender", name)
		require.Contains(t, found["blocker walsender"].Remedy, "pooler", name)
		require.NoError(t, s.Close())
	}
	s, err := through(newPooler(t, d, 1, true))
	require.NoError(t, err)
	found := check(t, s)
	require.Equal(t, []string{"blocker connect " + fmt.Sprintf("database %s on %s", d.name, s.connector.base.Host+":"+fmt.Sprint(s.connector.base.Port))}, keys(found))
	for _, f := range found {
		require.Contains(t, f.Remedy, "pooler")
	}
	require.NoError(t, s.Close())
	_, err = s.connector.connect(context.Background(), connWalsender)
	require.False(t, cdc.Retryable(err), "it would never do: %v", err)
}
