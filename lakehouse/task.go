package lakehouse

import (
	"context"
	"errors"
)

// task is something that is done between two flushes, by whoever owns the
// engine's tables and state then: a copy that runs beside the stream may not
// touch them itself.
type task struct {
	do   func(ctx context.Context) error
	done chan error // of capacity 1
}

// errNotNow is what a task gets that came too late: the session that was to do
// it has ended. It may be asked for again.
var errNotNow = errors.New("the stream has ended meanwhile")

// do has f done between two flushes, and waits for its outcome.
func (e *Engine) do(ctx context.Context, f func(ctx context.Context) error) error {
	t := &task{do: f, done: make(chan error, 1)}
	for {
		select {
		case e.tasks <- t:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case err := <-t.done:
			if errors.Is(err, errNotNow) {
				continue
			}
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// run does tasks; their errors are for who asked for them.
func runTasks(ctx context.Context, tasks []*task) {
	for _, t := range tasks {
		t.done <- t.do(ctx)
	}
}

// refuseTasks tells that nobody will do them.
func refuseTasks(tasks []*task) {
	for _, t := range tasks {
		t.done <- errNotNow
	}
}
