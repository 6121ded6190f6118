package lakehouse_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/lakehouse"
)

// deniedSource may not put a table into the publication.
type deniedSource struct {
	*cdctest.Source
	table string
}

func (s *deniedSource) Publish(ctx context.Context, rels []*cdc.Relation) error {
	members, err := s.Published(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(rels, func(r *cdc.Relation) bool { return r.Name == s.table && members[r.OID] == 0 }) {
		return &cdc.Error{Op: "publishing", Remedy: "GRANT it", Err: cdc.ErrDenied}
	}
	return s.Source.Publish(ctx, rels)
}

// A new table that may not be published is left out, and holds nothing up: the
// others, new ones too, go on. It is tried again at each start.
func TestEdge26NewTableMayNotBePublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"))
		r.insert("t", 0, 5)
		r.catchUp()
		for _, name := range []string{"a", "theirs", "z"} {
			_, err := r.world.CreateTable(keyed(name))
			require.NoError(t, err)
			r.insert(name, 0, 3)
		}
		r.source = func() cdc.Source { return &deniedSource{Source: r.world.Source(), table: "theirs"} }
		for range 2 {
			r.insert("t", len(r.rows(r.mirror("t"))), len(r.rows(r.mirror("t")))+2)
			r.catchUp()
			r.same("t", "a", "z")
			st := r.state("theirs")
			require.Equal(t, lakehouse.PhaseOffered, st.Phase)
			require.Contains(t, st.Reason, cdc.ErrDenied.Error())
			require.Equal(t, "GRANT it", st.Remedy)
			require.Equal(t, r.world.Head(), r.acknowledged())
		}
		r.source = func() cdc.Source { return r.world.Source() }
		r.catchUp()
		r.insert("theirs", 3, 5)
		r.catchUp()
		r.same("t", "a", "z", "theirs")
	})
}

// A table that may not be read stops, and the others go on.
func TestEdge26TableMayNotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.insert("t", 0, 5)
		r.insert("u", 0, 5)
		r.world.InjectFault(cdctest.Fault{Op: "Plan", Err: &cdc.Error{Op: "reading", Remedy: "GRANT SELECT", Err: errors.Join(cdc.ErrDenied, errors.New("permission denied for table t"))}})
		r.catchUp()
		r.same("u")
		st := r.state("t")
		require.Equal(t, lakehouse.PhaseStopped, st.Phase)
		require.Contains(t, st.Reason, "permission denied")
		require.Equal(t, "GRANT SELECT", st.Remedy)
		r.resync("t")
		r.catchUp()
		r.same("t", "u")
	})
}
