package lakehouse

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/lakeload/lakeload/cdc"
)

// WALAction is something that is done before the source keeps too much log.
type WALAction string

// The actions.
const (
	// WALDetach lets go of the table that has the source keep most of it: only a
	// resync returns it, and the others go on.
	WALDetach WALAction = "detach_largest"
	// WALRelease drops the slot, and ends the engine: the source is safe, and the
	// lake has a gap, which takes `lakeload adopt` to close.
	WALRelease WALAction = "release_slot"
)

// WALGuard says how much of its write-ahead log the source may have to keep for
// the pipeline, and what is done about it. Where the server itself has a limit
// (max_slot_wal_keep_size), beyond which it gives the slot up, half of that warns,
// and four fifths of it act, if the sizes here are larger.
type WALGuard struct {
	// Warn and Act are sizes of log in bytes. Default 5 GiB and 20 GiB; negative:
	// only the server's own limit counts.
	Warn, Act int64
	// WarnAfter and ActAfter are how long it may last that nothing is
	// acknowledged although there is something to acknowledge. 0: for ever.
	WarnAfter, ActAfter time.Duration
	// Do is what is done from Act on, in this order, until it helps. Default
	// WALDetach; empty but not nil: nothing.
	Do []WALAction
	// Interval is how often the slot is looked at. Default 10 s.
	Interval time.Duration
}

// EnsureDefaults fills the fields that are zero.
func (g *WALGuard) EnsureDefaults() {
	if g.Warn == 0 {
		g.Warn = 5 << 30
	}
	if g.Act == 0 {
		g.Act = 20 << 30
	}
	if g.Do == nil {
		g.Do = []WALAction{WALDetach}
	}
	if g.Interval == 0 {
		g.Interval = 10 * time.Second
	}
}

// validate says what is wrong with it.
func (g *WALGuard) validate() error {
	for _, a := range g.Do {
		if a != WALDetach && a != WALRelease {
			return fmt.Errorf("the guard of the source's log does not know %q: use %s or %s", a, WALDetach, WALRelease)
		}
	}
	if g.Warn > 0 && g.Act > 0 && g.Warn > g.Act || g.WarnAfter > 0 && g.ActAfter > 0 && g.WarnAfter > g.ActAfter {
		return fmt.Errorf("the guard of the source's log would act before it warns")
	}
	return nil
}

// walSight is what one look at the slot and the tables has found.
type walSight struct {
	held    int64         // bytes of log that the slot keeps
	unacked int64         // how much of it we have not acknowledged
	safe    *int64        // bytes until the server gives the slot up; nil: it never does
	still   time.Duration // for how long nothing was acknowledged
	holders []walHolder
	live    []walHolder // tables that go on, with what they have cost
}

// walHolder is a table for which the source may have to keep log.
type walHolder struct {
	oid    uint32
	name   string
	at     cdc.LSN // what the table holds the acknowledgement at
	what   string  // "is paused"
	weight int64   // rows that it has cost lately
}

type walLevel int

const (
	walFine walLevel = iota
	walWarn
	walAct
)

// walVerdict is what a look comes to.
type walVerdict struct {
	level walLevel
	// value and limit are in bytes, or in seconds where it is about time.
	value, limit int64
	text         string
}

// judge compares a look with the limits. It is pure.
func (g *WALGuard) judge(s *walSight) walVerdict {
	warn, act := limitOf(g.Warn, s, 5), limitOf(g.Act, s, 8)
	size := func(level walLevel, limit int64) walVerdict {
		return walVerdict{level, s.held, limit, fmt.Sprintf("the source keeps %d bytes of log for the slot, the limit is %d", s.held, limit)}
	}
	age := func(level walLevel, limit time.Duration) walVerdict {
		return walVerdict{
			level, int64(s.still.Seconds()), int64(limit.Seconds()),
			fmt.Sprintf("nothing has been acknowledged to the source for %s, the limit is %s", s.still.Round(time.Second), limit),
		}
	}
	switch {
	case act > 0 && s.held >= act:
		return size(walAct, act)
	case g.ActAfter > 0 && s.still >= g.ActAfter:
		return age(walAct, g.ActAfter)
	case warn > 0 && s.held >= warn:
		return size(walWarn, warn)
	case g.WarnAfter > 0 && s.still >= g.WarnAfter:
		return age(walWarn, g.WarnAfter)
	}
	return walVerdict{value: s.held, limit: warn}
}

// limitOf is a size, or so many tenths of the server's own limit, whichever is
// less; 0 for none.
func limitOf(size int64, s *walSight, tenths int64) int64 {
	if s.safe == nil {
		return max(0, size)
	}
	server := max(1, (s.held+max(0, *s.safe))/10*tenths)
	if size <= 0 {
		return server
	}
	return min(size, server)
}

// choose gives the next thing to do, and to which table; "" where there is
// nothing. failed are actions that could not be done at the last looks. It is
// pure.
func (g *WALGuard) choose(s *walSight, failed map[WALAction]bool) (WALAction, *walHolder) {
	for _, a := range g.Do {
		if failed[a] {
			continue
		}
		if a == WALRelease {
			return a, nil
		}
		if h := s.heaviest(); h != nil {
			return a, h
		}
	}
	return "", nil
}

// heaviest is the table to let go of: the one that is held back furthest, or,
// where none is, the one that has cost most. Nil where letting go of one would
// not help: a transaction in progress at the source keeps the log, or there is
// one table alone.
func (s *walSight) heaviest() *walHolder {
	if s.unacked < s.held/2 {
		return nil
	}
	if len(s.holders) > 0 {
		h := slices.MinFunc(s.holders, func(a, b walHolder) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.oid, b.oid)) })
		return &h
	}
	if len(s.live) < 2 {
		return nil
	}
	h := slices.MaxFunc(s.live, func(a, b walHolder) int { return cmp.Or(cmp.Compare(a.weight, b.weight), cmp.Compare(b.oid, a.oid)) })
	return &h
}

// why says in words who has the source keep its log.
func (s *walSight) why() string {
	switch {
	case s.unacked < s.held/2:
		return "a transaction in progress at the source keeps most of it"
	case len(s.holders) > 0:
		h := s.heaviest()
		return h.name + " " + h.what
	}
	return "the lake does not come after, or its store is down"
}
