package cdc

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// View says which transactions a read of the source has seen. It is a set of
// transactions, not a position: a transaction whose commit record is written
// may still be invisible for a moment, or for long where it waits for a
// synchronous standby, while later ones are seen. The numbers are the
// source's 64-bit transaction ids (PostgreSQL's xid8; pg_snapshot has the same
// three parts). The zero View holds nothing.
type View struct {
	Xmin    uint64   // every transaction before it had ended
	Xmax    uint64   // no transaction from it on had ended
	Running []uint64 // those from Xmin on and before Xmax that had not ended; ascending
	// Horizon is a position that no commit record of a transaction of the view
	// reaches: all of them begin before it. Once a stream has passed it, the
	// view and the stream's state differ in nothing that is still to come.
	Horizon LSN
}

// Holds reports whether the view has seen a transaction. A Txn has the lower
// half of its id only, which is enough: one that commits after the Horizon is
// not held whatever its id, and those before are near.
func (v *View) Holds(t Txn) bool {
	if t.Commit >= v.Horizon {
		return false
	}
	id := v.Xmax - uint64(int64(int32(uint32(v.Xmax)-t.XID)))
	switch {
	case id < v.Xmin:
		return true
	case id >= v.Xmax:
		return false
	}
	_, running := slices.BinarySearch(v.Running, id)
	return !running
}

// String is "xmin:xmax:running,running@horizon"; [ParseView] reads it.
func (v View) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d:%d:", v.Xmin, v.Xmax)
	for i, x := range v.Running {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatUint(x, 10))
	}
	return b.String() + "@" + v.Horizon.String()
}

// ParseView reads what [View.String] gives.
func ParseView(s string) (View, error) {
	ids, horizon, ok := strings.Cut(s, "@")
	v, err := ParseXIDs(ids)
	if ok && err == nil {
		v.Horizon, err = ParseLSN(horizon)
	}
	if !ok || err != nil {
		return View{}, fmt.Errorf("reading the view %q: it is not of the form xmin:xmax:running transactions@lsn", s)
	}
	return v, nil
}

// ParseXIDs reads the text of PostgreSQL's pg_snapshot, "xmin:xmax:running,running",
// into a view without a horizon.
func ParseXIDs(s string) (View, error) {
	parts := strings.Split(s, ":")
	bad := fmt.Errorf("reading the snapshot %q: it is not of the form xmin:xmax:running transactions", s)
	if len(parts) != 3 {
		return View{}, bad
	}
	var v View
	var err error
	if v.Xmin, err = strconv.ParseUint(parts[0], 10, 64); err != nil {
		return View{}, bad
	}
	if v.Xmax, err = strconv.ParseUint(parts[1], 10, 64); err != nil || v.Xmax < v.Xmin {
		return View{}, bad
	}
	if parts[2] == "" {
		return v, nil
	}
	for _, p := range strings.Split(parts[2], ",") {
		x, err := strconv.ParseUint(p, 10, 64)
		if err != nil || x < v.Xmin || x >= v.Xmax || len(v.Running) > 0 && x <= v.Running[len(v.Running)-1] {
			return View{}, bad
		}
		v.Running = append(v.Running, x)
	}
	return v, nil
}
