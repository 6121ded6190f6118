package lakehouse_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"

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
func simKept(seed uint64) map[string]lakehouse.TableOptions {
	rng := rand.New(rand.NewPCG(seed, 9))
	kept := map[string]lakehouse.TableOptions{}
	for _, table := range simTables {
		o := lakehouse.TableOptions{Modes: []lakehouse.Mode{lakehouse.ModeMirror}}
		if table == "audit" {
			o.Modes = []lakehouse.Mode{lakehouse.ModeChangelog, lakehouse.ModeMirror}
		}
		if rng.IntN(2) == 0 {
			o.PartitionBy = simPartitions[table][rng.IntN(len(simPartitions[table]))]
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
		kept[table] = o
	}
	return kept
}

var simKeys = map[string]*regexp.Regexp{
	"orders": regexp.MustCompile(`(?:^|;)id=(\d+);`),
	"audit":  regexp.MustCompile(`(?:^|;)id=(\d+);`),
	"pairs":  regexp.MustCompile(`(?:^|;)(a=.*?;).*(b=\d+;)`),
}

// withoutKept gives a table's rows without those that it keeps though the source
// has deleted them. No key has two rows.
func (s *simulation) withoutKept(table string, m *mirrorVersions, version int, want, got map[string]int) map[string]int {
	keyOf := func(text string) string { return fmt.Sprint(simKeys[table].FindStringSubmatch(text)[1:]) }
	seen, live := map[string]bool{}, map[string]bool{}
	for text := range want {
		live[keyOf(text)] = true
	}
	left := map[string]int{}
	m.each(s.t, m.snaps[version], func(text string, _ bool) {
		key := keyOf(text)
		require.False(s.t, seen[key], "%s has two rows of the key %s in version %d", table, key, version)
		seen[key] = true
		if s.kept[table].Delete == lakehouse.DeleteIgnore && live[key] {
			left[text] = got[text]
		}
	})
	if s.kept[table].Delete == lakehouse.DeleteIgnore {
		return left
	}
	return got
}
