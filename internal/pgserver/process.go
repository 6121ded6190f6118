package pgserver

import (
	"context"
	"os/exec"
	"runtime"
	"time"
)

// process is a running server. The goroutine that started it waits for it and ends with it.
type process struct {
	pid  int
	done chan struct{} // closed when it has ended and err is set
	err  error
	stop chan ending
}

// ending is how a server is told to end.
type ending int

const (
	fast      ending = iota // ends sessions, rolls back, writes a checkpoint
	immediate               // as a crash
	killed                  // by the kernel, the last resort
)

const (
	// graceFast is how long a server may take over an orderly end, which waits for replication clients that do not answer.
	graceFast = 30 * time.Second
	// graceImmediate is how long it may take to end at once before the kernel ends it.
	graceImmediate = 10 * time.Second
)

// spawn starts the server from a thread that lives as long as the server does: the kernel sends the signal that is to tell the server of
// our death when the thread that started it dies, and Go ends threads.
func spawn(cmd *exec.Cmd) (*process, error) {
	p := &process{done: make(chan struct{}), stop: make(chan ending, 4)}
	started := make(chan error, 1)
	go func() {
		defer close(p.done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		tieToUs(cmd)
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		p.pid = cmd.Process.Pid
		release, err := watch(cmd)
		if err != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			started <- err
			return
		}
		ended := make(chan struct{})
		signals := make(chan struct{})
		go func() { // signals go by the goroutine that knows that the process is not yet waited for
			defer close(signals)
			for {
				select {
				case how := <-p.stop:
					signal(cmd.Process, how)
				case <-ended:
					return
				}
			}
		}()
		started <- nil
		p.err = cmd.Wait()
		close(ended)
		<-signals
		release()
	}()
	return p, <-started
}

// end tells the server to end and waits until it has, harder as time goes by.
func (p *process) end(ctx context.Context, how ending) {
	for ; ; how++ {
		select {
		case p.stop <- how:
		case <-p.done:
			return
		}
		switch how {
		case fast:
			t := time.NewTimer(graceFast)
			select {
			case <-p.done:
				t.Stop()
				return
			case <-ctx.Done():
				t.Stop()
			case <-t.C:
			}
		case immediate:
			t := time.NewTimer(graceImmediate)
			select {
			case <-p.done:
				t.Stop()
				return
			case <-t.C:
			}
		default:
			<-p.done
			return
		}
	}
}
