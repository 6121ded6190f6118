package harness

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Event is what tests look at of a line that `lakeload run` tells on standard output.
type Event struct {
	Name     string          `json:"event"`
	Table    string          `json:"table"`
	Rows     int64           `json:"rows"`
	Ranges   int             `json:"ranges"`
	Done     int             `json:"ranges_done"`
	Epoch    int64           `json:"epoch"`
	LSN      string          `json:"lsn"`
	Tables   json.RawMessage `json:"tables"`
	Code     int             `json:"exit_code"`
	Phase    string          `json:"phase"`
	Reason   string          `json:"reason"`
	Remedy   string          `json:"remedy"`
	Error    string          `json:"error"`
	Severity string          `json:"severity"`
	Line     string          `json:"-"` // as it was told
}

// Engine is one `lakeload run` as a child process. If our own process dies, it dies at the next event that it cannot tell.
type Engine struct {
	t       testing.TB
	cmd     *exec.Cmd
	started time.Time
	done    chan struct{} // closed when it is gone

	mu     sync.Mutex // guards what follows
	events []Event
	stderr lastBytes
}

// start starts a prepared call, and kills it when the test ends.
func start(t testing.TB, cmd *exec.Cmd) *Engine {
	t.Helper()
	e := &Engine{t: t, cmd: cmd, started: time.Now(), done: make(chan struct{})}
	out, err := cmd.StdoutPipe()
	if err == nil {
		cmd.Stderr = &e.stderr
		err = cmd.Start()
	}
	if err != nil {
		t.Fatalf("starting %v: %v", cmd.Args, err)
	}
	go func() {
		defer close(e.done)
		e.listen(out)
		_ = cmd.Wait() // the process state says it all
	}()
	t.Cleanup(e.Kill)
	return e
}

func (e *Engine) listen(out io.Reader) {
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		var ev Event
		if line != "" && json.Unmarshal([]byte(line), &ev) == nil {
			ev.Line = strings.TrimSpace(line)
			e.mu.Lock()
			e.events = append(e.events, ev)
			e.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// Pid is its process id.
func (e *Engine) Pid() int { return e.cmd.Process.Pid }

// Events are the events of a name so far; all with "".
func (e *Engine) Events(name string) []Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []Event
	for _, ev := range e.events {
		if name == "" || ev.Name == name {
			out = append(out, ev)
		}
	}
	return out
}

// Running tells whether it lives.
func (e *Engine) Running() bool {
	select {
	case <-e.done:
		return false
	default:
		return true
	}
}

// Kill ends it by SIGKILL and waits until it is gone.
func (e *Engine) Kill() {
	_ = e.cmd.Process.Kill() // it may be gone
	<-e.done
}

// Signal sends it a signal.
func (e *Engine) Signal(s os.Signal) {
	e.t.Helper()
	if err := e.cmd.Process.Signal(s); err != nil {
		e.t.Fatalf("sending %v: %v\n%s", s, err, e.Log())
	}
}

// Stop asks it to end, waits, and fails the test unless it ends with 0.
func (e *Engine) Stop() {
	e.t.Helper()
	e.Signal(syscall.SIGTERM)
	e.Succeeds()
}

// Wait waits until it is gone and gives its exit code, -1 where a signal ended it.
func (e *Engine) Wait() int {
	e.t.Helper()
	if !e.Gone(Patience) {
		e.Signal(syscall.SIGQUIT) // it tells where its goroutines are
		e.Gone(10 * time.Second)
		e.t.Fatalf("it did not end within %v\n%s", Patience, e.Log())
	}
	return e.cmd.ProcessState.ExitCode()
}

// Gone waits at most so long and tells whether it is gone.
func (e *Engine) Gone(within time.Duration) bool {
	select {
	case <-e.done:
		return true
	case <-time.After(within):
		return false
	}
}

// Succeeds waits until it is gone and fails the test unless it ended with 0.
func (e *Engine) Succeeds() {
	e.t.Helper()
	if code := e.Wait(); code != 0 {
		e.t.Fatalf("it ended with %d\n%s", code, e.Log())
	}
}

// Killed tells, once it is gone, whether SIGKILL ended it.
func (e *Engine) Killed() bool {
	status, ok := e.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Await waits for an event of a name for which is (nil: any) reports true.
func (e *Engine) Await(name string, is func(Event) bool) Event {
	e.t.Helper()
	var found Event
	Await(e.t, "event "+name, func() (bool, string) {
		gone := !e.Running() // asked first: then all events have been read
		for _, ev := range e.Events(name) {
			if is == nil || is(ev) {
				found = ev
				return true, ""
			}
		}
		if gone {
			e.t.Fatalf("the engine ended without the event %s\n%s", name, e.Log())
		}
		return false, e.Log()
	})
	return found
}

// Log is the end of what it told and logged.
func (e *Engine) Log() string {
	const most = 12
	events := slices.DeleteFunc(e.Events(""), func(ev Event) bool { return ev.Name == "snapshot_progress" || ev.Name == "snapshot_started" })
	if len(events) > most {
		events = slices.Concat(events[:3], []Event{{Line: "..."}}, events[len(events)-most:])
	}
	var b strings.Builder
	fmt.Fprintf(&b, "lakeload %s (started %s)\n", strings.Join(e.cmd.Args[1:], " "), e.started.Format("15:04:05.000"))
	for _, ev := range events {
		b.WriteString("  " + ev.Line + "\n")
	}
	b.WriteString("its log:\n" + e.stderr.String())
	if !e.Running() {
		fmt.Fprintf(&b, "it ended: %v\n", e.cmd.ProcessState)
	}
	return b.String()
}

// lastBytes keeps the end of what is written to it.
type lastBytes struct {
	mu    sync.Mutex
	bytes []byte
}

const lastBytesMost = 128 << 10

func (l *lastBytes) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes = append(l.bytes, b...)
	if over := len(l.bytes) - lastBytesMost; over > 0 {
		l.bytes = append(l.bytes[:0], l.bytes[over:]...)
	}
	return len(b), nil
}

func (l *lastBytes) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.bytes)
}
