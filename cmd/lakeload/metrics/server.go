package metrics

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lakeload/lakeload/lakehouse"
)

// Engine is what a server shows.
type Engine interface {
	Stats() lakehouse.Stats
}

// Build says which program it is.
type Build struct{ Version, Revision, Go string }

// Address is where a server listens.
type Address struct {
	HostPort string
	// Open says that others than this machine can reach it.
	Open bool
}

// ParseAddress reads "HOST:PORT". Without a host it is this machine's own
// address, which nobody else reaches.
func ParseAddress(text string) (Address, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil || port == "" {
		return Address{}, fmt.Errorf("%q is no address with a port, as 127.0.0.1:9187", text)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	ip := net.ParseIP(host)
	return Address{HostPort: net.JoinHostPort(host, port), Open: host != "localhost" && (ip == nil || !ip.IsLoopback())}, nil
}

// Server answers over HTTP.
type Server struct {
	engine atomic.Pointer[Engine] // nil: there is none yet
	l      net.Listener
	http   *http.Server
	served chan error
}

// scrapes bounds how many ask for figures at a time.
const scrapes = 4

// Listen begins to answer: until an engine is shown, that there is none yet. The
// caller closes the server.
func Listen(at Address, pipeline string, build Build) (*Server, error) {
	l, err := net.Listen("tcp", at.HostPort)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", at.HostPort, err)
	}
	s := &Server{l: l, served: make(chan error, 1)}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry(pipeline, build), promhttp.HandlerOpts{MaxRequestsInFlight: scrapes, Timeout: 30 * time.Second}))
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	s.http = &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10,
	}
	go func() { s.served <- s.http.Serve(l) }()
	return s, nil
}

func (s *Server) registry(pipeline string, build Build) *prometheus.Registry {
	r := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: namespace + "build_info", Help: "Which program it is: 1.",
		ConstLabels: prometheus.Labels{"version": build.Version, "revision": build.Revision, "goversion": build.Go},
	})
	info.Set(1)
	r.MustRegister(info, newCollector(pipeline, s.stats), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Addr is where it listens.
func (s *Server) Addr() string { return s.l.Addr().String() }

// Show shows an engine from now on.
func (s *Server) Show(e Engine) { s.engine.Store(&e) }

func (s *Server) stats() (lakehouse.Stats, bool) {
	e := s.engine.Load()
	if e == nil {
		return lakehouse.Stats{}, false
	}
	return (*e).Stats(), true
}

// Close ends the answering, and waits for it.
func (s *Server) Close() error {
	err := s.http.Close()
	if ended := <-s.served; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	a := alive{Alive: true}
	if stats, ok := s.stats(); ok {
		a = lives(&stats)
	}
	answer(w, a.Alive, a)
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	r := works(&lakehouse.Stats{Activity: lakehouse.ActivityStarting})
	if stats, ok := s.stats(); ok {
		r = works(&stats)
	}
	answer(w, r.Ready, r)
}

func answer(w http.ResponseWriter, ok bool, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(body) // who asked may be gone
}
