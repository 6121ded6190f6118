//go:build unix

package crashpoint

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// childEnv makes the test binary the process that is to die: it passes a
// point this many times.
const childEnv = "CRASHPOINT_TEST_PASSES"

func TestMain(m *testing.M) {
	if passes, err := strconv.Atoi(os.Getenv(childEnv)); err == nil {
		if err := FromEnv(); err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
		for i := range passes {
			At(FlushBegin)
			At(BeforeCommit)
			fmt.Println("passed", i+1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(t *testing.T, spec string, passes int) (string, *exec.ExitError) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), EnvVar+"="+spec, childEnv+"="+strconv.Itoa(passes))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil {
		require.True(t, errors.As(err, &exit), "%v", err)
	}
	return string(out), exit
}

func TestKillsAtTheNthHit(t *testing.T) {
	for spec, passed := range map[string]int{"before-commit:3": 2, "before-commit": 0, "flush-begin:2": 1} {
		out, exit := child(t, spec, 5)
		require.NotNil(t, exit, "%s: survived: %s", spec, out)
		status := exit.Sys().(syscall.WaitStatus)
		require.True(t, status.Signaled(), "%s: %v", spec, exit)
		require.Equal(t, syscall.SIGKILL, status.Signal())
		require.Equal(t, passed, strings.Count(out, "passed"), "%s: %s", spec, out)
	}
}

func TestSurvivesWhereThePointIsNotHit(t *testing.T) {
	for _, spec := range []string{"", "before-commit:6", "acknowledged"} {
		out, exit := child(t, spec, 5)
		require.Nil(t, exit, out)
		require.Equal(t, 5, strings.Count(out, "passed"))
	}
}

func TestFromEnvRefuses(t *testing.T) {
	for spec, want := range map[string]string{
		"no-such-point":      "there are slot-creating, slot-created",
		"flush-begin:":       "has to be a number",
		"flush-begin:x":      "has to be a number",
		"flush-begin:0":      "counted from 1",
		"nowhere:hang":       "no hit 1",
		"flush-begin:0:hang": "no hit 0",
	} {
		t.Setenv(EnvVar, spec)
		require.ErrorContains(t, FromEnv(), want, spec)
	}
	require.Nil(t, hook.Load(), "a refused crash leaves no hook")
}

// What hangs hangs for good, and nothing else does.
func TestHangsFromTheNthHitOn(t *testing.T) {
	defer Set(nil)
	require.NoError(t, Hang(BeforeCommit, 2))
	At(BeforeCommit)
	At(FlushBegin)
	for range 2 {
		passed := make(chan struct{})
		go func() { At(BeforeCommit); close(passed) }() // never ends
		select {
		case <-passed:
			t.Fatal("it got past")
		case <-time.After(50 * time.Millisecond):
		}
	}
	At(FlushBegin)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), EnvVar+"=before-commit:3:hang", childEnv+"=5")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var text [64]byte
	for n := 0; strings.Count(string(text[:n]), "passed") < 2; {
		m, err := out.Read(text[n:])
		require.NoError(t, err)
		n += m
	}
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait() // by the signal
}

// TestAllIsComplete reads the constants from the source, so that a new point
// cannot be forgotten by those who enumerate them.
func TestAllIsComplete(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "crashpoint.go", nil, 0)
	require.NoError(t, err)
	var declared []Point
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == "Point" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			declared = append(declared, Point(text))
		}
		return true
	})
	require.NotEmpty(t, declared)
	require.Equal(t, declared, All())
	All()[0] = "altered"
	require.Equal(t, declared, All(), "the caller got the package's own slice")
}

func TestSet(t *testing.T) {
	defer Set(nil)
	At(FlushBegin) // no hook: nothing happens
	var hits atomic.Int64
	Set(countdown(FlushBegin, 100, func() { hits.Add(1) }))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				At(FlushBegin)
				At(AfterCommit)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, hits.Load(), "800 hits, one of them the 100th")
	Set(nil)
	At(FlushBegin)
	require.Nil(t, hook.Load())
}

// A process that is stopped at a point goes on when it is told to.
func TestStopsAtTheNthHit(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), EnvVar+"=flush-begin:2:stop", childEnv+"=3")
	var out strings.Builder
	cmd.Stdout = &out
	require.NoError(t, cmd.Start())
	var status syscall.WaitStatus
	_, err := syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED, nil)
	require.NoError(t, err)
	require.True(t, status.Stopped(), "it ended instead: %v", status)
	require.NoError(t, cmd.Process.Signal(syscall.SIGCONT))
	require.NoError(t, cmd.Wait())
	require.Equal(t, 3, strings.Count(out.String(), "passed"))
	require.Error(t, Stop("nowhere", 1))
}
