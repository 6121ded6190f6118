// Package mutants breaks the program on purpose, one small change at a time, and holds that a test notices each.
//
// A mutation is applied by an overlay of the Go command: the tree is not touched. TestMutationsApply, which always runs, holds that the list
// fits the code. TestMutants runs some of them in `make test`, all with LAKELOAD_MUTANTS=all, or those whose titles contain another value of
// that variable ("edge 27:" are those of one edge case).
//
// The edge cases are 62 ways in which programs like this one have lost or falsified data. The tests that hold that this one does not are named
// by their numbers, and TestEveryEdgeCaseHasAMutation holds that for each there is a mutation that such a test notices.
package mutants

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/readers"
)

// mutation is one deliberate fault.
type mutation struct {
	name string
	// edge is the number of the edge case whose fault it brings back; 0 for none.
	edge int
	// edits change files of the module.
	edits []edit
	// pkg and test are the package and the test that has to fail.
	pkg, test string
	// sample says that `make test` runs it.
	sample bool
	// real says that the test needs the real parts.
	real bool
}

// edit replaces a text, which has to stand in the file just once.
type edit struct{ file, old, new string }

// title is what a mutation is called, and chosen by.
func (m *mutation) title() string {
	if m.edge == 0 {
		return m.name
	}
	return fmt.Sprintf("edge %d: %s", m.edge, m.name)
}

const (
	envMutants = "LAKELOAD_MUTANTS"
	// each bounds one run. A mutant that hangs has been noticed, too.
	each = 6 * time.Minute
)

func root(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOMOD").Output()
	require.NoError(t, err)
	return filepath.Dir(strings.TrimSpace(string(out)))
}

// mutated gives the changed text of each file of a mutation.
func (m *mutation) mutated(t *testing.T, root string) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, e := range m.edits {
		path := filepath.Join(root, filepath.FromSlash(e.file))
		text, ok := texts[path]
		if !ok {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			text = string(data)
		}
		if n := strings.Count(text, e.old); n != 1 {
			t.Errorf("%s: the text to replace stands %d times in %s, not once: bring the mutation up to date with the code\n%s", m.name, n, e.file, e.old)
		}
		texts[path] = strings.Replace(text, e.old, e.new, 1)
	}
	return texts
}

// TestMutationsApply holds that every mutation fits the code, and that the test which has to notice it is there.
func TestMutationsApply(t *testing.T) {
	dir := root(t)
	names := map[string]bool{}
	tests := map[string]map[string]bool{} // by package
	for _, m := range mutations {
		require.False(t, names[m.name], "two mutations are called %s", m.name)
		names[m.name] = true
		require.NotEmpty(t, m.edits)
		m.mutated(t, dir)
		if tests[m.pkg] == nil {
			tests[m.pkg] = declared(t, filepath.Join(dir, filepath.FromSlash(m.pkg)))
		}
		test, _, _ := strings.Cut(m.test, "/")
		require.True(t, tests[m.pkg][test], "%s: the package %s has no test %s", m.title(), m.pkg, test)
	}
}

// TestTheEngineIsMutated holds that many of the mutations are of the engine itself.
func TestTheEngineIsMutated(t *testing.T) {
	n := 0
	for _, m := range mutations {
		for _, e := range m.edits {
			if strings.HasPrefix(e.file, "lakehouse/") {
				n++
				break
			}
		}
	}
	t.Logf("%d of %d mutations are of the engine", n, len(mutations))
	require.GreaterOrEqual(t, n, 70)
}

var testFunction = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// declared gives the tests of a folder.
func declared(t *testing.T, folder string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	require.NoError(t, err)
	names := map[string]bool{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		for _, m := range testFunction.FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
	}
	return names
}

// edgeCases is how many there are.
const edgeCases = 62

var numbered = regexp.MustCompile(`^TestEdge(\d+)(?:And(\d+))?`)

// TestEveryEdgeCaseHasAMutation holds that for every edge case there is a mutation that brings its fault back, and that a test which is named
// by its number has to notice it.
func TestEveryEdgeCaseHasAMutation(t *testing.T) {
	has := map[int]bool{}
	for _, m := range mutations {
		if m.edge == 0 {
			continue
		}
		of := numbered.FindStringSubmatch(m.test)
		require.NotNil(t, of, "%s: %s is not named by an edge case", m.title(), m.test)
		require.Contains(t, of[1:], fmt.Sprintf("%02d", m.edge), "%s: %s is of another edge case", m.title(), m.test)
		has[m.edge] = true
	}
	for edge := 1; edge <= edgeCases; edge++ {
		require.True(t, has[edge], "edge case %d has no mutation", edge)
	}
	require.Len(t, has, edgeCases)
}

// TestMutants holds that the tests named fail with the mutations, and pass without.
func TestMutants(t *testing.T) {
	which := os.Getenv(envMutants)
	if which == "" && !readers.Real() {
		t.Skipf("left out: breaking the program on purpose, which takes minutes; `make test` runs a sample, %s=all runs all", envMutants)
	}
	dir := root(t)
	healthy := map[string]string{} // outcome of each test without a mutation
	var report strings.Builder
	ran := 0
	for _, m := range mutations {
		if which == "" && !m.sample || which != "" && which != "all" && !strings.Contains(m.title(), which) {
			continue
		}
		t.Run(m.title(), func(t *testing.T) {
			key := m.pkg + " " + m.test
			if _, ok := healthy[key]; !ok {
				outcome, out := run(t, dir, &m, "")
				require.NotEqual(t, "failed", outcome, "%s fails without any mutation: nothing can be said\n%s", key, out)
				healthy[key] = outcome
			}
			if healthy[key] == "skipped" {
				t.Skipf("left out: %s, which has to notice it, is left out itself here", key)
			}
			began := time.Now()
			outcome, out := run(t, dir, &m, m.overlay(t, dir))
			ran++
			fmt.Fprintf(&report, "  %-75s %s by %s in %v\n", m.title(), map[string]string{"failed": "killed", "passed": "SURVIVED"}[outcome], m.test, time.Since(began).Round(time.Second))
			require.Equal(t, "failed", outcome, "the mutant survived %s\n%s", key, out)
		})
	}
	t.Logf("%d mutants of %d:\n%s", ran, len(mutations), &report)
}

// overlay writes the changed files and the overlay that names them, and gives its path.
func (m *mutation) overlay(t *testing.T, root string) string {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	for path, text := range m.mutated(t, root) {
		to := filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		require.NoError(t, os.WriteFile(to, []byte(text), 0o644))
		replace[path] = to
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	path := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(path, data, 0o644))
	return path
}

var verdict = regexp.MustCompile(`(?m)^--- (PASS|FAIL|SKIP): (\S+)`)

// run runs a mutation's test, with the overlay if there is one, and tells how it ended: passed, failed or skipped.
func run(t *testing.T, dir string, m *mutation, overlay string) (outcome, out string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), each+time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-v", "-count=1", "-vet=off", "-timeout", each.String(), "-run", pattern(m.test), m.pkg)
	cmd.Dir = dir
	cmd.Env = os.Environ()
	if overlay != "" {
		// By the environment, so that a program that the test builds has it too.
		cmd.Env = append(cmd.Env, "GOFLAGS=-overlay="+overlay)
	}
	if m.real {
		cmd.Env = append(cmd.Env, "LAKELOAD_REAL=1")
	}
	cmd.WaitDelay = 10 * time.Second
	data, err := cmd.CombinedOutput()
	out = tail(string(data))
	name, _, _ := strings.Cut(m.test, "/")
	if strings.Contains(string(data), "[build failed]") || strings.Contains(string(data), "building the program: ") || !strings.Contains(string(data), "=== RUN   "+name) {
		t.Fatalf("%s: %s did not run: %v\n%s", m.name, m.test, err, out)
	}
	for _, v := range verdict.FindAllStringSubmatch(string(data), -1) {
		if v[2] == name && v[1] == "SKIP" {
			return "skipped", out
		}
	}
	if err != nil { // a panic and a time-out are failures too
		return "failed", out
	}
	return "passed", out
}

// pattern makes each part of a test's name an exact one.
func pattern(test string) string {
	parts := strings.Split(test, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return strings.Join(parts, "/")
}

func tail(s string) string {
	const most = 6 << 10
	if len(s) > most {
		return "..." + s[len(s)-most:]
	}
	return s
}
