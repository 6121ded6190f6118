package typemap

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/tablefmt"
)

func relation(cols ...cdc.Column) *cdc.Relation {
	return &cdc.Relation{OID: 1, Schema: "public", Name: "t", Columns: cols}
}

func own(name string) bool { return name == Exact }

func TestEvolve(t *testing.T) {
	id, note := cdctest.Int64("id"), cdctest.Text("note")
	made, err := Schema(relation(id, note), ExactField())
	require.NoError(t, err)
	table, err := tablefmt.ParseSchema(made.JSON()) // as it comes back from the log
	require.NoError(t, err)

	next, err := Evolve(table, relation(id, note), own)
	require.NoError(t, err)
	require.Nil(t, next, "nothing has changed")

	next, err = Evolve(table, relation(note, id), own)
	require.NoError(t, err)
	require.Nil(t, next, "the position of a column is no part of it")

	next, err = Evolve(table, relation(id, note, cdctest.Bool("done")), own)
	require.NoError(t, err)
	require.Equal(t, "struct<id:long,note:string,_lakeload_exact:map<string,string>,done:boolean>", next.String())

	defaulted := cdctest.Bool("done")
	defaulted.HasMissing = true
	other := cdctest.Int64("note")
	narrower := cdctest.Decimal("note", 10, 2)
	exact := cdctest.Text(Exact)
	upper := cdctest.Text("NOTE")
	for name, rel := range map[string]*cdc.Relation{
		"a default that older rows show": relation(id, note, defaulted),
		"another type":                   relation(id, other),
		"another modifier":               relation(id, narrower),
		"a column dropped":               relation(id),
		"a column renamed":               relation(id, cdctest.Text("remark")),
		"a reserved name":                relation(id, note, exact),
		"a name that differs by case":    relation(id, note, upper),
	} {
		_, err := Evolve(table, rel, own)
		require.Error(t, err, name)
	}
}

func TestATypeThatChangesItsModifierIsAChange(t *testing.T) {
	made, err := Schema(relation(cdctest.Decimal("amount", 10, 2)))
	require.NoError(t, err)
	var inc *Incompatible
	_, err = Evolve(made, relation(cdctest.Decimal("amount", 12, 2)), own)
	require.ErrorAs(t, err, &inc)
	require.Contains(t, inc.Error(), "numeric(10,2) to numeric(12,2)")
}

func TestSchemaRefuses(t *testing.T) {
	for _, name := range []string{"_Lakeload_exact", "_Change_Type", "a b", "a,b", ""} {
		_, err := Schema(relation(cdctest.Int64("id"), cdctest.Text(name)))
		require.Error(t, err, name)
	}
	_, err := Schema(relation(cdctest.Text("_op")))
	require.NoError(t, err)
	_, err = Schema(relation(cdctest.Text("_op")), ChangelogColumns()...)
	require.Error(t, err, "a changelog has a column of this name")
	_, err = Schema(relation(cdctest.Int64("id"), cdctest.Int64("ID")))
	require.Error(t, err, "names that differ only by case")
}

// A composite whose attributes are others, though they look the same, is
// another type: what older rows hold in them is gone at the source.
func TestEdge54AnAlteredCompositeIsAChange(t *testing.T) {
	pair := arrow.StructOf(arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int32, Nullable: true})
	rel := &cdc.Relation{Columns: []cdc.Column{{Name: "v", Type: pair, SourceType: "pair", TypeOID: 70000, TypeMod: -1, Shape: "/1:aa"}}}
	table, err := Schema(rel)
	require.NoError(t, err)
	none := func(string) bool { return false }
	next, err := Evolve(table, rel, none)
	require.NoError(t, err)
	require.Nil(t, next)
	altered := *rel
	altered.Columns = []cdc.Column{rel.Columns[0]}
	altered.Columns[0].Shape = "/1:bb"
	require.False(t, rel.SameShape(&altered))
	_, err = Evolve(table, &altered, none)
	var incompatible *Incompatible
	require.ErrorAs(t, err, &incompatible)
	require.Equal(t, "its type pair was altered", incompatible.Reason)
}
