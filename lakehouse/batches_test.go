package lakehouse_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/lakehouse"
)

// TestOneTransactionOfEverything has in one transaction, whose rows come in
// batches of two, what a batch is reduced by: keys that are changed, swapped,
// deleted and inserted again, values that are not sent and stand in another
// batch, in the lake, or in a row that has moved, a column that is added and a
// TRUNCATE in the middle.
func TestOneTransactionOfEverything(t *testing.T) {
	long := strings.Repeat("stored out of line ", 300)
	for name, o := range map[string]lakehouse.TableOptions{
		"plain":       {},
		"partitioned": {PartitionBy: []string{"truncate(2, note)", "region"}},
		"soft":        {Delete: lakehouse.DeleteSoft, PartitionBy: []string{"region"}},
		"rewrite":     {Deletes: lakehouse.DeletesRewrite, PartitionBy: []string{"bucket(2, id)"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRigOf(t, cdctest.Options{Seed: 3, MaxRows: 2}, orders("t"))
			r.keptAs(o)
			flush := int64(1)
			was := r.options
			r.options = func(opt *lakehouse.Options) { was(opt); opt.FlushBytes = flush }
			insert := func(tx *cdctest.Tx, id int) error {
				return tx.Insert("t", order(id, fmt.Sprint("r", id%3), at, fmt.Sprint(id, long)))
			}
			r.tx(func(tx *cdctest.Tx) error {
				for id := range 12 {
					if err := insert(tx, id); err != nil {
						return err
					}
				}
				return nil
			})
			r.catchUp()
			changes := func(tx *cdctest.Tx) []error {
				return []error{
					tx.Update("t", cdctest.Row{"id": 1}, cdctest.Row{"region": "moved"}),   // from the lake
					tx.Update("t", cdctest.Row{"id": 1}, cdctest.Row{"id": 101}),           // of a row that has moved
					tx.Update("t", cdctest.Row{"id": 101}, cdctest.Row{"region": "again"}), // and again
					tx.Update("t", cdctest.Row{"id": 2}, cdctest.Row{"id": 200}),
					tx.Update("t", cdctest.Row{"id": 3}, cdctest.Row{"id": 2}),
					tx.Update("t", cdctest.Row{"id": 200}, cdctest.Row{"id": 3}), // a swap
					tx.Delete("t", cdctest.Row{"id": 4}),
					insert(tx, 4),
					tx.Update("t", cdctest.Row{"id": 4}, cdctest.Row{"region": nil}), // from another batch
					tx.Delete("t", cdctest.Row{"id": 5}),
					insert(tx, 50),
					tx.Delete("t", cdctest.Row{"id": 50}),
					tx.Insert("t", order(1, "new", at, "in place of one that moved")),
					tx.AddColumn("t", cdctest.Text("more"), "a default"),
					tx.Update("t", cdctest.Row{"id": 6}, cdctest.Row{"more": "a value"}),
					tx.Insert("t", cdctest.Row{"id": 60, "more": "x"}),
				}
			}
			for _, last := range []bool{false, true} {
				r.tx(func(tx *cdctest.Tx) error {
					list := changes
					if last {
						list = func(tx *cdctest.Tx) []error {
							return []error{
								tx.Update("t", cdctest.Row{"id": 7}, cdctest.Row{"region": "before"}),
								tx.Truncate("t"),
								tx.Insert("t", cdctest.Row{"id": 7, "note": "after " + long}),
								tx.AddColumn("t", cdctest.Int64("count"), int64(1)),
								tx.Update("t", cdctest.Row{"id": 7}, cdctest.Row{"id": 8}),
								insert(tx, 7),
							}
						}
					}
					for i, err := range list(tx) {
						if err != nil {
							return fmt.Errorf("change %d: %w", i, err)
						}
					}
					return nil
				})
				r.catchUp()
				r.same("t")
				require.Empty(t, r.stopped())
				flush = 1 << 20 // the parts of the next one are staged together
			}
		})
	}
}

// TestCopiesOfARowWithoutAKey takes one copy at a time, also where files are
// written anew and where copies lie in several partitions.
func TestCopiesOfARowWithoutAKey(t *testing.T) {
	for _, o := range []lakehouse.TableOptions{
		{}, {PartitionBy: []string{"truncate(2, id)"}}, {Deletes: lakehouse.DeletesRewrite}, {Deletes: lakehouse.DeletesRewrite, PartitionBy: []string{"v"}},
	} {
		t.Run(fmt.Sprint(o.Deletes, o.PartitionBy), func(t *testing.T) {
			r := newRig(t, cdctest.TableSpec{Name: "t", Identity: cdc.IdentityFull, Columns: []cdc.Column{cdctest.Int64("id"), cdctest.Text("v")}})
			r.keptAs(o)
			for range 5 {
				r.insert("t", 0, 4)
			}
			r.catchUp()
			for round := range 3 {
				r.tx(func(tx *cdctest.Tx) error {
					row := cdctest.Row{"id": round, "v": fmt.Sprint("v", round)}
					for range 2 {
						if err := tx.Delete("t", row); err != nil {
							return err
						}
					}
					if err := tx.Update("t", row, cdctest.Row{"id": 3, "v": "v3"}); err != nil {
						return err
					}
					return tx.Insert("t", cdctest.Row{"id": nil, "v": nil})
				})
				r.catchUp()
				r.same("t")
			}
			require.Equal(t, 8, r.rows(r.mirror("t"))["id=3;v=v3;"])
			require.Equal(t, 3, r.rows(r.mirror("t"))["id=NULL;v=NULL;"])
		})
	}
}
