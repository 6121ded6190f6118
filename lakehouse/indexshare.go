package lakehouse

import (
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/lakeload/lakeload/lakehouse/keyindex"
)

// indexPart is the part of the engine's memory that is for key indexes.
const indexPart = 4

// indexLeast is what an index has at least, whatever the others need.
const indexLeast = 256 << 10

// indexShares divides memory among indexes by what each needs: one that needs
// less than its equal part leaves the rest to the others, and what nobody needs
// is divided equally, for them to grow. It is pure.
func indexShares(total int64, needs []int64) []int64 {
	shares := make([]int64, len(needs))
	if len(needs) == 0 {
		return shares
	}
	order := make([]int, len(needs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(min(max(needs[a]-needs[b], -1), 1)) })
	left := total
	for n, i := range order {
		part := left / int64(len(order)-n)
		shares[i] = max(min(needs[i], part), indexLeast)
		left = max(left-shares[i], 0)
	}
	for i := range shares {
		shares[i] += left / int64(len(shares))
	}
	return shares
}

// indexPool divides the memory for key indexes among the tables that are fed. Its
// methods may be called by many goroutines.
type indexPool struct {
	total int64

	mu   sync.Mutex       // guards keys
	keys map[uint32]int64 // of each table, as far as is known
}

func newIndexPool(memory int64) *indexPool {
	return &indexPool{total: memory / indexPart, keys: map[uint32]int64{}}
}

// divide says among which tables. What an index that is not open takes on the
// disk tells how many keys it has, about.
func (p *indexPool) divide(tables []TableState, folder func(*TableState) string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	keys := map[uint32]int64{}
	for i := range tables {
		t := &tables[i]
		if !t.Followed() || !slices.Contains(t.Modes, ModeMirror) { // one that is only offered, or detached, has no index
			continue
		}
		n, known := p.keys[t.OID]
		if !known {
			n = folderBytes(folder(t)) / indexKeyBytes
		}
		keys[t.OID] = n
	}
	p.keys = keys
}

// indexKeyBytes is about what a key takes in an index on the disk.
const indexKeyBytes = 20

func folderBytes(dir string) (n int64) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0 // there is none yet
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
	}
	return n
}

// ask gives the share of a table that has so many rows, or will have; 0 where
// that is not known.
func (p *indexPool) ask(oid uint32, rows int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if rows > 0 || p.keys[oid] == 0 {
		p.keys[oid] = rows
	}
	return p.shares()[oid]
}

// shares are those of all tables. The caller holds mu.
func (p *indexPool) shares() map[uint32]int64 {
	oids := slices.Sorted(maps.Keys(p.keys))
	needs := make([]int64, len(oids))
	for i, oid := range oids {
		needs[i] = keyindex.MemoryFor(p.keys[oid])
	}
	out := make(map[uint32]int64, len(oids))
	for i, n := range indexShares(p.total, needs) {
		out[oids[i]] = n
	}
	return out
}

// share divides the memory anew among the tables that are open, by the keys
// that they have now, or will have when they are copied.
func (p *indexPool) share(tables []*fedTable) {
	open := map[uint32]keyindex.Index{}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range tables {
		for _, w := range t.writers {
			if m, ok := w.(*mirrorWriter); ok && m.index != nil {
				open[t.state.OID] = m.index
				rows, _ := t.copy.expected()
				p.keys[t.state.OID] = max(m.index.Len(), rows)
			}
		}
	}
	for oid, n := range p.shares() {
		if index := open[oid]; index != nil {
			index.SetMemory(n)
		}
	}
}

// shareEvery is how often the memory is divided anew.
const shareEvery = 10 * time.Second

// shareIndexes divides the indexes' memory anew, if it is time.
func (e *Engine) shareIndexes(now time.Time) {
	if now.Sub(e.shared) >= shareEvery {
		e.shared = now
		e.indexes.share(e.tables)
	}
}
