// Package readers lets tests read Delta tables with other people's programs (DuckDB, delta-rs, Polars, Spark) and compare what they see
// with PostgreSQL, value by value, in one canonical text form (see canonical.go).
//
// One Python process of each kind serves a whole test binary; it is started on first use and ends with the binary. In `make test`
// (LAKELOAD_REAL=1) a reader that is missing fails the test; in a plain `go test` the test is skipped and says what was left out.
package readers

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
	"testing"
	"time"

	"github.com/lakeload/lakeload/integration/testbed"
)

// Kind names a reader.
type Kind string

// The readers.
const (
	DuckDB  Kind = "duckdb"
	DeltaRS Kind = "deltars"
	Polars  Kind = "polars"
	Spark   Kind = "spark"
)

// Kinds lists all readers, the quick ones first.
func Kinds() []Kind { return []Kind{DuckDB, DeltaRS, Polars, Spark} }

// Null is the canonical text of NULL. No other value has it: PostgreSQL's text cannot hold a NUL byte.
const Null = "\x00NULL"

// startTimeout covers Spark on a busy machine: it takes 10 to 20 s on an idle one.
const startTimeout = 3 * time.Minute

// Available is nil if a reader of that kind can be started, else an error that says what is missing and how to install it.
func Available(kind Kind) error {
	switch kind {
	case DuckDB, DeltaRS, Polars:
		return testbed.Venv()
	case Spark:
		return testbed.Spark()
	default:
		return fmt.Errorf("there is no reader %q: one of %q is", kind, Kinds())
	}
}

// Real tells whether every real part must be there.
func Real() bool { return os.Getenv("LAKELOAD_REAL") == "1" }

var (
	sharedMu sync.Mutex // guards shared
	shared   = map[Kind]*Reader{}
)

// Get gives the shared reader of a kind, starting it if needed. Without LAKELOAD_REAL=1 it skips the test where the reader is missing, and
// under -short.
func Get(t testing.TB, kind Kind) *Reader {
	t.Helper()
	err := Available(kind)
	switch {
	case err != nil && Real():
		t.Fatalf("the reader %s is needed with LAKELOAD_REAL=1: %v", kind, err)
	case err != nil:
		t.Skipf("left out: reading with %s: %v", kind, err)
	case testing.Short() && !Real():
		t.Skipf("left out under -short: reading with %s", kind)
	}
	sharedMu.Lock()
	defer sharedMu.Unlock()
	r := shared[kind]
	if r == nil {
		r = &Reader{kind: kind}
		shared[kind] = r
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := r.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return r
}

// Close ends all shared readers. A test binary need not call it: they end with it.
func Close() error {
	sharedMu.Lock()
	defer sharedMu.Unlock()
	var errs []error
	for _, r := range shared {
		errs = append(errs, r.Close())
	}
	clear(shared)
	return errors.Join(errs...)
}

// Reader is one Python process with one reader in it. Calls wait for each other. A call whose context ends kills the process; the next
// call starts it again, without what Storage and Exec had set.
type Reader struct {
	kind Kind

	mu     sync.Mutex // guards what follows; held during a call
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr *os.File
}

// Open starts a reader of its own, which the caller closes. Tests share one by Get.
func Open(ctx context.Context, kind Kind) (*Reader, error) {
	if err := Available(kind); err != nil {
		return nil, err
	}
	r := &Reader{kind: kind}
	return r, r.Start(ctx)
}

// Kind says which reader it is.
func (r *Reader) Kind() Kind { return r.kind }

// Start starts the process if it does not run.
func (r *Reader) Start(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.start(ctx)
}

// Close ends the process and waits for it.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cmd == nil {
		return nil
	}
	_ = r.in.Close() // it ends when its input does
	return r.reap()
}

func (r *Reader) start(ctx context.Context) (err error) {
	if r.cmd != nil {
		return nil
	}
	// A file rather than a pipe: nobody need read it, and the end of it explains an error.
	if r.stderr, err = os.CreateTemp("", "lakeload-reader-*.log"); err != nil {
		return fmt.Errorf("start the reader %s: %w", r.kind, err)
	}
	_ = os.Remove(r.stderr.Name()) // the open file is enough, and nothing is left when we are killed
	cmd := exec.Command(testbed.Python(), "-u", "-c", testbed.ReadersScript, string(r.kind))
	cmd.Env = append(os.Environ(), "LAKELOAD_TOOLS="+testbed.Tools(), "TZ=UTC", "PYTHONUTF8=1", "PYTHONDONTWRITEBYTECODE=1")
	cmd.Stderr = r.stderr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		_ = r.stderr.Close()
		return fmt.Errorf("start the reader %s with %s: %w (run %s)", r.kind, testbed.Python(), err, testbed.Install)
	}
	r.cmd, r.in, r.out = cmd, in, bufio.NewReaderSize(out, 1<<16)
	if _, err := r.receive(ctx); err != nil {
		_ = cmd.Process.Kill()
		log := r.log()
		_ = r.reap()
		return fmt.Errorf("start the reader %s: %w\n%s", r.kind, err, log)
	}
	return nil
}

// reap waits for a process that ends, and forgets it.
func (r *Reader) reap() error {
	err := r.cmd.Wait()
	r.cmd = nil
	return errors.Join(err, r.stderr.Close())
}

// log is the end of what the process wrote to standard error.
func (r *Reader) log() string {
	const most = 4 << 10
	end, err := r.stderr.Seek(0, io.SeekEnd)
	if err != nil {
		return ""
	}
	b := make([]byte, min(end, most))
	n, _ := r.stderr.ReadAt(b, end-int64(len(b)))
	return string(b[:n])
}

type request struct {
	Op      string   `json:"op"`
	Path    string   `json:"path,omitempty"`
	Version *int64   `json:"version,omitempty"`
	Columns []string `json:"columns,omitempty"`
	Query   string   `json:"query,omitempty"`
	Args    any      `json:"args,omitempty"`
}

type response struct {
	Error       string      `json:"error"`
	Rows        [][]*string `json:"rows"`
	Fingerprint struct {
		Rows int64  `json:"rows"`
		Low  uint64 `json:"low"`
		High uint64 `json:"high"`
	} `json:"fingerprint"`
}

// receive reads one answer. It kills the process if ctx ends first.
func (r *Reader) receive(ctx context.Context) (*response, error) {
	process := r.cmd.Process
	stop := context.AfterFunc(ctx, func() { _ = process.Kill() })
	line, err := r.out.ReadBytes('\n')
	if !stop() {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("it ended without an answer: %w", err)
	}
	var a response
	if err := json.Unmarshal(line, &a); err != nil {
		return nil, fmt.Errorf("its answer is not understood: %w: %.200q", err, line)
	}
	if a.Error != "" {
		return nil, &Error{Kind: r.kind, Message: a.Error}
	}
	return &a, nil
}

// Error is what a reader itself said went wrong. Known failures are asserted on its text.
type Error struct {
	Kind    Kind
	Message string
}

func (e *Error) Error() string { return string(e.Kind) + ": " + e.Message }

func (r *Reader) call(ctx context.Context, q *request) (*response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.start(ctx); err != nil {
		return nil, err
	}
	b, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	if _, err = r.in.Write(append(b, '\n')); err == nil {
		var a *response
		if a, err = r.receive(ctx); err == nil {
			return a, nil
		}
		var own *Error
		if errors.As(err, &own) {
			return nil, err
		}
	}
	_ = r.cmd.Process.Kill()
	log := r.log()
	_ = r.reap()
	return nil, fmt.Errorf("%s with the reader %s: %w\n%s", q.Op, r.kind, err, log)
}

// Rows gives the rows of a Delta table in canonical text: at a version (nil: the latest), of the named columns (none: all, in the order of
// the schema). The order of the rows is the reader's own.
func (r *Reader) Rows(ctx context.Context, path string, version *int64, columns []string) ([][]string, error) {
	return r.rows(ctx, &request{Op: "rows", Path: path, Version: version, Columns: columns})
}

// Fingerprint counts and sums the same rows without bringing them here: for millions of them.
func (r *Reader) Fingerprint(ctx context.Context, path string, version *int64, columns []string) (Fingerprint, error) {
	a, err := r.call(ctx, &request{Op: "fingerprint", Path: path, Version: version, Columns: columns})
	if err != nil {
		return Fingerprint{}, err
	}
	return Fingerprint{Rows: a.Fingerprint.Rows, Sum: [2]uint64{a.Fingerprint.Low, a.Fingerprint.High}}, nil
}

// SQL gives the rows of a query in canonical text (DuckDB, Spark). DeltaScan and SparkTable name a table in it.
func (r *Reader) SQL(ctx context.Context, query string) ([][]string, error) {
	return r.rows(ctx, &request{Op: "sql", Query: query})
}

// Exec runs a statement that gives no rows (DuckDB, Spark).
func (r *Reader) Exec(ctx context.Context, statement string) error {
	_, err := r.call(ctx, &request{Op: "exec", Query: statement})
	return err
}

// Storage sets the options by which delta-rs and Polars reach an object store (AWS_ENDPOINT_URL and so on), for all later calls. DuckDB
// takes a `create secret` by Exec instead.
func (r *Reader) Storage(ctx context.Context, options map[string]string) error {
	_, err := r.call(ctx, &request{Op: "storage", Args: options})
	return err
}

// Python runs a piece of Python in the process, with pa (pyarrow), args, and con (DuckDB), deltalake, polars or spark in its names. What it
// leaves in `result`, an Arrow table or a list of lists of text, comes back. It makes fixtures, and reads what Rows cannot, such as change feeds.
func (r *Reader) Python(ctx context.Context, code string, args any) ([][]string, error) {
	return r.rows(ctx, &request{Op: "python", Query: code, Args: args})
}

func (r *Reader) rows(ctx context.Context, q *request) ([][]string, error) {
	a, err := r.call(ctx, q)
	if err != nil {
		return nil, err
	}
	rows := make([][]string, len(a.Rows))
	for i, values := range a.Rows {
		rows[i] = make([]string, len(values))
		for j, v := range values {
			if rows[i][j] = Null; v != nil {
				rows[i][j] = *v
			}
		}
	}
	return rows, nil
}

// DeltaScan names a Delta table in DuckDB's SQL.
func DeltaScan(path string, version *int64) string {
	at := ""
	if version != nil {
		at = fmt.Sprintf(", version => %d", *version)
	}
	return "delta_scan('" + strings.ReplaceAll(path, "'", "''") + "'" + at + ")"
}

// SparkTable names a Delta table in Spark's SQL.
func SparkTable(path string, version *int64) string {
	at := ""
	if version != nil {
		at = fmt.Sprintf(" version as of %d", *version)
	}
	return "delta.`" + strings.ReplaceAll(path, "`", "``") + "`" + at
}
