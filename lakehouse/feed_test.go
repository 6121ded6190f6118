package lakehouse_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/lakehouse/mask"
	"github.com/lakeload/lakeload/tablefmt"
)

// fed has engines keep a change feed of every mirror.
func (r *rig) fed(change func(o *lakehouse.TableOptions)) {
	r.options = func(o *lakehouse.Options) {
		o.Table = func(*cdc.Relation) lakehouse.TableOptions {
			to := lakehouse.TableOptions{ChangeFeed: lakehouse.FeedOn}
			if change != nil {
				change(&to)
			}
			return to
		}
	}
}

// play changes rows of a table in every way, a flush each time.
func (r *rig) playFeed(table string, truncate bool) {
	r.t.Helper()
	steps := []func(tx *cdctest.Tx) error{
		func(tx *cdctest.Tx) error { return tx.Update(table, cdctest.Row{"id": 3}, cdctest.Row{"v": "x"}) },
		func(tx *cdctest.Tx) error { return tx.Delete(table, cdctest.Row{"id": 4}) },
		func(tx *cdctest.Tx) error { // a key that moves, one that comes and goes, one that ends as it began
			for _, id := range []int{5, 6} {
				if err := tx.Update(table, cdctest.Row{"id": id}, cdctest.Row{"id": id + 100}); err != nil {
					return err
				}
			}
			if err := tx.Insert(table, cdctest.Row{"id": 500, "v": "gone"}); err != nil {
				return err
			}
			if err := tx.Delete(table, cdctest.Row{"id": 500}); err != nil {
				return err
			}
			if err := tx.Update(table, cdctest.Row{"id": 7}, cdctest.Row{"v": "other"}); err != nil {
				return err
			}
			return tx.Update(table, cdctest.Row{"id": 7}, cdctest.Row{"v": "v7"})
		},
		func(tx *cdctest.Tx) error { return tx.Insert(table, cdctest.Row{"id": 4, "v": "back"}) },
		func(tx *cdctest.Tx) error {
			for id := 10; id < 16; id++ {
				if err := tx.Delete(table, cdctest.Row{"id": id}); err != nil {
					return err
				}
			}
			return tx.Insert(table, cdctest.Row{"id": 600, "v": "new"})
		},
	}
	if truncate {
		steps = append(steps, func(tx *cdctest.Tx) error { return tx.Truncate(table) },
			func(tx *cdctest.Tx) error { return tx.Insert(table, cdctest.Row{"id": 1, "v": "again"}) },
			func(tx *cdctest.Tx) error {
				if err := tx.Truncate(table); err != nil {
					return err
				}
				return tx.Insert(table, cdctest.Row{"id": 2, "v": "after"})
			})
	}
	for _, step := range steps {
		r.tx(step)
		r.catchUp()
	}
}

func TestChangeFeed(t *testing.T) {
	for name, change := range map[string]func(o *lakehouse.TableOptions){
		"vectors":     nil,
		"rewrite":     func(o *lakehouse.TableOptions) { o.Deletes = lakehouse.DeletesRewrite },
		"partitioned": func(o *lakehouse.TableOptions) { o.PartitionBy = []string{"truncate(1, v)"} },
		"soft":        func(o *lakehouse.TableOptions) { o.Delete = lakehouse.DeleteSoft },
		"ignore":      func(o *lakehouse.TableOptions) { o.Delete = lakehouse.DeleteIgnore },
		"metadata":    func(o *lakehouse.TableOptions) { o.Metadata = []lakehouse.MetadataColumn{lakehouse.MetadataIngested} },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, keyed("a"))
			r.fed(change)
			r.insert("a", 0, 20)
			r.catchUp()
			r.playFeed("a", true)
			c := checkFeed(t, r.mirror("a"), 0)
			t.Logf("%+v", c)
			require.GreaterOrEqual(t, c.versions, 4)
			require.GreaterOrEqual(t, c.told, 2)
			require.Positive(t, c.types[tablefmt.ChangePostimage])
			switch name {
			case "ignore":
				require.Zero(t, c.types[tablefmt.ChangeDelete])
			case "vectors":
				// 4, 5, 6 and 10 to 15 are deleted; then by one TRUNCATE the 15 rows that there are, by
				// the other the one.
				require.Equal(t, map[string]int{"delete": 9 + 15 + 1, "insert": 2 + 1 + 1 + 1 + 1, "update_preimage": 1, "update_postimage": 1}, c.types)
			}
		})
	}
}

func TestChangeFeedOfTablesWithoutKeys(t *testing.T) {
	bag := cdctest.TableSpec{Name: "bag", Identity: cdc.IdentityFull, Columns: []cdc.Column{cdctest.Int64("id"), cdctest.Text("v")}}
	r := newRig(t, bag, keyless("log"))
	r.fed(nil)
	r.insert("bag", 0, 20)
	r.insert("bag", 0, 5)
	r.insert("log", 0, 5)
	r.catchUp()
	whole := func(id int) cdctest.Row { return cdctest.Row{"id": id, "v": fmt.Sprint("v", id)} }
	for _, step := range []func(tx *cdctest.Tx) error{
		func(tx *cdctest.Tx) error { return tx.Delete("bag", whole(3)) },
		func(tx *cdctest.Tx) error { return tx.Update("bag", whole(4), cdctest.Row{"v": "x"}) },
		func(tx *cdctest.Tx) error { // one copy goes, and comes
			if err := tx.Delete("bag", whole(2)); err != nil {
				return err
			}
			return tx.Insert("bag", whole(2))
		},
		func(tx *cdctest.Tx) error {
			if err := tx.Insert("bag", whole(2)); err != nil {
				return err
			}
			return tx.Delete("bag", whole(9))
		},
		func(tx *cdctest.Tx) error { return tx.Truncate("bag") },
	} {
		r.tx(step)
		r.catchUp()
	}
	r.insert("log", 5, 9)
	r.catchUp()
	r.tx(func(tx *cdctest.Tx) error {
		if err := tx.Truncate("log"); err != nil {
			return err
		}
		return tx.Insert("log", cdctest.Row{"id": 1, "v": "x"})
	})
	r.catchUp()
	for _, table := range []string{"bag", "log"} {
		c := checkFeed(t, r.mirror(table), 0)
		require.Positive(t, c.versions, table)
		require.Zero(t, c.types[tablefmt.ChangePreimage], table)
	}
}

// TestChangeFeedThatComesAndGoes has a feed that the configuration asks for,
// then not, and one that somebody else has set.
func TestChangeFeedThatComesAndGoes(t *testing.T) {
	r := newRig(t, keyed("a"))
	mode := lakehouse.FeedMode("")
	r.options = func(o *lakehouse.Options) {
		o.Table = func(*cdc.Relation) lakehouse.TableOptions { return lakehouse.TableOptions{ChangeFeed: mode} }
	}
	r.insert("a", 0, 10)
	r.catchUp()
	feeds := func() string { return r.load(r.mirror("a")).Property(tablefmt.PropChangeDataFeed) }
	require.Empty(t, feeds())
	r.update("a", 1, "x")
	r.catchUp()
	require.Empty(t, feeds())
	mode = lakehouse.FeedOn
	r.update("a", 2, "x")
	r.catchUp()
	require.Equal(t, "true", feeds())
	require.Equal(t, lakehouse.FeedOn, r.state("a").ChangeFeed)
	r.update("a", 3, "x")
	r.catchUp()
	require.Equal(t, 2, checkFeed(t, r.mirror("a"), 0).told)
	mode = lakehouse.FeedOff
	r.update("a", 4, "x")
	r.catchUp()
	require.Equal(t, "false", feeds())
	require.Equal(t, 2, checkFeed(t, r.mirror("a"), 0).told)

	other := newRig(t, keyed("b"))
	other.insert("b", 0, 10)
	other.catchUp()
	other.switchFeed("b", "true")
	other.update("b", 2, "x")
	other.catchUp()
	require.Equal(t, 1, checkFeed(t, other.mirror("b"), 0).told)
	other.resync("b")
	other.catchUp()
	require.Equal(t, "true", other.load(other.mirror("b")).Property(tablefmt.PropChangeDataFeed), "a copy keeps it")
	checkFeed(t, other.mirror("b"), 0)
}

// switchFeed sets a table's property behind the engine's back.
func (r *rig) switchFeed(table, on string) {
	r.t.Helper()
	r.keepOtherwise(table, func(m *tablefmt.Metadata) { m.Configuration[tablefmt.PropChangeDataFeed] = on }, "changeDataFeed")
}

// TestChangeFeedIsSwitchedWhileTheEngineRuns has somebody else switch a feed on
// and off: the flush that finds it so is made again, and nothing stops.
func TestChangeFeedIsSwitchedWhileTheEngineRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("a"), keyed("b"))
		r.insert("a", 0, 20)
		r.insert("b", 0, 20)
		stop := r.start()
		for i, on := range []string{"true", "false", "true"} {
			r.switchFeed("a", on)
			r.update("a", i, "x")
			r.update("b", i, "x")
			time.Sleep(time.Minute)
			r.update("a", i+10, "x")
			time.Sleep(time.Minute)
			r.same("a", "b")
		}
		require.NoError(t, stop())
		require.Empty(t, r.stopped())
		c := checkFeed(t, r.mirror("a"), 0)
		require.Equal(t, 4, c.told)
		require.Equal(t, 4, c.types[tablefmt.ChangePostimage])
	})
}

// TestChangeFeedOfAResync tells only what differs.
func TestChangeFeedOfAResync(t *testing.T) {
	r := newRig(t, keyed("a"))
	r.fed(nil)
	r.insert("a", 0, 100)
	r.catchUp()
	before := r.load(r.mirror("a")).Version()
	r.resync("a")
	r.update("a", 5, "changed meanwhile")
	r.catchUp()
	c := checkFeed(t, r.mirror("a"), before)
	require.Equal(t, 1, c.types[tablefmt.ChangePostimage], fmt.Sprint(c))
	require.Zero(t, c.types[tablefmt.ChangeDelete])
	require.Zero(t, c.types[tablefmt.ChangeInsert])
	r.same("a")
}

// TestChangeFeedOfLostValues: a column that is masked otherwise has another type,
// of which its values are none. The rows are others then, though both read as
// null in the new type.
func TestChangeFeedOfLostValues(t *testing.T) {
	for _, spec := range []cdctest.TableSpec{keyless("a"), keyed("a")} {
		r := newRig(t, spec)
		column := map[bool]string{true: "id", false: "n"}[spec.InsertOnly]
		masked := func(word string) {
			m, err := mask.Parse(word)
			require.NoError(t, err)
			salt, err := mask.NewSalt([]byte(maskSalt))
			require.NoError(t, err)
			r.fed(func(o *lakehouse.TableOptions) { o.Salt, o.Masks = salt, []mask.Column{{Name: column, Mask: m}} })
		}
		r.insert("a", 0, 10)
		r.tx(func(tx *cdctest.Tx) error {
			if spec.InsertOnly {
				return nil
			}
			return tx.AddColumn("a", cdctest.Int64("n"), int64(7))
		})
		masked("hash")
		r.catchUp()
		before := r.load(r.mirror("a")).Version()
		masked("null")
		r.resync("a")
		r.catchUp()
		c := checkFeed(t, r.mirror("a"), before)
		require.Equal(t, 1, c.told, fmt.Sprint(c))
		if spec.InsertOnly {
			require.Equal(t, map[string]int{tablefmt.ChangeDelete: 10, tablefmt.ChangeInsert: 10}, c.types)
		} else {
			require.Equal(t, map[string]int{tablefmt.ChangePreimage: 10, tablefmt.ChangePostimage: 10}, c.types)
		}
		masked("null")
		r.resync("a") // and back to no change
		r.catchUp()
		require.Equal(t, 1, checkFeed(t, r.mirror("a"), before).told)
	}
}

// TestChangeFeedOfColumns changes columns, with rows written anew and without.
func TestChangeFeedOfColumns(t *testing.T) {
	r := newRig(t, keyed("a"))
	r.fed(nil)
	r.insert("a", 0, 30)
	r.catchUp()
	r.update("a", 1, "x")
	r.catchUp()
	r.tx(func(tx *cdctest.Tx) error {
		if err := tx.AddColumn("a", cdctest.Text("n"), "default"); err != nil {
			return err
		}
		return tx.Insert("a", cdctest.Row{"id": 200, "v": "x", "n": "y"})
	})
	r.catchUp()
	r.tx(func(tx *cdctest.Tx) error { return tx.Update("a", cdctest.Row{"id": 2}, cdctest.Row{"n": "other"}) })
	r.catchUp()
	c := checkFeed(t, r.mirror("a"), 0)
	t.Logf("%+v", c)
	require.Positive(t, c.told)
	r.same("a")
}
