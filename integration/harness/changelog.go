package harness

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/lakehouse"
)

// folded plays a changelog, as DuckDB reads it, in the order of its positions, and gives the rows that there are then. It refuses what a correct
// changelog cannot hold: the same change twice, an insert of a key that is there, an update or delete of a row that is not.
// args are [path, [key column...], [column...]]; without a key rows are a multiset.
const folded = `
path, key, columns = args
log = con.sql("select * from delta_scan('%s') order by _lsn, _seq, _op <> 'B'" % path.replace("'", "''")).to_arrow_table()
ops, lsns, seqs, missing = (log[c].to_pylist() for c in ("_op", "_lsn", "_seq", "_unchanged"))
names = key or columns
keys = list(zip(*(log[c].to_pylist() for c in names))) if names else []
rows, seen, before = {}, set(), None    # by key: lists of row numbers, one for each column
def refuse(i, why):
    raise AssertionError("%s: %s %s at %s/%s: %s" % (path, ops[i], keys[i], lsns[i], seqs[i], why))
for i, op in enumerate(ops):
    k = keys[i]
    if op != "R":
        at = (lsns[i], seqs[i], op)
        if at in seen: refuse(i, "the change is there twice")
        seen.add(at)
    if op == "T":
        rows, before = {}, None
        continue
    here = rows.setdefault(k, [])
    if op in "DB":
        if not here: refuse(i, "there is no such row")
        gone = here.pop()
        before = gone if op == "B" else None
        continue
    image = {c: i for c in columns}
    if op == "U":
        old = before
        if old is None:
            if not here: refuse(i, "there is no such row")
            old = here.pop()
        for c in missing[i] or []:
            image[c] = old[c]
    before = None
    if key and here: refuse(i, "the row is there already")
    here.append(image)
left = [image for images in rows.values() for image in images]
result = pa.table({c: log[c].take(pa.array([image[c] for image in left], pa.int64())) for c in columns})
`

// ChangelogPath is the folder of a changelog with a plain name, in the schema public.
func (p *Pipeline) ChangelogPath(table string) string {
	return filepath.Join(p.Lake, filepath.FromSlash(lakehouse.ChangelogPath("public", table)))
}

// ChangelogDiffers says in which tables (of the schema public) the changelog, played by DuckDB, ends in other rows than the source has now, or
// holds what no source can have done; "" for none.
func (p *Pipeline) ChangelogDiffers(t testing.TB, tables ...string) string {
	t.Helper()
	var differ []string
	for _, table := range tables {
		columns := p.Columns(t, table)
		keyed, err := readers.PGQuery(t.Context(), p.DB.DSN, fmt.Sprintf(`select a.attname from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
			where i.indrelid = '"public"."%s"'::regclass and i.indisprimary order by a.attnum`, table))
		if err != nil {
			t.Fatal(err)
		}
		key := []string{}
		for _, r := range keyed {
			key = append(key, r[0])
		}
		want, err := readers.PGRows(t.Context(), p.DB.DSN, "public", table, columns)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readers.Get(t, readers.DuckDB).Python(t.Context(), folded, []any{p.ChangelogPath(table), key, columns})
		if err != nil {
			differ = append(differ, fmt.Sprintf("the changelog of %s: %v", table, err))
			continue
		}
		if d := readers.Diff(got, want); d != "" {
			differ = append(differ, fmt.Sprintf("the changelog of %s: %s", table, d))
		}
	}
	return strings.Join(differ, "\n")
}
