package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// runsAsLakeload makes the test binary lakeload itself, for the demo and for
// tests that need a process to kill.
const runsAsLakeload = "LAKELOAD_TEST_RUN_AS_LAKELOAD"

func TestMain(m *testing.M) {
	if os.Getenv(runsAsLakeload) == "1" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// result is what a command line came to.
type result struct {
	code     exitCode
	out, err string
}

var testNow = time.Date(2026, 11, 23, 18, 4, 32, 123456000, time.UTC)

// lakeload runs a command line in this process, without a terminal and with
// an environment of its own.
func lakeload(t testing.TB, env map[string]string, args ...string) result {
	t.Helper()
	var out, complaints bytes.Buffer
	c := &console{
		out:        &out,
		err:        &complaints,
		getenv:     func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		now:        func() time.Time { return testNow },
		executable: func() (string, error) { return "", errors.New("not in tests") },
	}
	code := execute(context.Background(), c, args)
	return result{code, out.String(), complaints.String()}
}
