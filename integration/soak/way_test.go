package soak

import (
	"fmt"
	"strings"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

// way is how the program reaches a server: through a proxy that does harm.
type way struct {
	t     *testing.T
	proxy *toxiproxy.Proxy
}

func newWay(t *testing.T, name string, port int) *way {
	t.Helper()
	w := &way{t: t, proxy: newProxy(name, "127.0.0.1:0", fmt.Sprintf("127.0.0.1:%d", port))}
	w.mend()
	t.Cleanup(w.cut)
	return w
}

func newProxy(name, listen, upstream string) *toxiproxy.Proxy {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	return toxiproxy.NewProxy(server, name, listen, upstream)
}

// address is where the program connects to; it stays the same.
func (w *way) address() string { return w.proxy.Listen }

// cut ends all connections and takes no more.
func (w *way) cut() { w.proxy.Stop() }

// mend takes connections again.
func (w *way) mend() {
	w.t.Helper()
	require.NoError(w.t, w.proxy.Start())
}

// toxic ends all connections and does a kind of harm to those that come: "downstream" is from the server. Toxics are put into a proxy that has
// no connection yet, and never taken out of one: both can wait for ever for a connection that is at work, or has ended halfway.
func (w *way) toxic(kind, stream, attributes string) {
	w.t.Helper()
	w.renew()
	_, err := w.proxy.Toxics.AddToxicJson(strings.NewReader(fmt.Sprintf(`{"type": %q, "stream": %q, "attributes": {%s}}`, kind, stream, attributes)))
	require.NoError(w.t, err)
	w.mend()
}

// clean takes all harm away, and with it the connections.
func (w *way) clean() {
	w.t.Helper()
	w.renew()
	w.mend()
}

// renew puts a new proxy in the place of the old one, at the same address. It takes no connections yet.
func (w *way) renew() {
	w.cut()
	w.proxy = newProxy(w.proxy.Name, w.proxy.Listen, w.proxy.Upstream)
}
