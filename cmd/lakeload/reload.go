package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// configurationReloaded is told when the configuration was read again because
// somebody asked for it.
type configurationReloaded struct {
	Pipeline string `json:"pipeline"`
	Accepted bool   `json:"accepted"` // else everything goes on as before
	Error    string `json:"error,omitempty"`
	Remedy   string `json:"remedy,omitempty"`
}

// reloader runs one engine after the other, each by the configuration as it is
// when SIGHUP comes.
type reloader struct {
	flags *runFlags
	store *objstore.Local
	n     *narrator
	shown *display
}

// run returns when an engine ends for another reason than a new configuration.
func (r *reloader) run(ctx context.Context, now *prepared) error {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGHUP)
	defer signal.Stop(asked)
	var before *prepared
	for {
		next, begun, err := r.once(ctx, now, asked)
		switch {
		case next != nil:
			before, now = now, next
		case err != nil && ctx.Err() == nil && !begun && before != nil: // it is refused by what is not on our side
			r.tell(now, err)
			now, before = before, nil
		default:
			return err
		}
	}
}

// once runs an engine. next is what to go on with, if it has ended for that; begun
// says that it had started to work.
func (r *reloader) once(ctx context.Context, p *prepared, asked <-chan os.Signal) (next *prepared, begun bool, err error) {
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan struct{})
	var waiting sync.WaitGroup
	waiting.Go(func() {
		for {
			select {
			case <-asked:
			case <-ended:
				return
			}
			again, err := r.again(p)
			if r.tell(p, err); err == nil {
				next = again
				stop()
				return
			}
		}
	})
	o := p.options
	o.Lake, o.CacheDir = r.store, r.flags.cacheDir
	if o.CacheDir == "" {
		o.CacheDir = cacheFolder(r.store.URL(), p.selection.name)
	}
	o.Events, o.Log = listen(r.n.tell), r.n.log
	o.EnsureDefaults()
	limitMemory(o.Memory)
	err = mirror(running, p.selection, o, r.n.log, r.shown, func() { begun = true })
	close(ended)
	waiting.Wait()
	if next != nil && ctx.Err() == nil && errors.Is(err, context.Canceled) { // it had not come far
		err = nil
	}
	if err != nil || ctx.Err() != nil { // it has ended by itself, or is to end for good
		next = nil
	}
	return next, begun, err
}

// again reads the configuration again. It must be of the same pipeline.
func (r *reloader) again(was *prepared) (*prepared, error) {
	p, err := r.flags.prepare()
	if err != nil {
		return nil, err
	}
	for _, c := range []struct{ what, was, is string }{
		{"the pipeline's name", was.selection.name, p.selection.name},
		{"the lake", was.lake, p.lake},
		{"the slot", was.options.Slot, p.options.Slot},
		{"the publication", was.options.Publication, p.options.Publication},
		{"the address that it is watched at", was.watchedAt(), p.watchedAt()},
	} {
		if c.was != c.is {
			return nil, usageErrorf("start another engine for it, or stop this one first", "%s cannot become another one while the engine runs (it is %s, and would be %s)", c.what, c.was, c.is)
		}
	}
	return p, nil
}

// tell says whether a new configuration was taken over.
func (r *reloader) tell(p *prepared, err error) {
	e := configurationReloaded{Pipeline: p.selection.name, Accepted: err == nil}
	if err != nil {
		e.Error, e.Remedy = err.Error(), hintOf(err)
	}
	r.n.tell(eventReloaded, e)
}
