package demo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/lakeload/lakeload/cdc"
)

// Freshness is how long after its commit a change could be read in the lake,
// as seen by somebody who looks at the lake's files.
type Freshness struct {
	Samples int           `json:"samples"`
	P50     time.Duration `json:"p50_ns"`
	P99     time.Duration `json:"p99_ns"`
	Last    time.Duration `json:"last_ns"`
	// OverCrash is the longest of those that the crash fell into, which are
	// not among the others.
	OverCrash time.Duration `json:"over_crash_ns"`
}

// pollEvery is the grain of what the poller measures.
const pollEvery = 5 * time.Millisecond

// poller measures freshness from outside: it watches a table's log as any
// reader would, knows nothing of the engine, and looks up in each new version
// the source position that it carries.
type poller struct {
	log  string
	quit chan struct{}
	done chan struct{}
	once sync.Once

	mu        sync.Mutex
	waiting   []expected // by position
	times     []time.Duration
	cut       cdc.LSN
	last      time.Duration
	killed    time.Time // zero before the crash
	recovered time.Time
	overCrash time.Duration
}

type expected struct {
	after cdc.LSN // the commit ends behind it
	sent  time.Time
}

// newPoller watches the table in dir from its newest version on.
func newPoller(dir string) *poller {
	p := &poller{log: filepath.Join(dir, "_delta_log"), quit: make(chan struct{}), done: make(chan struct{})}
	go p.run()
	return p
}

// stop ends the poller; what it measured stays.
func (p *poller) stop() {
	p.once.Do(func() { close(p.quit) })
	<-p.done
}

// expect tells of a commit that was sent at a time, when the log ended at after.
func (p *poller) expect(after cdc.LSN, sent time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = append(p.waiting, expected{after, sent})
}

// crashed tells when the engine was killed.
func (p *poller) crashed(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = at
}

// reached reports whether what was committed next after a position is in the lake.
func (p *poller) reached(after cdc.LSN) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cut > after
}

// recovery is how long after the kill the first new version appeared.
func (p *poller) recovery() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.recovered.Sub(p.killed)
}

func (p *poller) freshness() Freshness {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := Freshness{Samples: len(p.times), Last: p.last, OverCrash: p.overCrash}
	if len(p.times) > 0 {
		sorted := slices.Sorted(slices.Values(p.times))
		f.P50, f.P99 = sorted[len(sorted)/2], sorted[len(sorted)*99/100]
	}
	return f
}

func (p *poller) run() {
	defer close(p.done)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var next int64
	for {
		text, err := os.ReadFile(filepath.Join(p.log, fmt.Sprintf("%020d.json", next)))
		if err == nil { // a version appears whole
			next++
			p.seen(cutOf(text), time.Now())
			continue
		}
		select {
		case <-p.quit:
			return
		case <-tick.C:
		}
	}
}

// cutOf finds the source position that a version carries; 0 for none.
func cutOf(commit []byte) cdc.LSN {
	for line := range bytes.Lines(commit) {
		var action struct {
			Txn *struct {
				Version int64 `json:"version"`
			} `json:"txn"`
		}
		if json.Unmarshal(line, &action) == nil && action.Txn != nil {
			return cdc.LSN(action.Txn.Version)
		}
	}
	return 0
}

func (p *poller) seen(cut cdc.LSN, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = max(p.cut, cut)
	if !p.killed.IsZero() && p.recovered.IsZero() {
		p.recovered = at
	}
	for len(p.waiting) > 0 && p.waiting[0].after < p.cut {
		e := p.waiting[0]
		p.waiting = p.waiting[1:]
		took := at.Sub(e.sent)
		if !p.killed.IsZero() && e.sent.Before(p.recovered) && at.After(p.killed) {
			p.overCrash = max(p.overCrash, took)
			continue
		}
		p.times = append(p.times, took)
		p.last = took
	}
}
