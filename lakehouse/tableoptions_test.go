package lakehouse_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse"
)

// keptAs lets the engines that are opened next keep all tables by options.
func (r *rig) keptAs(o lakehouse.TableOptions) {
	r.options = func(opt *lakehouse.Options) {
		opt.Table = func(*cdc.Relation) lakehouse.TableOptions { return o }
	}
}

func TestOptionsOfATableChangeBetweenTwoRuns(t *testing.T) {
	r := newRig(t, keyed("t"), keyed("u"))
	r.insert("t", 0, 10)
	r.insert("u", 0, 10)
	r.catchUp()
	require.ElementsMatch(t, []string{"public.t", "public.u"}, r.copied())

	// A kind of table that was not there needs the rows that are.
	r.options = func(opt *lakehouse.Options) {
		opt.Table = func(rel *cdc.Relation) (o lakehouse.TableOptions) {
			if rel.Name == "t" {
				o.Modes = []lakehouse.Mode{lakehouse.ModeChangelog, lakehouse.ModeMirror}
			}
			return o
		}
	}
	r.world.Advance(100)
	r.update("t", 3, "between")
	r.catchUp()
	require.Equal(t, []string{"public.t"}, r.copied())
	require.Equal(t, 10, count(r.rows(r.changelog("t"))))
	r.same("t", "u")

	// One that is not wanted any more stays as it is, and nothing is copied.
	r.keptAs(lakehouse.TableOptions{Modes: []lakehouse.Mode{lakehouse.ModeMirror}})
	r.update("t", 4, "after")
	r.catchUp()
	require.Empty(t, r.copied())
	require.Equal(t, 10, count(r.rows(r.changelog("t"))))
	r.same("t", "u")
	require.Equal(t, []lakehouse.Mode{lakehouse.ModeMirror}, r.state("t").Modes)

	// Options that say nothing leave what there is.
	r.keptAs(lakehouse.TableOptions{})
	r.update("t", 5, "later")
	r.catchUp()
	require.Empty(t, r.copied())
	r.same("t", "u")
}
