package lakehouse_test

import (
	"math/rand/v2"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/lakehouse"
)

// simPartitions are partitionings of the simulation's tables.
var simPartitions = map[string][][]string{
	"orders": {{"status"}, {"bucket(3, id)", "truncate(3, status)"}, {"truncate(6, note)"}, {"total"}},
	"pairs":  {{"a"}, {"month(at)"}, {"hour(at)", "b"}, {"bucket(2, a)"}},
	"events": {{"truncate(10, n)"}},
	"audit":  {{"truncate(1, body)"}, {"id"}},
	"bag":    {{"n"}, {"d", "bucket(2, note)"}},
}

// simKept says how a history keeps its tables.
func simKept(seed uint64, masks []masking) map[string]lakehouse.TableOptions {
	rng := rand.New(rand.NewPCG(seed, 9))
	kept := map[string]lakehouse.TableOptions{}
	for _, table := range simTables {
		o := lakehouse.TableOptions{Modes: []lakehouse.Mode{lakehouse.ModeMirror}}
		if table == "audit" {
			o.Modes = []lakehouse.Mode{lakehouse.ModeChangelog, lakehouse.ModeMirror}
		}
		if rng.IntN(2) == 0 {
			if by := simPartitions[table][rng.IntN(len(simPartitions[table]))]; fits(masks, table, by) {
				o.PartitionBy = by
			}
		}
		if rng.IntN(3) == 0 {
			o.Deletes = lakehouse.DeletesRewrite
		}
		if rng.IntN(3) == 0 {
			o.Metadata = []lakehouse.MetadataColumn{lakehouse.MetadataSource, lakehouse.MetadataIngested}
		}
		if table != "events" && table != "bag" { // they have no key
			o.Delete = []lakehouse.DeleteMode{"", "", lakehouse.DeleteSoft, lakehouse.DeleteIgnore}[rng.IntN(4)]
		}
		if seed%3 == 1 { // drawn apart: what histories have in them stays what it was
			o.ChangeFeed = []lakehouse.FeedMode{lakehouse.FeedOn, ""}[rand.New(rand.NewPCG(seed, uint64(len(kept))+20)).IntN(4)/3]
		}
		kept[table] = o
	}
	return kept
}

// simKeys are the key columns of the tables that have a key.
var simKeys = map[string][]string{"orders": {"id"}, "audit": {"id"}, "pairs": {"a", "b"}}

// keyIn is the key within a row's text.
func keyIn(table, text string) string {
	key := ""
	for _, column := range simKeys[table] {
		rest, first := strings.CutPrefix(text, column+"=")
		if !first {
			_, rest, _ = strings.Cut(text, ";"+column+"=")
		}
		value, _, _ := strings.Cut(rest, ";")
		key += value + ";"
	}
	return key
}

// withoutKept gives a table's rows without those that it keeps though the source
// has deleted them. No key has two rows.
func (s *simulation) withoutKept(table string, m *mirrorVersions, version, config int, want, got map[string]int) (_ map[string]int, wrong string) {
	ignored := s.kept[table].Delete == lakehouse.DeleteIgnore
	seen, live, left := map[string]bool{}, map[string]bool{}, map[string]int{}
	if ignored {
		for text := range want {
			live[keyIn(table, text)] = true
		}
	}
	m.each(s.t, m.snaps[version], func(r *lakeRow) {
		if seen[r.key] {
			require.Fail(s.t, "two rows of a key", "%s has two rows of the key %s in version %d", table, r.key, version)
		}
		seen[r.key] = true
		if wrong == "" && (r.deleted || ignored && !live[r.key]) {
			wrong = s.keptFits(table, config, r)
		}
		if ignored && live[r.key] {
			left[r.text] = got[r.text]
		}
	})
	if ignored {
		return left, wrong
	}
	return got, wrong
}
