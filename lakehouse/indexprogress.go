package lakehouse

import (
	"time"

	"github.com/lakeload/lakeload/tablefmt"
)

// indexProgressEvery is how often the progress of reading an index from its
// table is told, the first time included: what takes less is not worth a line.
const indexProgressEvery = time.Second

// indexProgress tells how far the reading of an index is.
type indexProgress struct {
	tell  func(IndexProgress)
	state IndexProgress
	begun time.Time
	told  time.Time // or begun
}

// newIndexProgress is for the reading of these files; nil where nobody is to be
// told, which is no progress that does nothing.
func newIndexProgress(spec *tableSpec, files []*tablefmt.AddFile, rebuilt bool) *indexProgress {
	if spec.indexing == nil {
		return nil
	}
	p := &indexProgress{tell: spec.indexing, state: IndexProgress{Table: spec.String(), Rebuilt: rebuilt}, begun: time.Now()}
	p.told = p.begun
	for _, add := range files {
		n, _ := add.NumRecords()
		p.state.TotalRows += n
	}
	return p
}

// read counts rows that were read.
func (p *indexProgress) read(rows int64) {
	if p == nil {
		return
	}
	p.state.Rows += rows
	if now := time.Now(); now.Sub(p.told) >= indexProgressEvery {
		p.say(now)
	}
}

// end tells the end of what was told about.
func (p *indexProgress) end() {
	if p != nil && !p.told.Equal(p.begun) {
		p.say(time.Now())
	}
}

func (p *indexProgress) say(now time.Time) {
	p.told, p.state.Elapsed = now, now.Sub(p.begun)
	p.tell(p.state)
}
