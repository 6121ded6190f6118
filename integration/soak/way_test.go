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

// toxic puts a kind of harm into one direction: "downstream" is from the server.
func (w *way) toxic(kind, stream, attributes string) {
	w.t.Helper()
	_, err := w.proxy.Toxics.AddToxicJson(strings.NewReader(fmt.Sprintf(`{"type": %q, "stream": %q, "attributes": {%s}}`, kind, stream, attributes)))
	require.NoError(w.t, err)
}

// clean takes all harm away, and with it the connections: to take a toxic from one that is at work can wait for it for ever.
func (w *way) clean() {
	w.t.Helper()
	w.cut()
	w.proxy = newProxy(w.proxy.Name, w.proxy.Listen, w.proxy.Upstream)
	w.mend()
}
