// Package pgtest starts private PostgreSQL servers for tests, and says what was left out where one cannot be had.
package pgtest

import (
	"context"
	"errors"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/lakeload/lakeload/internal/pgserver"
)

// startTimeout covers the download of a server on a slow line.
const startTimeout = 5 * time.Minute

// Real tells whether every real part must be there (`make test`): then a missing one fails the test instead of skipping it.
func Real() bool { return os.Getenv("LAKELOAD_REAL") == "1" }

// Version gives the major version of PostgreSQL that a test is to run against: its own, unless LAKELOAD_TEST_PG says another, as for the edge
// cases, which are run on several.
func Version(own int) int {
	if v, err := strconv.Atoi(os.Getenv("LAKELOAD_TEST_PG")); err == nil {
		return v
	}
	return own
}

// Start starts a server of the test's own and stops it when the test ends. In a plain `go test` nothing is fetched: where no server of
// that version is on the machine or in the cache the test is skipped.
func Start(t testing.TB, opts pgserver.Options) *pgserver.Server {
	t.Helper()
	s, err := start(opts)
	give(t, opts.Version, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Shared gives a server of that major version (0: any) that all tests of the package share; each makes databases, slots and publications
// under names of its own. The package's TestMain must call StopShared.
func Shared(t testing.TB, version int) *pgserver.Server {
	t.Helper()
	mu.Lock()
	e := shared[version]
	if e == nil {
		e = &entry{}
		shared[version] = e
	}
	mu.Unlock()
	e.once.Do(func() { e.server, e.err = start(pgserver.Options{Version: version}) })
	give(t, version, e.err)
	return e.server
}

// StopShared stops the servers that Shared started. Call it after m.Run, before a leak check.
func StopShared() {
	mu.Lock()
	defer mu.Unlock()
	for _, e := range shared {
		e.once.Do(func() { e.err = errors.New("the shared servers were stopped") })
		if e.server != nil {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			_ = e.server.Stop(ctx)
			cancel()
		}
	}
	clear(shared)
}

type entry struct {
	once   sync.Once
	server *pgserver.Server
	err    error
}

var (
	mu     sync.Mutex // guards shared
	shared = map[int]*entry{}
)

func start(opts pgserver.Options) (*pgserver.Server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	opts.Offline = opts.Offline || !Real()
	return pgserver.Start(ctx, opts)
}

func give(t testing.TB, version int, err error) {
	t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, pgserver.ErrNotFound) && !Real():
		t.Skipf("left out: a real PostgreSQL (version %d, 0 is any): %v; `make test` fetches it", version, err)
	default:
		t.Fatal(err)
	}
}
