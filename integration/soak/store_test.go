package soak

import (
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/internal/crashpoint"
)

// storePoints are in the middle of writing an object.
var storePoints = []crashpoint.Point{crashpoint.StoreTempWritten, crashpoint.StoreSynced, crashpoint.StoreLinked}

// storeFault does harm to the store of a program that is started anew for it.
func (r *run) storeFault() {
	r.t.Helper()
	point := storePoints[r.rng.IntN(len(storePoints))]
	nth := 1 + r.rng.IntN(40)
	while := time.Duration(300+r.rng.IntN(2000)) * time.Millisecond
	switch r.rng.IntN(3) {
	case 0:
		r.count("the store does not answer, and the program is killed")
		r.engine.Kill()
		r.startEngine(fmt.Sprintf("%s=%s:%d:hang", crashpoint.EnvVar, point, nth))
		r.wait(while)
		r.engine.Kill()
		r.restartEngine()
	case 1:
		r.count("the store lets the program wait in the middle of a write, as long as everything else")
		r.engine.Kill()
		r.startEngine(fmt.Sprintf("%s=%s:%d:stop", crashpoint.EnvVar, point, nth))
		r.wait(while)
		r.engine.Signal(syscall.SIGCONT) // it need not have come so far
		r.wait(while)
		r.engine.Kill() // it may stop later
		r.restartEngine()
	default:
		r.count("no file can be opened")
		r.limit("8:")
		if !r.engine.Gone(while) {
			r.limit("1024:")
		}
		if r.engine.Gone(500 * time.Millisecond) { // it may end, and has to say why
			stopped := r.engine.Events("pipeline_stopped")
			require.Len(r.t, stopped, 1, r.engine.Log())
			require.Equal(r.t, 1, stopped[0].Code, r.engine.Log())
			require.Contains(r.t, stopped[0].Error, "too many open files", r.engine.Log())
			r.restartEngine()
		}
	}
}

// limit sets how many files the program may have open. Those that are open stay so.
func (r *run) limit(files string) {
	r.t.Helper()
	out, err := exec.Command("prlimit", "--pid", fmt.Sprint(r.engine.Pid()), "--nofile="+files).CombinedOutput()
	if err != nil && r.engine.Running() {
		r.fatalf("prlimit: %v: %s", err, out)
	}
}
