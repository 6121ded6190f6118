package mask_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/lakehouse/mask"
)

// driver is the suite's hand on a world whose tables have a column more than the
// suite knows, the first one: it is there for a mask to hide.
type driver struct {
	w     *cdctest.World
	masks []mask.Column
}

func (d driver) CreateTable(t testing.TB, name string) {
	_, err := d.w.CreateTable(cdctest.TableSpec{
		Name: name, Columns: []cdc.Column{cdctest.Text("hidden"), cdctest.Int64("id"), cdctest.Int64("n"), cdctest.Text("v")}, Key: []string{"id"},
	})
	require.NoError(t, err)
}

func (d driver) Idle(testing.TB) { d.w.Advance(1000) }

func (d driver) Source(testing.TB) cdc.Source {
	return mask.Wrap(d.w.Source(), func(rel *cdc.Relation) *mask.Policy { return &mask.Policy{Columns: d.masks} })
}

func (d driver) Exec(t testing.TB, ops ...cdctest.Op) {
	_, err := d.w.Commit(func(tx *cdctest.Tx) error {
		for i, op := range ops {
			key := cdctest.Row{"id": op.ID}
			secret := fmt.Sprint("secret", i)
			var err error
			switch op.Kind {
			case cdctest.Insert:
				err = tx.Insert(op.Table, cdctest.Row{"id": op.ID, "n": op.N, "v": op.V, "hidden": secret})
			case cdctest.UpdateN:
				err = tx.Update(op.Table, key, cdctest.Row{"n": op.N, "hidden": secret})
			case cdctest.UpdateV:
				err = tx.Update(op.Table, key, cdctest.Row{"v": op.V})
			case cdctest.UpdateKey:
				err = tx.Update(op.Table, key, cdctest.Row{"id": op.N})
			case cdctest.Delete:
				err = tx.Delete(op.Table, key)
			case cdctest.Truncate:
				err = tx.Truncate(op.Table)
			case cdctest.AddColumn:
				err = tx.AddColumn(op.Table, cdctest.Int64(op.V), nil)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err)
}

// same is a mask that looks at every value and changes none.
var same = mask.Column{Name: "v", Mask: mask.Mask{Kind: mask.Regex, Pattern: "(?s)^(.*)$", Replacement: "$1"}}

func open(t *testing.T) cdctest.Driver {
	w := cdctest.NewWorld(cdctest.Options{Seed: 1, MaxRows: 100, KeyRows: 300})
	t.Cleanup(func() {
		require.Empty(t, w.Violations())
		require.Zero(t, w.Unreleased(), "bytes of batches not released")
	})
	return driver{
		w:     w,
		masks: []mask.Column{{Name: "hidden", Mask: mask.Mask{Kind: mask.Drop}}, same},
	}
}

// TestMaskedSource: a source that masks is a source.
func TestMaskedSource(t *testing.T) { cdctest.TestSource(t, open) }

// TestMaskedKeyReader: so it is where it reads by ranges of keys.
func TestMaskedKeyReader(t *testing.T) { cdctest.TestKeyReader(t, open) }

// TestWrapIsWhatTheInnerSourceIs: nobody is promised what the inner source
// cannot do.
func TestWrapIsWhatTheInnerSourceIs(t *testing.T) {
	none := func(*cdc.Relation) *mask.Policy { return nil }
	full := mask.Wrap(cdctest.NewWorld(cdctest.Options{}).Source(), none)
	_, reads := full.(cdc.KeyReader)
	_, watches := full.(cdc.Watcher)
	require.True(t, reads && watches)
	bare := mask.Wrap(struct{ cdc.Source }{full}, none)
	_, reads = bare.(cdc.KeyReader)
	_, watches = bare.(cdc.Watcher)
	require.False(t, reads || watches)
	require.NoError(t, bare.(cdc.Claimer).Claim(t.Context()))
	id, err := bare.Identify(t.Context())
	require.NoError(t, err)
	require.Equal(t, id, bare.(cdc.Hosted).Host())
}
