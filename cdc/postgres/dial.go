package postgres

import (
	"context"
	"net"
	"sync"
	"time"
)

// A peer that is gone without a word is noticed by the system: after
// deadPeer without an answer to its probes, and where the system has the
// option also to what we have sent. For one that lives and says nothing there
// is a limit for each kind of connection, see silence.
const (
	keepaliveIdle     = 15 * time.Second
	keepaliveInterval = 5 * time.Second
	keepaliveCount    = 6
	deadPeer          = keepaliveIdle + keepaliveInterval*keepaliveCount
)

// silence is how long a server may say nothing while we wait for it. 0 is no
// limit: a walsender that makes a slot waits for transactions however long they
// take, and one that streams is watched by the feedback.
func (k connKind) silence() time.Duration {
	switch k {
	case connCatalog:
		return 2 * time.Minute // longer than lockTimeout
	case connReader:
		return 15 * time.Minute // a range of many dead rows sends nothing for long
	}
	return 0
}

// dialer opens the network connections of a kind.
func dialer(kind connKind, timeout time.Duration) func(ctx context.Context, network, addr string) (net.Conn, error) {
	d := &net.Dialer{
		Timeout:         timeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepaliveIdle, Interval: keepaliveInterval, Count: keepaliveCount},
		Control:         limitUnanswered,
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, addr)
		if err != nil || kind.silence() == 0 {
			return conn, err
		}
		return &quietConn{Conn: conn, silence: kind.silence()}, nil
	}
}

// quietConn ends a read that nothing arrives for within silence, unless the
// user of the connection has set a deadline of its own.
type quietConn struct {
	net.Conn
	silence time.Duration

	mu  sync.Mutex
	own bool // the user has set a deadline for reads
}

func (c *quietConn) Read(b []byte) (int, error) {
	c.mu.Lock()
	if !c.own {
		if err := c.Conn.SetReadDeadline(time.Now().Add(c.silence)); err != nil {
			c.mu.Unlock()
			return 0, err
		}
	}
	c.mu.Unlock()
	return c.Conn.Read(b)
}

func (c *quietConn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own = !t.IsZero()
	return c.Conn.SetDeadline(t)
}

func (c *quietConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own = !t.IsZero()
	return c.Conn.SetReadDeadline(t)
}
