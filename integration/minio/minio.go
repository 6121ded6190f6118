// Package minio runs a private MinIO for tests against an S3 store.
package minio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/integration/testbed"
)

// startTimeout is how long MinIO may take to answer. It takes one second on an idle machine.
const startTimeout = 60 * time.Second

// Server is a running MinIO.
type Server struct {
	readers.S3 // how to reach it

	dir     string
	cmd     *exec.Cmd
	log     lockedBuffer
	done    chan struct{} // closed when the process has ended and is waited for
	buckets atomic.Int64
}

// Available is nil if MinIO is installed, else says how to install it.
func Available() error { return testbed.MinIO() }

var (
	sharedMu sync.Mutex // guards shared
	shared   *Server
)

// Get gives a server that all tests of the package share. The package's TestMain must call Stop. Without LAKELOAD_REAL=1 the test is skipped
// where MinIO is missing; with it, it fails.
func Get(t testing.TB) *Server {
	t.Helper()
	if err := Available(); err != nil {
		if readers.Real() {
			t.Fatalf("MinIO is needed with LAKELOAD_REAL=1: %v", err)
		}
		t.Skipf("left out: a real S3 store: %v", err)
	}
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if shared == nil {
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		s, err := Start(ctx)
		if err != nil {
			t.Fatal(err)
		}
		shared = s
	}
	return shared
}

// Stop ends the shared server.
func Stop() error {
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if shared == nil {
		return nil
	}
	err := shared.Stop()
	shared = nil
	return err
}

// Start starts a server on a free port, with its data in a temporary folder, and waits until it answers.
func Start(ctx context.Context) (*Server, error) {
	if err := Available(); err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a free port for MinIO: %w", err)
	}
	address := l.Addr().String()
	dir, err := os.MkdirTemp("", "lakeload-minio-")
	if err = errors.Join(err, l.Close()); err != nil {
		return nil, fmt.Errorf("make a folder for MinIO: %w", err)
	}
	s := &Server{
		S3:   readers.S3{Endpoint: "http://" + address, AccessKey: "lakeload", SecretKey: "lakeload-secret", Region: "us-east-1"},
		dir:  dir,
		done: make(chan struct{}),
	}
	s.cmd = exec.Command(testbed.MinIOBinary(), "server", "--quiet", "--address", address, "--certs-dir", filepath.Join(dir, "certs"), filepath.Join(dir, "data"))
	s.cmd.Env = append(os.Environ(), "MINIO_ROOT_USER="+s.AccessKey, "MINIO_ROOT_PASSWORD="+s.SecretKey, "MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_CI_CD=1", "HOME="+dir)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	s.cmd.WaitDelay = 5 * time.Second
	tie(s.cmd)
	started := make(chan error, 1)
	go func() {
		defer close(s.done)
		// The kernel ends it when the thread that started it dies: that thread stays here.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		<-s.done
		return nil, errors.Join(fmt.Errorf("start MinIO: %w (run %s)", err, testbed.Install), os.RemoveAll(dir))
	}
	if err := s.awaitReady(ctx); err != nil {
		stopErr := s.Stop()
		return nil, errors.Join(fmt.Errorf("start MinIO at %s: %w\n%s", address, err, s.log.String()), stopErr)
	}
	return s, nil
}

func (s *Server) awaitReady(ctx context.Context) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint+"/minio/health/ready", nil)
		if err != nil {
			return err
		}
		if resp, err := client.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-s.done:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Bucket makes a new, empty bucket. On a single drive a bucket is a folder.
func (s *Server) Bucket(t testing.TB) string {
	t.Helper()
	name := strings.ToLower(fmt.Sprintf("b%d-%d", os.Getpid(), s.buckets.Add(1)))
	if err := os.Mkdir(filepath.Join(s.dir, "data", name), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

// Stop ends the server and removes its data.
func (s *Server) Stop() error {
	select {
	case <-s.done:
	default:
		_ = s.cmd.Process.Signal(os.Interrupt)
		select {
		case <-s.done:
		case <-time.After(5 * time.Second):
			_ = s.cmd.Process.Kill()
			<-s.done
		}
	}
	return os.RemoveAll(s.dir)
}

// lockedBuffer holds what the process says, which is read while it still speaks.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
