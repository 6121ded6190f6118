package lakehouse_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/tablefmt"
)

// A column is dropped, another one of its name and type is made and later on
// renamed, all while the engine is away: the catalogue knows neither by the
// name that the stream's rows say.
func TestEdge44AColumnThatWasMadeAnewAndRenamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"))
		r.insert("t", 0, 10)
		r.tx(func(tx *cdctest.Tx) error {
			return errors.Join(tx.AddColumn("t", cdctest.Int64("n"), int64(1)), tx.Insert("t", cdctest.Row{"id": 100, "n": 5}))
		})
		r.catchUp()
		r.same("t")
		r.copied()
		r.tx(func(tx *cdctest.Tx) error {
			return errors.Join(tx.DropColumn("t", "n"), tx.AddColumn("t", cdctest.Int64("n"), int64(7)), tx.Insert("t", cdctest.Row{"id": 101}))
		})
		r.update("t", 3, "changed")
		r.tx(func(tx *cdctest.Tx) error { return tx.Update("t", cdctest.Row{"id": 4}, cdctest.Row{"n": nil}) })
		r.tx(func(tx *cdctest.Tx) error {
			return errors.Join(tx.RenameColumn("t", "n", "m"), tx.Insert("t", cdctest.Row{"id": 102, "m": 8}))
		})
		r.catchUp()
		r.catchUp()
		r.same("t")
		r.everyVersion("t")
		require.Equal(t, []string{"public.t"}, r.copied(), "it is copied again, as nothing else helps")
	})
}

// A column that is there has been renamed while the engine was away: its rows
// are no others'.
func TestEdge44AColumnThatWasRenamedWhileItLagged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"))
		r.insert("t", 0, 10)
		r.catchUp()
		r.copied()
		r.update("t", 3, "changed")
		r.tx(func(tx *cdctest.Tx) error {
			return errors.Join(tx.RenameColumn("t", "v", "w"), tx.AddColumn("t", cdctest.Text("more"), nil), tx.Insert("t", cdctest.Row{"id": 102, "w": "new"}))
		})
		r.catchUp()
		r.same("t")
		r.everyVersion("t")
		require.Empty(t, r.copied())
	})
}

// everyVersion requires that each version of a mirror shows a state that the
// source had.
func (r *rig) everyVersion(table string) {
	r.t.Helper()
	newest, err := tablefmt.Load(r.t.Context(), r.mirror(table))
	require.NoError(r.t, err)
	for v := range newest.Version() + 1 {
		snap, err := tablefmt.LoadAt(r.t.Context(), r.mirror(table), v)
		require.NoError(r.t, err)
		require.Equal(r.t, sourceRows(r.world, table, cutOf(r.t, snap)), lakeRows(r.t, snap), "version %d", v)
	}
}

// A column that is dropped and added again, as it was, is another one: rows before
// and after it that come in one flush are not of one shape, though both have the
// same names and types, and even if nothing is left to be written of those after.
func TestColumnOfTheSameNameAndTypeComesWithinAFlush(t *testing.T) {
	columns := []cdc.Column{cdctest.Int64("id"), cdctest.Int64("n")}
	for _, c := range []struct {
		name string
		spec cdctest.TableSpec
	}{
		{"a key", cdctest.TableSpec{Name: "t", Key: []string{"id"}, Columns: columns}},
		{"a multiset", cdctest.TableSpec{Name: "t", Identity: cdc.IdentityFull, Columns: columns}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, c.spec)
			row := cdctest.Row{"id": int64(3), "n": int64(8)}
			r.tx(func(tx *cdctest.Tx) error { return tx.Insert("t", cdctest.Row{"id": int64(1), "n": int64(1)}) })
			r.catchUp()
			r.copied()
			r.tx(func(tx *cdctest.Tx) error { return tx.Insert("t", cdctest.Row{"id": int64(2), "n": int64(2)}) })
			r.tx(func(tx *cdctest.Tx) error {
				return errors.Join(tx.DropColumn("t", "n"), tx.AddColumn("t", cdctest.Int64("n"), int64(7)), tx.Insert("t", row), tx.Delete("t", row))
			})
			r.catchUp()
			r.same("t")
			r.everyVersion("t")
			require.Empty(t, r.stopped())
			require.Equal(t, []string{"public.t"}, r.copied(), "nothing else helps")
		})
	}
}
