package lakehouse

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/lakeload/lakeload/cdc"
)

// How often the observer looks, how long it waits for the stream's loop to
// answer, and how often the slot is looked at where nobody else does.
const (
	observeEvery = time.Second
	answerWithin = time.Second
	sampleEvery  = 10 * time.Second
)

// observe begins to watch over the engine, beside everything else that it does:
// one goroutine for what is at hand, one that asks the source for the slot. The
// function that it gives ends both.
func (e *Engine) observe(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var loops sync.WaitGroup
	loops.Go(func() { e.watchOver(ctx) })
	loops.Go(func() { e.sample(ctx) })
	return func() {
		cancel()
		loops.Wait()
		e.meter.ended()
	}
}

func (e *Engine) watchOver(ctx context.Context) {
	tick := time.NewTicker(observeEvery)
	defer tick.Stop()
	for {
		e.meter.turned(e.Streaming() && e.streamAnswers(ctx))
		e.watchStore(time.Now())
		e.watchSpool()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// streamAnswers reports whether the stream's loop takes what is handed to it.
func (e *Engine) streamAnswers(ctx context.Context) bool {
	patience := time.NewTimer(answerWithin)
	defer patience.Stop()
	select {
	case e.pulse <- struct{}{}:
		return true
	case <-patience.C:
	case <-ctx.Done():
	}
	return false
}

// sample has the slot looked at. A source that does not answer is the stream's
// matter.
func (e *Engine) sample(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if time.Since(e.meter.sampledAt()) < sampleEvery {
			continue // the watcher has
		}
		asking, cancel := context.WithTimeout(ctx, sampleEvery)
		if slot, err := e.opt.Source.Slot(asking); err == nil {
			e.meter.sampled(slot)
		}
		cancel()
	}
}

// watchStore tells of a store that has failed for long, or that refuses what
// waiting alone does not change.
func (e *Engine) watchStore(now time.Time) {
	alert := InfrastructureAlert{Kind: AlertStore, Limit: int64(storePatient.Seconds())}
	lasted := e.meter.store.lasted(now)
	alert.Value = int64(lasted.Seconds())
	why := e.meter.store.blocked(now)
	switch {
	case why != nil:
		alert.Severity = AlertCritical
		alert.Message = fmt.Sprintf("the lake's store at %s refuses what is asked of it: %v", e.opt.Lake.URL(), why)
		alert.Remedy = cmp.Or(hintOf(why), "take away what forbids it") + "; nothing is lost meanwhile, and it goes on by itself then"
		e.alert(alert)
	case lasted > storePatient:
		alert.Severity = AlertCritical
		alert.Message = fmt.Sprintf("the lake's store at %s cannot be used, for %d s now", e.opt.Lake.URL(), alert.Value)
		alert.Remedy = "see that it is up and can be reached and written to from here; nothing is lost meanwhile, and the source keeps its log until it is back"
		e.alert(alert)
	case lasted == 0:
		alert.Message = "the lake's store can be used again"
		e.resolve(alert)
	}
}

// watchSpool tells of a spool that is nearly full.
func (e *Engine) watchSpool() {
	source, ok := e.opt.Source.(cdc.Measured)
	if !ok {
		return
	}
	s := source.Stats()
	if s.SpoolLimit <= 0 {
		return
	}
	alert := InfrastructureAlert{Kind: AlertSpool, Value: s.OnDisk, Limit: s.SpoolLimit}
	switch used := float64(s.OnDisk) / float64(s.SpoolLimit) * 100; {
	case used >= spoolWarn:
		alert.Severity = AlertWarning
		alert.Message = fmt.Sprintf("transactions in progress take %d bytes of the spool's %d", s.OnDisk, s.SpoolLimit)
		alert.Remedy = "end the large transactions at the source, or raise limits.spool; when it is full the server keeps them itself, and they come when they have committed"
		e.alert(alert)
	case used < spoolOver:
		alert.Message = fmt.Sprintf("transactions in progress take %d bytes of the spool's %d again", s.OnDisk, s.SpoolLimit)
		e.resolve(alert)
	}
}
