package postgres

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
)

// live is a database that is followed from its present state on, with large
// transactions taken in progress.
type live struct {
	*database
	t      *testing.T
	s      *Source
	stream cdc.Stream
	from   cdc.LSN
}

// follow makes tables by SQL, and begins to stream. Tables of the schema
// "other" are not selected.
func follow(t *testing.T, tables string, change ...func(*Config)) *live {
	d := newDatabase(t)
	d.exec(tables)
	d.streamSoon()
	l := &live{database: d, t: t}
	l.s = d.open(append([]func(*Config){func(c *Config) {
		c.SpoolDir, c.Exclude, c.Heartbeat = t.TempDir(), []string{"other.*"}, -1
	}}, change...)...)
	publishAll(t, l.s)
	l.from = slotAt(t, l.s)
	l.stream = openStream(t, l.s, l.from)
	return l
}

// events reads all that has happened so far, one line an event: the table, what
// was done, and the row. Long values are shortened; what was not sent is left
// out.
func (l *live) events() []string {
	l.t.Helper()
	end := l.now()
	var out []string
	for l.from < end {
		c, err := l.stream.Next(testContext(l.t))
		require.NoError(l.t, err)
		events, err := cdctest.Events(c)
		require.NoError(l.t, err)
		for _, e := range events {
			out = append(out, eventLine(e))
		}
		l.from = c.Cut
		c.Release()
	}
	return out
}

func eventLine(e cdctest.Event) string {
	op := map[cdc.Op]string{0: "truncate", cdc.OpInsert: "insert", cdc.OpUpdate: "update", cdc.OpBefore: "before", cdc.OpDelete: "delete"}[e.Op]
	line := e.Relation.Name + " " + op
	for _, c := range e.Relation.Columns {
		v, sent := e.Row[c.Name]
		text := fmt.Sprint(v)
		switch {
		case !sent:
			continue
		case v == nil:
			text = "NULL"
		case len(text) > 20:
			text = fmt.Sprintf("%s...%d", text[:4], len(text))
		}
		line += " " + c.Name + "=" + text
	}
	return line
}

// again goes on with a new stream from where the last one was, and tells the
// server that all before it is durable.
func (l *live) again() {
	l.t.Helper()
	l.stream.Ack(l.from)
	require.NoError(l.t, l.stream.Close())
	l.stream = openStream(l.t, l.s, l.from)
}

// sent waits until so many bytes of transactions in progress have come.
func (l *live) sent(n int64) {
	l.t.Helper()
	require.Eventually(l.t, func() bool { return l.s.Stats().SpooledEver > n }, 30*time.Second, 5*time.Millisecond)
}
