package main

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/lakeload/lakeload/cmd/lakeload/human"
	"github.com/lakeload/lakeload/lakehouse"
)

// progress shows a bar for each table being copied, then one line about the
// stream. Lines written to it appear above. Safe for concurrent use.
type progress struct {
	shown *mpb.Progress
	// line is about the stream. It is read while the bars are drawn, when mu
	// may be held by somebody who waits for the drawing.
	line atomic.Pointer[string]

	mu     sync.Mutex
	copies map[string]*copyBar
	stream *mpb.Bar // nil before the stream starts
	rows   int64    // changes since then
}

type copyBar struct {
	*mpb.Bar
	total int64 // an estimate
}

func newProgress(w io.Writer) *progress {
	return &progress{
		shown:  mpb.New(mpb.WithOutput(w), mpb.WithWidth(32), mpb.WithAutoRefresh(), mpb.WithRefreshRate(150*time.Millisecond)),
		copies: map[string]*copyBar{},
	}
}

// Write puts lines above the bars.
func (p *progress) Write(b []byte) (int, error) { return p.shown.Write(b) }

// tell shows an event; false leaves it to the log.
func (p *progress) tell(event any) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case lakehouse.CopyStarted:
		p.begin(e)
		return true
	case lakehouse.CopyProgress:
		if bar := p.copies[e.Table]; bar != nil {
			if e.Rows >= bar.total { // the estimate was too low
				bar.total = e.Rows + e.Rows/10 + 1
				bar.SetTotal(bar.total, false)
			}
			bar.SetCurrent(e.Rows)
		}
		return true
	case lakehouse.CopyFinished:
		if bar := p.copies[e.Table]; bar != nil {
			bar.SetTotal(-1, true)
			delete(p.copies, e.Table)
		}
		return false
	case lakehouse.StreamStarted:
		p.say("streaming from " + e.From.String())
		return true
	case lakehouse.BatchCommitted:
		p.rows += e.Rows
		p.say(fmt.Sprintf("streaming: epoch %d at %s, %s, visible %s after their commit",
			e.Epoch, e.LSN, human.Plural(p.rows, "change"), e.Freshness.Round(time.Millisecond)))
		return true
	}
	return false
}

func (p *progress) begin(e lakehouse.CopyStarted) {
	if old := p.copies[e.Table]; old != nil { // a copy that began again
		old.Abort(true)
	}
	total := max(e.Rows, 1)
	p.copies[e.Table] = &copyBar{total: total, Bar: p.shown.AddBar(total,
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name("copying "+e.Table, decor.WCSyncSpaceR)),
		mpb.AppendDecorators(
			decor.CurrentNoUnit("%d rows", decor.WCSyncSpace),
			decor.AverageETA(decor.ET_STYLE_GO, decor.WCSyncSpace)),
	)}
}

func (p *progress) say(line string) {
	p.line.Store(&line)
	if p.stream != nil {
		return
	}
	p.stream = p.shown.New(0, mpb.SpinnerStyle().PositionLeft(), mpb.BarWidth(1),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return *p.line.Load() })))
}

// close takes what is shown away and waits for the drawing to end.
func (p *progress) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, bar := range p.copies {
		bar.Abort(true)
	}
	if p.stream != nil {
		p.stream.Abort(true)
	}
	p.shown.Wait()
}
