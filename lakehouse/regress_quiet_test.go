package lakehouse_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/lakehouse/typemap"
)

// A table that nothing happens to after its columns have changed follows them
// all the same: no change of its own tells of them.
func TestEdge42ColumnsOfAQuietTableAreFollowed(t *testing.T) {
	for name, alter := range map[string]struct {
		do     func(tx *cdctest.Tx) error
		resync bool
	}{
		"added":   {do: func(tx *cdctest.Tx) error { return tx.AddColumn("t", cdctest.Text("n"), "given") }},
		"dropped": {do: func(tx *cdctest.Tx) error { return tx.DropColumn("t", "v") }},
		"renamed": {do: func(tx *cdctest.Tx) error { return tx.RenameColumn("t", "v", "w") }},
		"filled": {
			do:     func(tx *cdctest.Tx) error { return tx.FillColumn("t", cdctest.Int64("n"), func(r cdctest.Row) any { return r["id"] }) },
			resync: true,
		},
		"twice": {do: func(tx *cdctest.Tx) error {
			if err := tx.AddColumn("t", cdctest.Text("n"), "given"); err != nil {
				return err
			}
			return tx.AddColumn("t", cdctest.Text("m"), nil)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, keyed("t"), keyed("u"))
				r.policy = typemap.Policy{Drop: typemap.Follow, Type: typemap.Resync}
				r.options = func(o *lakehouse.Options) {
					o.Modes = func(*cdc.Relation) []lakehouse.Mode { return []lakehouse.Mode{lakehouse.ModeMirror, lakehouse.ModeChangelog} }
				}
				r.insert("t", 0, 10)
				stop := r.start()
				r.copied()
				r.tx(alter.do)
				r.insert("u", 0, 3)
				time.Sleep(time.Minute)
				r.same("t", "u")
				if alter.resync {
					require.Equal(t, []string{"public.t"}, r.copied())
				} else {
					require.Empty(t, r.copied())
				}
				r.tx(func(tx *cdctest.Tx) error { return tx.Delete("t", cdctest.Row{"id": 3}) })
				time.Sleep(time.Minute)
				r.same("t")
				require.NoError(t, stop())
				r.catchUp()
				r.same("t", "u")
				require.Empty(t, r.stopped())
			})
		})
	}
}

// A table that has stopped and is then dropped is let go, and with it the
// acknowledgement.
func TestEdge45AStoppedTableThatIsDroppedIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.insert("t", 0, 3)
		r.insert("u", 0, 3)
		r.policy.Add = typemap.Stop
		stop := r.start()
		r.breakShape("t", 9)
		r.insert("u", 3, 5)
		time.Sleep(time.Minute)
		require.Equal(t, []string{"public.t"}, r.stopped())
		held := r.acknowledged()
		require.NoError(t, r.world.DropTable("t"))
		r.insert("u", 5, 7)
		time.Sleep(time.Minute)
		require.Equal(t, lakehouse.PhaseDetached, r.state("t").Phase)
		r.insert("u", 7, 9)
		time.Sleep(time.Minute)
		require.Greater(t, r.acknowledged(), held)
		require.NoError(t, stop())
		r.catchUp()
		r.same("u")
		require.Empty(t, r.stopped())
	})
}
