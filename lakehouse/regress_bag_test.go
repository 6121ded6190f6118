package lakehouse_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
)

// A table without a key, whose whole old rows are sent, may hold a row many
// times: a delete takes exactly one.
func TestEdge40DuplicatesGoOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, cdctest.TableSpec{Name: "bag", Identity: cdc.IdentityFull, Columns: []cdc.Column{cdctest.Int64("id"), cdctest.Text("v")}})
		row := func(id int) cdctest.Row { return cdctest.Row{"id": id, "v": "same"} }
		change := func(op string, id, times int) {
			r.tx(func(tx *cdctest.Tx) error {
				for range times {
					var err error
					switch op {
					case "insert":
						err = tx.Insert("bag", row(id))
					case "delete":
						err = tx.Delete("bag", row(id))
					default:
						err = tx.Update("bag", row(id), row(id+1))
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		}
		change("insert", 1, 7)
		r.catchUp() // copied
		r.same("bag")
		change("delete", 1, 2)
		change("insert", 2, 3)
		r.catchUp()
		r.same("bag")
		change("update", 1, 3)
		change("insert", 1, 1)
		change("delete", 1, 2)
		r.catchUp()
		r.same("bag")
		change("delete", 2, 6)
		change("delete", 1, 1)
		r.catchUp()
		r.same("bag")
		change("insert", 1, 4)
		r.tx(func(tx *cdctest.Tx) error { return tx.AddColumn("bag", cdctest.Int64("more"), nil) })
		r.tx(func(tx *cdctest.Tx) error { return tx.Delete("bag", cdctest.Row{"id": 1, "v": "same"}) })
		r.catchUp()
		r.same("bag")
		r.mend("bag")
		require.Empty(t, r.stopped())
	})
}
