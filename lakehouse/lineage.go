package lakehouse

import (
	"fmt"
	"slices"

	"github.com/lakeload/lakeload/cdc"
)

// lineage is a timeline of a server with its ancestors, oldest first. That a
// cluster has the same system identifier says little: a standby that was
// promoted has it, and a restored backup, and each goes its own way from some
// point on.
type lineage struct {
	timeline uint32
	history  []cdc.Switch
}

// descent is how a server's history goes on from the lake's.
type descent struct {
	// same says that the server is on the very timeline.
	same bool
	// at is else where the lake's timeline ended: what the lake has from there
	// on the server does not have.
	at cdc.LSN
}

// from compares the server's lineage with that which a lake was fed from. It
// is pure. An error says that the server's history is another one.
func (now lineage) from(was lineage) (descent, error) {
	if now.timeline == was.timeline {
		// Two servers may have taken the same number independently of each other.
		// What was recorded before histories were is not compared.
		if len(was.history) > 0 && !slices.Equal(was.history, now.history) {
			return descent{}, fmt.Errorf("both are on timeline %d, but it branched off elsewhere: the lake's at %s, the server's at %s",
				now.timeline, branches(was.history), branches(now.history))
		}
		return descent{same: true}, nil
	}
	i := slices.IndexFunc(now.history, func(s cdc.Switch) bool { return s.Timeline == was.timeline })
	if i < 0 {
		return descent{}, fmt.Errorf("the server is on timeline %d, which does not descend from the lake's timeline %d: it is a server from before a promotion, or a restored one", now.timeline, was.timeline)
	}
	if len(was.history) > 0 && !slices.Equal(was.history, now.history[:i]) {
		return descent{}, fmt.Errorf("the server's timeline %d descends from another timeline %d than the lake's: the lake's branched off at %s, the server's at %s",
			now.timeline, was.timeline, branches(was.history), branches(now.history[:i]))
	}
	return descent{at: now.history[i].At}, nil
}

func branches(history []cdc.Switch) string {
	if len(history) == 0 {
		return "no place"
	}
	s := ""
	for i, h := range history {
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprintf("%s (of %d)", h.At, h.Timeline)
	}
	return s
}
