package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
)

// engineState is what the engine has told by its events.
type engineState struct {
	copied       int64 // rows, of all tables
	tablesCopied int
	batches      int
	epoch        int64
	stoppedTable string // and why; "" for none
}

// engine is lakeload as a process of its own. It may be started again after
// it has ended.
type engine struct {
	program, source, lake string

	mu      sync.Mutex
	copies  map[string]int64 // table -> rows
	told    engineState
	process *exec.Cmd
	ended   chan struct{} // closed when the process is gone and err is set
	err     error
	last    *lastLines
}

func newEngine(program, source, lake string) *engine {
	ended := make(chan struct{})
	close(ended)
	return &engine{program: program, source: source, lake: lake, copies: map[string]int64{}, ended: ended, last: &lastLines{}}
}

// start starts the process. What it prints is read until it ends: the
// goroutine that does so ends with it.
func (e *engine) start(more ...string) error {
	args := append([]string{"run", "--lake", e.lake, "--all", "--freshness", "200ms", "--log-format", "json"}, more...)
	cmd := exec.Command(e.program, args...)
	cmd.Env = append(os.Environ(), "LAKELOAD_SOURCE="+e.source)
	cmd.Stderr = e.last
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("starting the engine: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the engine (%s): %w", e.program, err)
	}
	ended := make(chan struct{})
	e.mu.Lock()
	e.process, e.ended, e.err = cmd, ended, nil
	e.mu.Unlock()
	go func() {
		e.listen(out)
		err := cmd.Wait()
		e.mu.Lock()
		e.err = err
		e.mu.Unlock()
		close(ended)
	}()
	return nil
}

// event is what the demo takes from the engine's JSON lines.
type event struct {
	Event  string `json:"event"`
	Table  string `json:"table"`
	Rows   int64  `json:"rows"`
	Epoch  int64  `json:"epoch"`
	Reason string `json:"reason"`
}

func (e *engine) listen(out io.Reader) {
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		var ev event
		if len(line) > 0 && json.Unmarshal(line, &ev) == nil {
			e.heard(ev)
		}
		if err != nil {
			return
		}
	}
}

func (e *engine) heard(ev event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch ev.Event {
	case "snapshot_progress", "snapshot_finished":
		e.told.copied += ev.Rows - e.copies[ev.Table]
		e.copies[ev.Table] = ev.Rows
		if ev.Event == "snapshot_finished" {
			e.told.tablesCopied++
		}
	case "batch_committed":
		e.told.batches++
		e.told.epoch = max(e.told.epoch, ev.Epoch)
	case "table_stopped":
		e.told.stoppedTable = ev.Table + ": " + ev.Reason
	}
}

func (e *engine) state() engineState {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.told
}

// died is closed once the process is gone.
func (e *engine) died() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ended
}

// failure says why the engine ended where it should not have.
func (e *engine) failure() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.err
	if err == nil {
		err = errors.New("it ended of its own accord")
	}
	return fmt.Errorf("the engine: %w; it last said:\n%s", err, e.last)
}

// said is the end of the engine's log.
func (e *engine) said() string { return e.last.String() }

// kill ends the process as a crash does and waits until it is gone.
func (e *engine) kill() {
	e.mu.Lock()
	process, ended := e.process, e.ended
	e.mu.Unlock()
	if process != nil {
		_ = process.Process.Kill() // it may be gone already
	}
	<-ended
}

// stop asks the process to end, which it does with a last flush.
func (e *engine) stop(ctx context.Context) error {
	e.mu.Lock()
	process := e.process
	e.mu.Unlock()
	if err := process.Process.Signal(syscall.SIGTERM); err != nil {
		return errors.Join(fmt.Errorf("stopping the engine: %w", err), e.failure())
	}
	return e.finish(ctx)
}

// finish waits until the process ends by itself, with success.
func (e *engine) finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, waitMax)
	defer cancel()
	select {
	case <-ctx.Done():
		return fmt.Errorf("waiting for the engine to end: %w; it last said:\n%s", ctx.Err(), e.last)
	case <-e.died():
	}
	e.mu.Lock()
	err := e.err
	e.mu.Unlock()
	if err != nil {
		return e.failure()
	}
	return nil
}

// lastLines keeps the end of what is written to it.
type lastLines struct {
	mu    sync.Mutex
	bytes []byte
}

const lastLinesBytes = 4 << 10

// Write keeps the end of b.
func (l *lastLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes = append(l.bytes, b...)
	if over := len(l.bytes) - lastLinesBytes; over > 0 {
		l.bytes = append(l.bytes[:0], l.bytes[over:]...)
	}
	return len(b), nil
}

// String gives the lines, set in.
func (l *lastLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return indent(strings.TrimSpace(string(l.bytes)), "      ")
}
