package typemap

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/tablefmt"
)

func relation(cols ...cdc.Column) *cdc.Relation {
	return &cdc.Relation{OID: 1, Schema: "public", Name: "t", Columns: cols}
}

func own(name string) bool { return name == Exact }

// parseColumns reads "1 id bigint, 2 note varchar(10) default x": the id (0 is
// not known), name and type of each column, and what older rows read as: a
// value, "default unknown".
func parseColumns(t *testing.T, text string) []cdc.Column {
	var cols []cdc.Column
	for _, part := range strings.Split(text, ";") {
		head, missing, _ := strings.Cut(strings.TrimSpace(part), " default ")
		var id int32
		var name, typ string
		_, err := fmt.Sscan(head, &id, &name, &typ)
		require.NoError(t, err, part)
		c := column(t, name, typ)
		c.ID = id
		switch {
		case missing == "unknown":
			c.Missing.Kind = cdc.MissingUnknown
		case missing != "":
			c.Missing.Kind = cdc.MissingValue
		}
		cols = append(cols, c)
	}
	return cols
}

func parseInt(t *testing.T, text string) int {
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

func column(t *testing.T, name, typ string) cdc.Column {
	base, args, _ := strings.Cut(strings.TrimSuffix(typ, ")"), "(")
	var p, s int32
	_, _ = fmt.Sscanf(args, "%d,%d", &p, &s)
	switch base {
	case "bigint":
		return cdctest.Int64(name)
	case "int":
		c := cdctest.Int64(name)
		c.Type, c.SourceType, c.TypeOID = arrow.PrimitiveTypes.Int32, "integer", 23
		return c
	case "numeric":
		if args == "" {
			c := cdctest.Text(name)
			c.SourceType, c.TypeOID = "numeric", 1700
			return c
		}
		return cdctest.Decimal(name, p, s)
	case "real":
		c := cdctest.Float64(name)
		c.Type, c.SourceType, c.TypeOID = arrow.PrimitiveTypes.Float32, "real", 700
		return c
	case "double":
		return cdctest.Float64(name)
	case "varchar":
		c := cdctest.Text(name)
		c.SourceType, c.TypeOID, c.TypeMod = typ, 1043, p+4
		return c
	case "text":
		return cdctest.Text(name)
	case "boolean":
		return cdctest.Bool(name)
	}
	t.Fatalf("what type is %q?", typ)
	return cdc.Column{}
}

func TestPlan(t *testing.T) {
	var table *tablefmt.Schema
	datadriven.RunTest(t, "testdata/plan", func(t *testing.T, d *datadriven.TestData) string {
		if d.Cmd == "table" {
			made, err := Schema(relation(parseColumns(t, d.Input)...), ExactField())
			require.NoError(t, err)
			table, err = tablefmt.ParseSchema(made.JSON()) // as it comes back from the log
			require.NoError(t, err)
			return ""
		}
		in := Input{Table: table, Own: own, Rel: relation(parseColumns(t, d.Input)...)}
		for _, arg := range d.CmdArgs {
			value := Action("")
			if len(arg.Vals) > 0 {
				value = Action(arg.Vals[0])
			}
			switch arg.Key {
			case "add":
				in.Policy.Add = value
			case "drop":
				in.Policy.Drop = value
			case "rename":
				in.Policy.Rename = value
			case "type":
				in.Policy.Type = value
			case "rewritten":
				in.Rewritten = true
			case "append":
				in.Append = true
			case "later": // what the catalogue has gone on to: columns, and gone=N beside it
				in.Rel.Later = &cdc.Later{}
				for _, c := range parseColumns(t, strings.Join(arg.Vals, ";")) {
					in.Rel.Later.Columns = append(in.Rel.Later.Columns, cdc.LaterColumn{ID: c.ID, TypeOID: c.TypeOID, TypeMod: c.TypeMod})
				}
			case "later-gone":
				in.Rel.Later.Dropped = int32(parseInt(t, arg.Vals[0]))
			case "gone":
				in.Rel.Dropped = int32(parseInt(t, arg.Vals[0]))
			case "highest":
				in.Highest = int32(parseInt(t, arg.Vals[0]))
			case "partitioned":
				in.Rel.Files = map[uint32]uint32{1: 1, 2: 1}
			}
		}
		change, err := Plan(in)
		var inc *Incompatible
		if errors.As(err, &inc) {
			action := "stop"
			if inc.Resync {
				action = "resync"
			}
			return fmt.Sprintf("%s: %v\n", action, err)
		}
		require.NoError(t, err)
		if change == nil {
			return "nothing\n"
		}
		if d.Cmd == "then" {
			table = change.Schema
		}
		return changeText(change)
	})
}

func changeText(c *Change) string {
	var b strings.Builder
	for i, f := range c.Schema.Fields {
		from := fmt.Sprint("of ", c.From[i].Field)
		switch {
		case c.From[i].Field >= 0:
		case c.From[i].Missing.Kind == cdc.MissingValue:
			from = "all the missing value"
		default:
			from = "null"
		}
		if Dropped(&f) {
			from += ", kept"
		}
		fmt.Fprintf(&b, "%s %s: %s\n", f.Name, f.Type, from)
	}
	if c.Rewrite {
		b.WriteString("the rows are written anew\n")
	}
	for _, n := range c.Notes {
		b.WriteString("- " + n + "\n")
	}
	return b.String()
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

func TestHolds(t *testing.T) {
	dec := func(p, s int) tablefmt.Type { return tablefmt.Decimal{Precision: p, Scale: s} }
	for _, c := range []struct {
		from, to tablefmt.Type
		want     bool
	}{
		{tablefmt.Short, tablefmt.Long, true},
		{tablefmt.Long, tablefmt.Integer, false},
		{tablefmt.Integer, dec(10, 0), true},
		{tablefmt.Integer, dec(10, 1), false},
		{tablefmt.Long, dec(20, 0), true},
		{dec(10, 2), dec(12, 2), true},
		{dec(10, 2), dec(12, 4), true},
		{dec(10, 2), dec(12, 5), false},
		{dec(10, 2), dec(9, 2), false},
		{dec(10, 2), tablefmt.String, true},
		{tablefmt.Float, tablefmt.Double, true},
		{tablefmt.Double, tablefmt.Float, false},
		{tablefmt.Long, tablefmt.Double, false},
		{tablefmt.Date, tablefmt.TimestampNTZ, true},
		{tablefmt.Date, tablefmt.Timestamp, false},
		{tablefmt.String, tablefmt.Long, false},
		{tablefmt.Boolean, tablefmt.String, false},
	} {
		require.Equal(t, c.want, Holds(c.to, c.from), "%s to %s", c.from, c.to)
	}
}

// A composite whose attributes are others, though they look the same, is
// another type: what older rows hold in them is gone at the source.
func TestEdge54AnAlteredCompositeIsAChange(t *testing.T) {
	pair := arrow.StructOf(arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int32, Nullable: true})
	rel := &cdc.Relation{Columns: []cdc.Column{{Name: "v", Type: pair, SourceType: "pair", TypeOID: 70000, TypeMod: -1, Shape: "/1:aa"}}}
	table, err := Schema(rel)
	require.NoError(t, err)
	none := func(string) bool { return false }
	change, err := Plan(Input{Table: table, Rel: rel, Own: none})
	require.NoError(t, err)
	require.Nil(t, change)
	altered := *rel
	altered.Columns = []cdc.Column{rel.Columns[0]}
	altered.Columns[0].Shape = "/1:bb"
	require.False(t, rel.SameShape(&altered))
	_, err = Plan(Input{Table: table, Rel: &altered, Own: none, Policy: Policy{Type: Follow}})
	var incompatible *Incompatible
	require.ErrorAs(t, err, &incompatible)
	require.Equal(t, "its type pair was altered", incompatible.Reason)
	require.True(t, incompatible.Resync)
}
