// Package harness drives the real lakeload program against real PostgreSQL servers, as a user would: it builds the program once for a test
// binary, starts it as a child process, kills it, reads what it tells, and looks at the lake that it leaves.
//
// Tests that use it run in `make test` (LAKELOAD_REAL=1). In a plain `go test` they are skipped and say so.
package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

// Patience bounds every wait for something that ought to come soon. It is long, as the machine may be busy.
const Patience = 90 * time.Second

// Main is a package's TestMain: it runs the tests, ends what they share and looks for goroutines that were left, other than those that are to
// be ignored. It gives the exit code.
func Main(m *testing.M, ignored ...goleak.Option) int {
	code := m.Run()
	if err := readers.Close(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "close the readers:", err)
		code = 1
	}
	pgtest.StopShared()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	if err := goleak.Find(ignored...); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// Need skips the test unless every real part is wanted (LAKELOAD_REAL=1).
func Need(t testing.TB) {
	t.Helper()
	if !readers.Real() {
		t.Skip("left out: the real program against a real PostgreSQL; `make test` runs it")
	}
}

var built struct {
	once sync.Once
	dir  string
	path string
	err  error
}

// Binary is the path of the lakeload program, built on first use. Every user of the machine may run it.
func Binary(t testing.TB) string {
	t.Helper()
	Need(t)
	built.once.Do(func() { built.path, built.err = build() })
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

func build() (string, error) {
	dir, err := os.MkdirTemp("", "lakeload-it-")
	if err == nil {
		built.dir = dir
		err = os.Chmod(dir, 0o755) // for users other than us
	}
	if err != nil {
		return "", fmt.Errorf("making a folder for the program: %w", err)
	}
	path := filepath.Join(dir, "lakeload")
	cmd := exec.Command("go", "build", "-o", path, "github.com/lakeload/lakeload/cmd/lakeload")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the program: %w\n%s", err, out)
	}
	return path, nil
}

// Command prepares a call of the program in an environment without anything that would name a source or a password. The caller may alter
// it before it is started.
func Command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(Binary(t), args...)
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, "PG") || strings.HasPrefix(kv, "LAKELOAD_") {
			continue
		}
		cmd.Env = append(cmd.Env, kv)
	}
	return cmd
}

// Result is how a call ended.
type Result struct {
	Args           []string
	Code           int // exit code; -1 where a signal ended it
	Stdout, Stderr string
}

func (r Result) String() string {
	return fmt.Sprintf("lakeload %s\nexit code %d\nstandard output:\n%s\nstandard error:\n%s", strings.Join(r.Args, " "), r.Code, clip(r.Stdout), clip(r.Stderr))
}

func clip(s string) string {
	const most = 8 << 10
	if len(s) > most {
		return "..." + s[len(s)-most:]
	}
	return s
}

// Do runs a prepared call to its end. It is killed when Patience is over.
func Do(t testing.TB, cmd *exec.Cmd) Result {
	t.Helper()
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %v: %v", cmd.Args, err)
	}
	late := time.AfterFunc(Patience, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait() // the state says it all
	stopped := late.Stop()
	r := Result{Args: cmd.Args[1:], Code: cmd.ProcessState.ExitCode(), Stdout: out.String(), Stderr: errs.String()}
	if !stopped {
		t.Fatalf("it did not end within %v: %s", Patience, r)
	}
	return r
}

// Call runs the program and fails the test unless it ends with 0.
func Call(t testing.TB, args ...string) Result {
	t.Helper()
	r := Do(t, Command(t, args...))
	if r.Code != 0 {
		t.Fatal(r)
	}
	return r
}

// Await waits until is reports true. It fails the test, with what and the last thing that is said, when Patience is over.
func Await(t testing.TB, what string, is func() (ok bool, said string)) {
	t.Helper()
	begun := time.Now()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		ok, said := is()
		if ok {
			return
		}
		if time.Since(begun) > Patience {
			t.Fatalf("waited %v in vain for: %s\n%s", Patience, what, said)
		}
		time.Sleep(pause)
	}
}
