package admin

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse"
)

// Engine is what a server lets others use of an engine.
type Engine interface {
	Status() lakehouse.Status
	Cut(ctx context.Context, point func(ctx context.Context) (cdc.LSN, error)) (lakehouse.Cut, error)
	Act(ctx context.Context, table string, action lakehouse.TableAction) (lakehouse.TableState, error)
	Repair(ctx context.Context, table string, o lakehouse.RepairOptions) (*lakehouse.Repaired, error)
}

// forgetAfter is how long a cut waits for who has asked for it. The engine's
// patience is shorter.
const forgetAfter = time.Minute

// ErrInUse says that another process listens on the socket.
var ErrInUse = errors.New("another engine listens there")

// Server answers on a socket.
type Server struct {
	engine Engine
	http   *http.Server
	served chan error
	life   context.Context // of cuts
	end    context.CancelFunc
	cuts   sync.WaitGroup

	mu   sync.Mutex
	open map[string]*openCut
}

// openCut is a cut for which the stream rests.
type openCut struct {
	point chan cdc.LSN // of capacity 1
	gone  chan struct{}
	leave sync.Once
	timer *time.Timer   // forgets it
	done  chan struct{} // closed after cut and err are set
	cut   lakehouse.Cut
	err   error
}

// Start listens on a socket, which it makes in place of one that nobody listens
// on any more. ErrInUse where somebody does. The caller closes the server.
func Start(path string, engine Engine) (*Server, error) {
	l, err := listen(path)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	s := &Server{engine: engine, served: make(chan error, 1), open: map[string]*openCut{}}
	s.life, s.end = context.WithCancel(context.Background())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.status)
	mux.HandleFunc("POST /v1/tables/{table}/{action}", s.act)
	mux.HandleFunc("POST /v1/cuts", s.hold)
	mux.HandleFunc("POST /v1/cuts/{id}", s.cut)
	mux.HandleFunc("DELETE /v1/cuts/{id}", s.release)
	mux.HandleFunc("POST /v1/tables/{table}/repair", s.repair)
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { s.served <- s.http.Serve(l) }()
	return s, nil
}

func listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	for range 2 {
		l, err := net.Listen("unix", path)
		if err == nil {
			if err = os.Chmod(path, 0o600); err != nil {
				_ = l.Close()
				return nil, err
			}
			return l, nil
		}
		if info, there := os.Lstat(path); there != nil || info.Mode().Type() != fs.ModeSocket {
			return nil, err
		}
		if c, dialled := net.Dial("unix", path); dialled == nil {
			_ = c.Close()
			return nil, ErrInUse
		}
		if gone := os.Remove(path); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			return nil, err
		}
	}
	return net.Listen("unix", path)
}

// Close ends the answering, and waits for it.
func (s *Server) Close() error {
	s.end()
	err := s.http.Close()
	if ended := <-s.served; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	s.cuts.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.open {
		c.timer.Stop()
	}
	return err
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) { answer(w, s.engine.Status(), nil) }

// act answers with what is recorded of the table when the action is.
func (s *Server) act(w http.ResponseWriter, r *http.Request) {
	is, err := s.engine.Act(r.Context(), r.PathValue("table"), lakehouse.TableAction(r.PathValue("action")))
	answer(w, is, err)
}

// hold answers when the stream rests, with the id by which the cut goes on.
func (s *Server) hold(w http.ResponseWriter, r *http.Request) {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	id := hex.EncodeToString(random[:])
	c := &openCut{point: make(chan cdc.LSN, 1), gone: make(chan struct{}), done: make(chan struct{})}
	rests := make(chan struct{})
	s.cuts.Go(func() {
		defer close(c.done)
		c.cut, c.err = s.engine.Cut(s.life, func(ctx context.Context) (cdc.LSN, error) {
			close(rests)
			select {
			case at := <-c.point:
				return at, nil
			case <-c.gone:
				return 0, context.Canceled
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		})
	})
	select {
	case <-rests:
		s.mu.Lock()
		s.open[id] = c
		c.timer = time.AfterFunc(forgetAfter, func() { s.forget(id) })
		s.mu.Unlock()
		answer(w, held{id}, nil)
	case <-c.done:
		answer(w, nil, c.err)
	case <-r.Context().Done():
		c.leave.Do(func() { close(c.gone) })
	}
}

// forget ends a cut that nobody goes on with.
func (s *Server) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.open[id]; c != nil {
		c.timer.Stop()
		c.leave.Do(func() { close(c.gone) })
		delete(s.open, id)
	}
}

// take gives an open cut to who goes on with it.
func (s *Server) take(id string) *openCut {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.open[id]
	if c != nil {
		c.timer.Stop()
	}
	delete(s.open, id)
	return c
}

func (s *Server) cut(w http.ResponseWriter, r *http.Request) {
	var at point
	if err := json.NewDecoder(r.Body).Decode(&at); err != nil {
		answer(w, nil, fmt.Errorf("reading where to cut: %w", err))
		return
	}
	c := s.take(r.PathValue("id"))
	if c == nil {
		answer(w, nil, lakehouse.ErrNoCut)
		return
	}
	c.point <- at.LSN
	select {
	case <-c.done:
		answer(w, c.cut, c.err)
	case <-r.Context().Done():
	}
}

func (s *Server) release(w http.ResponseWriter, r *http.Request) {
	s.forget(r.PathValue("id"))
	answer(w, struct{}{}, nil)
}

func answer(w http.ResponseWriter, body any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		f := failure{Error: err.Error()}
		var hint interface{ Hint() string }
		if errors.As(err, &hint) {
			f.Remedy = hint.Hint()
		}
		w.WriteHeader(http.StatusConflict)
		body = f
	}
	_ = json.NewEncoder(w).Encode(body) // who asked may be gone
}
