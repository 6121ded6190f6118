package lakehouse_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/lakehouse/mask"
)

const maskSalt = "a salt of more than sixteen bytes"

func hashed(text string) string { return hashedBy(maskSalt, text) }

func hashedBy(salt, text string) string {
	h := hmac.New(sha256.New, []byte(salt))
	h.Write([]byte(text))
	return hex.EncodeToString(h.Sum(nil))[:32]
}

// masked lets the engines that are opened next mask columns of all tables but
// "other": each "column mask".
func (r *rig) masked(salt string, masks ...string) {
	r.t.Helper()
	var o lakehouse.TableOptions
	var err error
	if salt != "" {
		o.Salt, err = mask.NewSalt([]byte(salt))
		require.NoError(r.t, err)
	}
	for _, text := range masks {
		name, word, _ := strings.Cut(text, " ")
		m, err := mask.Parse(word)
		require.NoError(r.t, err)
		o.Masks = append(o.Masks, mask.Column{Name: name, Mask: m})
	}
	r.options = func(opt *lakehouse.Options) {
		opt.Table = func(rel *cdc.Relation) lakehouse.TableOptions {
			if rel.Name == "other" {
				return lakehouse.TableOptions{}
			}
			return o
		}
	}
}

func people() cdctest.TableSpec {
	return cdctest.TableSpec{
		Name: "p", Key: []string{"id"}, Identity: cdc.IdentityFull,
		Columns: []cdc.Column{cdctest.Text("phone"), cdctest.Text("email"), cdctest.Text("id"), cdctest.Decimal("pay", 10, 2), cdctest.Text("v")},
	}
}

// person adds a row whose values but v are secrets.
func (r *rig) person(table string, id int) {
	r.t.Helper()
	r.tx(func(tx *cdctest.Tx) error { return tx.Insert(table, personRow(id)) })
}

func personRow(id int) cdctest.Row {
	row := cdctest.Row{"id": fmt.Sprintf("secret-id-%d", id), "email": fmt.Sprintf("secret%d@home", id), "phone": fmt.Sprintf("secret 0049 %d", id), "v": fmt.Sprint("v", id)}
	row["pay"] = fmt.Sprintf("%d.50", 76_543_210+id)
	if id%3 == 0 {
		row["pay"] = cdctest.Exact(fmt.Sprintf("secret NaN %d", id)) // whatever it is
	}
	return row
}

func personMasked(id int) string {
	row := personRow(id)
	return fmt.Sprintf("email=%s;id=%s;pay=%s;v=v%d;", hashed(row["email"].(string)), hashed(row["id"].(string)), hashed(fmt.Sprint(row["pay"])), id)
}

var personMasks = []string{"phone drop", "email hash", "id hash", "pay hash"}

// showsNo requires that no byte of the store shows a text. What files hold in
// compressed pages the rows show.
func (r *rig) showsNo(text string) {
	r.t.Helper()
	for info, err := range r.store.List(r.t.Context(), "", "") {
		require.NoError(r.t, err)
		data, err := r.store.Get(r.t.Context(), info.Path)
		require.NoError(r.t, err)
		require.NotContains(r.t, string(data), text, info.Path)
	}
}

func TestMaskedTableShowsNoClearValue(t *testing.T) {
	r := newRig(t, people())
	r.masked(maskSalt, personMasks...)
	r.tableOptions(func(_ *cdc.Relation, o *lakehouse.TableOptions) {
		o.Modes = []lakehouse.Mode{lakehouse.ModeMirror, lakehouse.ModeChangelog}
	})
	for id := range 9 {
		r.person("p", id)
	}
	r.catchUp()
	want := map[string]int{}
	for id := range 9 {
		want[personMasked(id)] = 1
	}
	require.Equal(t, want, r.rows(r.mirror("p")))

	key := func(id int) cdctest.Row { return cdctest.Row{"id": personRow(id)["id"]} }
	r.tx(func(tx *cdctest.Tx) error {
		if err := tx.Delete("p", key(3)); err != nil {
			return err
		}
		if err := tx.Update("p", key(4), personRow(40)); err != nil { // another key
			return err
		}
		return tx.Update("p", key(5), cdctest.Row{"email": "secret5b@home"})
	})
	r.catchUp()
	delete(want, personMasked(3))
	delete(want, personMasked(4))
	delete(want, personMasked(5))
	want[personMasked(40)] = 1
	want[strings.Replace(personMasked(5), hashed("secret5@home"), hashed("secret5b@home"), 1)] = 1
	require.Equal(t, want, r.rows(r.mirror("p")))
	require.Empty(t, r.stopped())

	log := strings.Join(texts(r.rows(r.changelog("p"))), "\n")
	require.Contains(t, log, hashed("secret5b@home"))
	for _, clear := range []string{"secret", "7654321", " 0049 "} {
		require.NotContains(t, log, clear)
		r.showsNo(clear)
	}
	r.showsNo(maskSalt)
}

func texts(rows map[string]int) (list []string) {
	for text := range rows {
		list = append(list, text)
	}
	return list
}

// A table that has stopped because the configuration would show what is masked
// is not taken up by a repair: it would go on masked, against the configuration,
// until the next start.
func TestRepairDoesNotTakeUpWhatAMaskStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, people(), keyed("other"))
		r.masked(maskSalt, personMasks...)
		for id := range 5 {
			r.person("p", id)
		}
		r.insert("other", 1, 3)
		r.catchUp()
		r.copied()
		r.options = func(*lakehouse.Options) {}
		stop := r.start()
		require.Equal(t, []string{"public.p"}, r.stopped())
		r.person("p", 5)
		was := r.state("p")
		_, err := r.engineNow().Repair(t.Context(), "public.p", lakehouse.RepairOptions{})
		require.ErrorIs(t, err, lakehouse.ErrNotRepaired)
		require.ErrorContains(t, err, was.Reason)
		var e *lakehouse.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, was.Remedy, e.Remedy)
		require.Equal(t, was, r.state("p"))
		require.NoError(t, stop())
		require.Empty(t, r.copied())

		r.masked(maskSalt, personMasks...) // it goes on from where it was
		r.catchUp()
		require.Contains(t, r.rows(r.mirror("p")), personMasked(5))
		require.Len(t, r.rows(r.mirror("p")), 6)
	})
}

func TestMaskIsNotTakenAwayUnasked(t *testing.T) {
	r := newRig(t, people(), keyed("other"))
	r.masked(maskSalt, personMasks...)
	for id := range 5 {
		r.person("p", id)
	}
	r.catchUp()
	r.copied()

	// Somebody forgets the configuration, or names another salt.
	for _, forget := range []func(){
		func() { r.options = func(*lakehouse.Options) {} },
		func() { r.masked("another salt of sixteen bytes", personMasks...) },
		func() { r.masked(maskSalt, "phone drop", "email hash", "id hash") },
		func() { r.masked("", "phone drop") },
	} {
		forget()
		r.person("p", 5)
		r.insert("other", 1, 2)
		r.catchUp()
		st := r.state("p")
		require.Equal(t, lakehouse.PhaseStopped, st.Phase)
		require.Contains(t, st.Remedy, "resync")
		require.Equal(t, []string{"public.p"}, r.stopped())
		require.Empty(t, r.copied())
		r.same("other")
		r.showsNo("secret")
		r.tx(func(tx *cdctest.Tx) error { return tx.Delete("p", cdctest.Row{"id": personRow(5)["id"]}) })
		r.tx(func(tx *cdctest.Tx) error { return tx.Delete("other", cdctest.Row{"id": 1}) })
	}

	// It is there again: the table goes on from where it was.
	r.masked(maskSalt, personMasks...)
	r.person("p", 6)
	r.catchUp()
	require.Empty(t, r.stopped())
	require.Empty(t, r.copied())
	require.Equal(t, lakehouse.PhaseLive, r.state("p").Phase)
	require.Nil(t, r.state("p").Refused)
	require.Contains(t, r.rows(r.mirror("p")), personMasked(6))
	require.Len(t, r.rows(r.mirror("p")), 6)

	// It is meant so, and somebody says it.
	r.options = func(*lakehouse.Options) {}
	r.catchUp()
	require.Equal(t, []string{"public.p"}, r.stopped())
	r.resync("p")
	require.Empty(t, r.state("p").Masks)
	r.catchUp()
	require.Equal(t, []string{"public.p"}, r.copied())
	r.same("p")
	r.catchUp()
	require.Empty(t, r.copied())
}

func TestMaskThatIsNewNeedsAResync(t *testing.T) {
	r := newRig(t, people())
	for id := range 5 {
		r.person("p", id)
	}
	r.catchUp()
	r.same("p")
	r.copied()
	r.masked(maskSalt, personMasks...)
	r.world.Advance(100)
	r.catchUp()
	require.Equal(t, []string{"public.p"}, r.copied())
	require.Contains(t, r.rows(r.mirror("p")), personMasked(4))
	// One is changed.
	r.masked(maskSalt, "phone null", "email truncate(3)", "id hash", "pay hash")
	r.world.Advance(100)
	r.catchUp()
	require.Equal(t, []string{"public.p"}, r.copied())
	row := strings.Replace(personMasked(4), hashed("secret4@home"), "sec", 1)
	row = strings.Replace(row, "v=v4;", "phone=NULL;v=v4;", 1)
	require.Contains(t, r.rows(r.mirror("p")), row)
	// One that no column has changes nothing.
	r.masked(maskSalt, "phone null", "email truncate(3)", "id hash", "pay hash", "later hash")
	r.catchUp()
	require.Empty(t, r.copied())
	// The column comes.
	r.tx(func(tx *cdctest.Tx) error {
		if err := tx.AddColumn("p", cdctest.Text("later"), "secret default"); err != nil {
			return err
		}
		row := personRow(8)
		row["later"] = "secret later"
		return tx.Insert("p", row)
	})
	r.catchUp()
	text := strings.Join(texts(r.rows(r.mirror("p"))), "\n")
	require.Contains(t, text, hashed("secret later"))
	require.Contains(t, text, hashed("secret default"))
	require.Empty(t, r.stopped())
}

func TestMaskFollowsARenamedColumn(t *testing.T) {
	r := newRig(t, people())
	r.masked(maskSalt, append(personMasks, "new drop")...)
	r.person("p", 1)
	r.catchUp()
	r.copied()
	rename := func(from, to string) {
		r.tx(func(tx *cdctest.Tx) error { return tx.RenameColumn("p", from, to) })
	}
	check := func() {
		t.Helper()
		r.catchUp()
		require.Empty(t, r.stopped())
		r.showsNo("secret")
		rows := strings.Join(texts(r.rows(r.mirror("p"))), "\n")
		require.NotContains(t, rows, "secret")
	}
	// Between two runs, and between two rows of one.
	rename("email", "mail")
	rename("phone", "tel")
	row := func(id int, more ...string) cdctest.Row {
		row := personRow(id)
		row["mail"], row["tel"] = row["email"], row["phone"]
		delete(row, "email")
		delete(row, "phone")
		for i := 0; i < len(more); i += 2 {
			row[more[i]] = more[i+1]
		}
		return row
	}
	r.tx(func(tx *cdctest.Tx) error { return tx.Insert("p", row(2)) })
	check()
	r.tx(func(tx *cdctest.Tx) error {
		if err := tx.AddColumn("p", cdctest.Text("new"), nil); err != nil {
			return err
		}
		return tx.Insert("p", row(3, "new", "secret new"))
	})
	check()
	rename("new", "newer")
	r.tx(func(tx *cdctest.Tx) error { return tx.Insert("p", row(4, "newer", "secret new")) })
	check()
	require.NotContains(t, strings.Join(texts(r.rows(r.mirror("p"))), ""), "newer=")

	// The configuration may call them by the names that they have now.
	r.masked(maskSalt, "tel drop", "mail hash", "id hash", "pay hash", "newer drop")
	r.tx(func(tx *cdctest.Tx) error { return tx.Insert("p", row(5, "newer", "secret new")) })
	check()
	require.Empty(t, r.copied())
	// One that names them no more takes the masks away.
	r.masked(maskSalt, "id hash", "pay hash")
	r.catchUp()
	require.Equal(t, []string{"public.p"}, r.stopped())
	require.Contains(t, r.state("p").Reason, "mail")
}

func TestMaskThatCannotBe(t *testing.T) {
	r := newRig(t, people(), keyed("other"))
	r.person("p", 1)
	r.masked("", "email hash")
	err := r.engine(t.Context(), true)
	require.ErrorContains(t, err, "salt")
	require.Equal(t, lakehouse.KindPreflight, lakehouse.KindOf(err))
	_, err = lakehouse.ReadState(t.Context(), r.store, "default")
	require.ErrorIs(t, err, lakehouse.ErrNoState, "nothing was changed")
	r.masked("", "id null")
	require.ErrorContains(t, r.engine(t.Context(), true), "key")

	// Of a table that is fed already only that one stops.
	r.options = func(*lakehouse.Options) {}
	r.catchUp()
	r.options = func(o *lakehouse.Options) {
		o.Table = func(rel *cdc.Relation) (to lakehouse.TableOptions) {
			if rel.Name == "p" {
				to.Masks = []mask.Column{{Name: "id", Mask: mask.Mask{Kind: mask.Drop}}}
			}
			return to
		}
	}
	r.insert("other", 1, 3)
	r.catchUp()
	require.Equal(t, []string{"public.p"}, r.stopped())
	r.same("other")
	r.options = func(*lakehouse.Options) {}
	r.person("p", 2)
	r.catchUp()
	r.same("p")
}

// TestMaskedMultiset: a table without a key is the multiset of what the masks
// leave of its rows.
func TestMaskedMultiset(t *testing.T) {
	spec := people()
	spec.Key = nil
	r := newRig(t, spec)
	r.masked("", "phone drop", "email drop", "pay drop", "id truncate(6)")
	for id := range 6 {
		r.person("p", id)
		r.person("p", id)
	}
	r.catchUp()
	r.tx(func(tx *cdctest.Tx) error { return tx.Delete("p", personRow(3)) })
	r.tx(func(tx *cdctest.Tx) error { return tx.Update("p", personRow(4), cdctest.Row{"v": "v3"}) })
	r.catchUp()
	require.Empty(t, r.stopped())
	want := map[string]int{}
	for id, n := range []int{2, 2, 2, 2, 1, 2} {
		want[fmt.Sprintf("id=secret;v=v%d;", id)] = n
	}
	require.Equal(t, want, r.rows(r.mirror("p")))
}

// TestMaskedTablesAreCopiedWhileTheyChange: one whose key is masked under a
// snapshot, and others by ranges.
func TestMaskedTablesAreCopiedWhileTheyChange(t *testing.T) {
	for _, masks := range [][]string{{"id hash", "v hash"}, {"v hash"}} {
		t.Run(masks[0], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRigOf(t, cdctest.Options{Seed: 1, MaxRows: 40, KeyRows: 50}, keyed("t"))
				r.insert("t", 0, 300)
				r.masked(maskSalt, masks...)
				stop := r.start()
				for i := range 50 {
					r.update("t", 3*i, fmt.Sprint("changed", i))
				}
				time.Sleep(10 * time.Second)
				require.NoError(t, stop())
				r.resync("t")
				r.insert("t", 300, 310)
				stop = r.start()
				r.update("t", 305, "changed")
				time.Sleep(10 * time.Second)
				require.NoError(t, stop())
				want := map[string]int{}
				for _, row := range r.world.Rows("t", r.world.Head()) {
					id := fmt.Sprint(row["id"])
					if len(masks) > 1 {
						id = hashed(id)
					}
					want[fmt.Sprintf("id=%s;v=%s;", id, hashed(row["v"].(string)))]++
				}
				require.Equal(t, want, r.rows(r.mirror("t")))
				require.Empty(t, r.stopped())
			})
		})
	}
}

// TestMaskThatIsNewToAChangelog: history is not written anew.
func TestMaskThatIsNewToAChangelog(t *testing.T) {
	r := newRig(t, people())
	r.keptAs(lakehouse.TableOptions{Modes: []lakehouse.Mode{lakehouse.ModeChangelog}})
	r.person("p", 1)
	r.catchUp()
	r.masked(maskSalt, "phone drop", "email hash", "id hash")
	r.world.Advance(100)
	r.person("p", 2)
	r.catchUp()
	require.Empty(t, r.stopped())
	clear, masked := 0, 0
	for text := range r.rows(r.changelog("p")) {
		if strings.Contains(text, "secret1@home") {
			clear++
		}
		if strings.Contains(text, hashed("secret1@home")) || strings.Contains(text, hashed("secret2@home")) {
			masked++
		}
		require.NotContains(t, text, "secret2")
	}
	require.Equal(t, 1, clear, "the row of before")
	require.Equal(t, 2, masked, "the new copy")
}
