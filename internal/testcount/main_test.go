package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTally(t *testing.T) {
	const events = `
{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: boom\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:12: left out: spark\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
{"Action":"run","Package":"p","Test":"TestC"}
{"Action":"output","Package":"p","Test":"TestC","Output":"quiet\n"}
{"Action":"pass","Package":"p","Test":"TestC"}
{"Action":"run","Package":"p","Test":"TestHangs"}
{"Action":"fail","Package":"p","Elapsed":1.5}
{"ImportPath":"q [q.test]","Action":"build-output","Output":"q.go:1: does not compile\n"}
{"ImportPath":"q [q.test]","Action":"build-fail"}
{"Action":"start","Package":"q"}
{"Action":"fail","Package":"q","FailedBuild":"q [q.test]"}
{"Action":"start","Package":"none"}
{"Action":"skip","Package":"none"}
go: a line that is not JSON
`
	var out strings.Builder
	c := newTally(&out)
	require.NoError(t, c.read(strings.NewReader(strings.TrimPrefix(events, "\n"))))
	c.finish(nil)
	require.Equal(t, "1 passed, 3 failed, 1 skipped", c.counts())
	for _, want := range []string{"boom", "FAIL p 1.5s (1 passed, 2 failed, 1 skipped)", "does not compile", "skipped 1: left out: spark", "p TestHangs", "not JSON"} {
		require.Contains(t, out.String(), want)
	}
	require.NotContains(t, out.String(), "quiet")
	require.NotContains(t, out.String(), "none")
}

func TestTallyOfSilentFailure(t *testing.T) {
	var out strings.Builder
	c := newTally(&out)
	c.add(&event{Action: "start", Package: "p"})
	c.add(&event{Action: "run", Package: "p", Test: "TestSlow"})
	c.now = func() time.Time { return time.Now().Add(time.Hour) }
	c.slow()
	require.Contains(t, out.String(), "TestSlow has run for")
	c.finish(nil)
	require.Equal(t, "0 passed, 2 failed, 0 skipped", c.counts())
}
