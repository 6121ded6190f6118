package keyindex

import "sync/atomic"

// Stats is what an index tells of itself. Sizes are in bytes, and near ones.
type Stats struct {
	Keys   int64 // as Index.Len
	Memory int64 // that it takes
	Disk   int64 // that its runs and journals take, in the local folder
	// Lookups counts the keys that were asked for, and Merges the merges of runs
	// that were done, since the index was opened.
	Lookups, Merges int64
}

// Measured is an Index that tells of itself. Stats may be called by any
// goroutine at any time, also after Close: then nothing is held any more.
type Measured interface {
	Stats() Stats
}

var (
	_ Measured = (*memIndex)(nil)
	_ Measured = (*diskIndex)(nil)
)

// counters are what an index counts.
type counters struct {
	lookups, merges atomic.Int64
}

// mapEntryBytes is about what an entry of a map of locations takes.
const mapEntryBytes = 40

func (ix *memIndex) Stats() Stats {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	n := int64(len(ix.locs))
	return Stats{Keys: n, Memory: n * mapEntryBytes, Lookups: ix.counts.lookups.Load()}
}

func (ix *diskIndex) Stats() Stats {
	s := Stats{Lookups: ix.counts.lookups.Load(), Merges: ix.counts.merges.Load()}
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if ix.closed {
		return s
	}
	s.Disk = ix.oldBytes
	for _, l := range []*logFile{ix.journal, ix.fileLog} {
		if l != nil {
			s.Disk += l.meta.size
		}
	}
	for _, t := range []*table{ix.spareKeys, ix.spareRecent} {
		if t != nil {
			s.Memory += t.bytes()
		}
	}
	s.Keys = ix.Len()
	ix.vis.RLock()
	defer ix.vis.RUnlock()
	if ix.keys != nil {
		s.Memory += ix.keys.size
	}
	for _, t := range []*table{ix.recent, ix.frozen} {
		if t != nil {
			s.Memory += t.bytes()
		}
	}
	for _, r := range ix.view.runs() {
		s.Disk += r.meta.size
		for _, sec := range r.secs {
			s.Memory += int64(len(sec.filter)+len(sec.fences)) * 8
		}
	}
	return s
}
