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
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	w := &way{t: t, proxy: toxiproxy.NewProxy(server, name, "127.0.0.1:0", fmt.Sprintf("127.0.0.1:%d", port))}
	require.NoError(t, w.proxy.Start())
	t.Cleanup(w.cut)
	return w
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

// clean takes all harm away. Connections that were harmed so that they can never be whole again end.
func (w *way) clean() { w.proxy.Toxics.ResetToxics(w.t.Context()) }
