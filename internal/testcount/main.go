// Command testcount runs `go test -json` with the arguments that it is given, prints a line for each package and the whole output of each
// failing test while they run, and ends with what was left out and the counts:
//
//	412 passed, 0 failed, 3 skipped
//
// Tests and subtests count alike. A package that does not build, or ends without its tests having ended, counts as one failure. The exit
// code is 1 on any failure.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	counts := flag.String("counts", "", "also write the line of counts to this `file`, added to those that an earlier run has left there")
	flag.Parse()
	os.Exit(run(*counts, flag.Args()))
}

func run(countsFile string, args []string) int {
	// An interrupt reaches go test too, being of the same group: what it says on its way out is still told.
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testcount: run go test:", err)
		return 1
	}
	t := newTally(os.Stdout)
	stop := make(chan struct{})
	var reporter sync.WaitGroup
	reporter.Go(func() { t.reportSlow(stop) })
	readErr := t.read(out)
	close(stop)
	reporter.Wait()
	waitErr := cmd.Wait()
	t.finish(waitErr)
	if readErr != nil {
		fmt.Fprintln(os.Stderr, "testcount: read the output of go test:", readErr)
	}
	line := t.counts()
	if countsFile != "" {
		if err := addCounts(countsFile, t.passed, t.failed, t.skipped); err != nil {
			fmt.Fprintln(os.Stderr, "testcount:", err)
			return 1
		}
	}
	fmt.Println(line)
	if t.failed > 0 || waitErr != nil || readErr != nil {
		return 1
	}
	return 0
}

const countsFormat = "%d passed, %d failed, %d skipped\n"

// addCounts adds to the counts in a file; one that is not there has none.
func addCounts(file string, passed, failed, skipped int) error {
	before, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(before) > 0 {
		var p, f, s int
		if _, err := fmt.Sscanf(string(before), countsFormat, &p, &f, &s); err != nil {
			return fmt.Errorf("the counts of the earlier run in %s: %w", file, err)
		}
		passed, failed, skipped = passed+p, failed+f, skipped+s
	}
	return os.WriteFile(file, fmt.Appendf(nil, countsFormat, passed, failed, skipped), 0o644)
}

// event is a line of go test -json (go doc test2json).
type event struct {
	Action      string
	Package     string
	Test        string
	Elapsed     float64
	Output      string
	ImportPath  string
	FailedBuild string
}

// test is one test that has begun.
type test struct {
	pkg, name string
	began     time.Time
	output    []string
}

// tally turns events into lines and counts.
type tally struct {
	mu                      sync.Mutex // guards all
	w                       io.Writer
	now                     func() time.Time
	passed, failed, skipped int
	running                 map[string]*test    // by package and name; the package itself has name ""
	inPackage               map[string][3]int   // passed, failed, skipped
	build                   map[string][]string // output of the compiler by import path
	leftOut                 map[string]int      // reasons of skips
}

func newTally(w io.Writer) *tally {
	return &tally{w: w, now: time.Now, running: map[string]*test{}, inPackage: map[string][3]int{}, build: map[string][]string{}, leftOut: map[string]int{}}
}

func (t *tally) read(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) == nil && e.Action != "" {
				t.add(&e)
			} else {
				t.print(string(line))
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (t *tally) print(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprint(t.w, s)
}

func (t *tally) add(e *event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := e.Package + "\x00" + e.Test
	switch e.Action {
	case "build-output":
		t.build[e.ImportPath] = append(t.build[e.ImportPath], e.Output)
	case "run", "start":
		t.running[key] = &test{pkg: e.Package, name: e.Test, began: t.now()}
	case "output":
		if x := t.running[key]; x != nil {
			x.output = append(x.output, e.Output)
		}
	case "pass", "fail", "skip":
		x := t.running[key]
		if x == nil {
			x = &test{pkg: e.Package, name: e.Test}
		}
		delete(t.running, key)
		if e.Test == "" {
			t.packageDone(e, x)
		} else {
			t.testDone(e.Action, x)
		}
	}
}

func (t *tally) testDone(action string, x *test) {
	n := t.inPackage[x.pkg]
	switch action {
	case "pass":
		t.passed++
		n[0]++
	case "skip":
		t.skipped++
		n[2]++
		t.leftOut[reason(x)]++
	default:
		t.failed++
		n[1]++
		fmt.Fprintf(t.w, "--- FAIL: %s %s\n%s", x.pkg, x.name, strings.Join(x.output, ""))
	}
	t.inPackage[x.pkg] = n
}

// reason is what a test said when it was skipped.
func reason(x *test) string {
	for _, line := range slices.Backward(x.output) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "---") || strings.HasPrefix(line, "===") {
			continue
		}
		if _, after, ok := strings.Cut(line, ".go:"); ok { // file_test.go:12: why
			if _, why, ok := strings.Cut(after, ": "); ok {
				return why
			}
		}
		return line
	}
	return x.pkg + " " + x.name
}

func (t *tally) packageDone(e *event, x *test) {
	// Tests that began and did not end went down with the package.
	for _, key := range slices.Sorted(maps.Keys(t.running)) {
		if o := t.running[key]; o.pkg == e.Package && o.name != "" {
			delete(t.running, key)
			if e.Action == "fail" {
				t.testDone("fail", o)
			}
		}
	}
	n := t.inPackage[e.Package]
	if e.Action == "fail" && n[1] == 0 {
		t.failed++
		fmt.Fprintf(t.w, "--- FAIL: %s\n%s%s", e.Package, strings.Join(t.build[cmp.Or(e.FailedBuild, e.ImportPath)], ""), strings.Join(x.output, ""))
	} else if e.Action == "fail" {
		fmt.Fprint(t.w, strings.Join(x.output, ""))
	}
	if n == [3]int{} && e.Action != "fail" {
		return // no tests
	}
	state := map[string]string{"pass": "ok", "fail": "FAIL", "skip": "skip"}[e.Action]
	fmt.Fprintf(t.w, "%-4s %s %.1fs (%d passed, %d failed, %d skipped)\n", state, e.Package, e.Elapsed, n[0], n[1], n[2])
}

// finish counts what go test never told the end of, and lists what was left out.
func (t *tally) finish(waitErr error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(t.running)) {
		t.testDone("fail", t.running[key])
	}
	if waitErr != nil && t.failed == 0 {
		t.failed++
		fmt.Fprintf(t.w, "--- FAIL: go test ended with %v and named no test\n", waitErr)
	}
	for _, why := range slices.Sorted(maps.Keys(t.leftOut)) {
		fmt.Fprintf(t.w, "skipped %d: %s\n", t.leftOut[why], why)
	}
}

func (t *tally) counts() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", t.passed, t.failed, t.skipped)
}

// slowAfter is how long a package may be silent before a line says that it is still at it.
const slowAfter = 60 * time.Second

func (t *tally) reportSlow(stop <-chan struct{}) {
	tick := time.NewTicker(slowAfter / 2)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			t.slow()
		}
	}
}

func (t *tally) slow() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(t.running)) {
		if x := t.running[key]; x.name != "" && !strings.Contains(x.name, "/") && t.now().Sub(x.began) >= slowAfter {
			fmt.Fprintf(t.w, "...  %s %s has run for %.0fs\n", x.pkg, x.name, t.now().Sub(x.began).Seconds())
		}
	}
}
