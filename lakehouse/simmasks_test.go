package lakehouse_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/lakehouse/mask"
)

// masking is how a configuration masks the tables.
type masking struct {
	columns map[string][]mask.Column
	salt    string
}

// simColumns are the columns that may be masked, and what else than null and drop
// their type allows; those of a key can only be hashed.
var simColumns = map[string]map[string]string{
	"orders": {"id": "key", "status": "text", "total": "other", "note": "text"},
	"pairs":  {"a": "key", "b": "key", "at": "other"},
	"events": {"n": "other", "what": "text"},
	"audit":  {"body": "text"}, // no type changes: its changelog keeps the columns that it has
	"bag":    {"n": "other", "d": "other", "note": "text"},
}

// simMasks are the configurations of a history that masks columns, a quarter of
// them; nil of others. Engines are started with one or another of them. The last
// one masks less, or with another salt: what it lifts takes a resync.
func simMasks(seed uint64) []masking {
	rng := rand.New(rand.NewPCG(seed, 13))
	if rng.IntN(4) != 0 {
		return nil
	}
	list := make([]masking, 3)
	for i := range list {
		list[i] = masking{columns: map[string][]mask.Column{}, salt: maskSalt}
		if i == 2 && rng.IntN(3) == 0 {
			list[i].salt = "another " + maskSalt
		}
		for _, table := range simTables {
			if rng.IntN(4) == 0 || i == 2 && rng.IntN(2) == 0 {
				continue
			}
			for _, column := range sortedKeys(simColumns[table]) {
				if m := simMask(rng, simColumns[table][column]); m.Kind != "" {
					list[i].columns[table] = append(list[i].columns[table], mask.Column{Name: column, Mask: m})
				}
			}
		}
	}
	return list
}

func simMask(rng *rand.Rand, kind string) mask.Mask {
	if rng.IntN(2) == 0 {
		return mask.Mask{}
	}
	if kind == "key" {
		return mask.Mask{Kind: mask.Hash}
	}
	some := []mask.Mask{
		{Kind: mask.Null},
		{Kind: mask.Drop},
		{Kind: mask.Hash},
		{Kind: mask.Truncate, Length: 6},
		{Kind: mask.Regex, Pattern: `(\d)\d+`, Replacement: "$1*"},
	}
	if kind == "other" {
		some = some[:3]
	}
	return some[rng.IntN(len(some))]
}

func sortedKeys(m map[string]string) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

var columnWithin = regexp.MustCompile(`([a-z]+)\)?$`)

// fits says whether a table can be partitioned by something however it is masked:
// a column that is dropped, or becomes a text, may not do.
func fits(list []masking, table string, by []string) bool {
	for _, one := range list {
		for _, m := range one.columns[table] {
			if m.Kind == mask.Drop && (table == "audit" || table == "bag") {
				return false // no other column may be left than those
			}
			if m.Kind != mask.Drop && (m.Kind != mask.Hash || simColumns[table][m.Name] == "text") {
				continue
			}
			if slices.ContainsFunc(by, func(text string) bool { return columnWithin.FindStringSubmatch(text)[1] == m.Name }) {
				return false
			}
		}
	}
	return true
}

// configure gives the options of a table by the configuration that the engine has.
func (s *simulation) configure(table string) lakehouse.TableOptions {
	o := s.kept[table]
	if s.masks != nil {
		one := s.masks[s.config]
		o.Masks = slices.Clone(one.columns[table])
		var err error
		o.Salt, err = mask.NewSalt([]byte(one.salt))
		require.NoError(s.t, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hard[table] {
		o.Delete = lakehouse.DeleteHard
	}
	return o
}

// reconfigure gives the engine that is started next another configuration, now
// and then, once there is a lake.
func (s *simulation) reconfigure(last bool) {
	if s.masks == nil {
		return
	}
	st, err := lakehouse.ReadState(context.Background(), s.store, "default")
	if ready := err == nil && st.Phase == lakehouse.PipelineReady; ready && !last && s.fate.IntN(3) == 0 {
		s.config = s.fate.IntN(len(s.masks))
	}
	for _, table := range simTables {
		if len(s.permits[table]) == 0 {
			s.permits[table] = map[int]cdc.LSN{s.config: 0}
		}
		for was := range s.permits[table] {
			if s.masks[s.config].hides(&s.masks[was], table) {
				s.permit(table)
				break
			}
		}
	}
}

// hides says whether a configuration takes no mask away that another one has.
func (m *masking) hides(was *masking, table string) bool {
	for _, o := range was.columns[table] {
		i := slices.IndexFunc(m.columns[table], func(c mask.Column) bool { return c.Name == o.Name })
		if i < 0 {
			return false
		}
	}
	return m.salt == was.salt || !mask.Hashes(m.columns[table]) || !mask.Hashes(was.columns[table])
}

// permit notes that a table may show what the present configuration makes of it
// from now on.
func (s *simulation) permit(table string) { s.permitConfig(table, s.config) }

func (s *simulation) permitConfig(table string, config int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, is := s.permits[table][config]; !is && s.masks != nil {
		s.permits[table][config] = s.world.Head()
	}
}

// permitRefused notes that a table may show what was refused, which a resync
// agrees to: the engine whose configuration it was may not have been the last, as
// one that crashes in its first moments records nothing.
func (s *simulation) permitRefused(table string) {
	st, err := lakehouse.ReadState(context.Background(), s.store, "default")
	if err != nil {
		return
	}
	for _, t := range st.Tables {
		if t.Table != table || t.Refused == nil {
			continue
		}
		for config := range s.masks {
			same := func(a, b mask.Column) bool { return a.Name == b.Name && a.Mask == b.Mask }
			if slices.EqualFunc(s.masks[config].columns[table], t.Refused.Masks, same) {
				s.permitConfig(table, config)
			}
		}
	}
}

// refused says whether a table's stop is for a mask that would be taken away, or
// for rows that it keeps and that do not fit what the masks make of the others: the
// operator does without those, as the remedy says.
func (s *simulation) refused(table, reason string) bool {
	if s.masks != nil && strings.Contains(reason, "cannot be carried over") {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.hard[strings.TrimPrefix(table, "public.")] = true
		return true
	}
	return s.masks != nil && (strings.HasPrefix(reason, "the lake does not have it in clear") || strings.HasPrefix(reason, "its hashes were made with another salt"))
}

// sourceRows are a table's rows at a position as a configuration masks them.
func (s *simulation) sourceRows(table string, lsn cdc.LSN, config int) map[string]int {
	if s.masks == nil || len(s.masks[config].columns[table]) == 0 {
		return sourceRows(s.world, table, lsn)
	}
	rows, rel := map[string]int{}, s.world.Relation(table, lsn)
	if rel == nil {
		return rows
	}
	names, one := sortedNames(rel.Arrow()), &s.masks[config]
	for _, m := range one.columns[table] {
		if m.Kind == mask.Drop {
			names = slices.DeleteFunc(names, func(name string) bool { return name == m.Name })
		}
	}
	for _, row := range s.world.Rows(table, lsn) {
		for i := range one.columns[table] {
			m := &one.columns[table][i]
			if v := row[m.Name]; v != nil {
				row[m.Name] = maskedValue(m, valueText(v), one.salt)
			}
		}
		rows[rowText(names, row)]++
	}
	return rows
}

// keptFits requires that a row which is kept though the source has deleted it shows
// what its configuration lets it show, and that the source has had its key.
func (s *simulation) keptFits(table string, config int, r *lakeRow) (why string) {
	known := s.keys[[2]any{table, config}]
	if known == nil {
		known = map[string]bool{}
		for _, row := range simKeyRows(table, s.next) {
			text := row
			if s.masks != nil {
				text = map[string]any{}
				for name, v := range row {
					text[name] = v
					for i := range s.masks[config].columns[table] {
						if m := &s.masks[config].columns[table][i]; m.Name == name {
							text[name] = maskedValue(m, valueText(v), s.masks[config].salt)
						}
					}
				}
			}
			known[keyIn(table, rowText(simKeys[table], text))] = true
		}
		s.keys[[2]any{table, config}] = known
	}
	if !known[r.key] && s.damaged == nil { // one that somebody has put into the lake is kept like any other
		return "the source has never had the key " + r.key
	}
	if s.masks == nil {
		return ""
	}
	for i := range s.masks[config].columns[table] {
		m := &s.masks[config].columns[table][i]
		_, v, found := strings.Cut(";"+r.text, ";"+m.Name+"=")
		v, _, _ = strings.Cut(v, ";")
		ok := v == "NULL"
		switch m.Kind {
		case mask.Drop:
			ok = !found
		case mask.Hash:
			ok = ok || hashShape.MatchString(v)
		case mask.Truncate:
			ok = ok || len(v) <= m.Length
		case mask.Regex:
			ok = ok || !regexp.MustCompile(m.Pattern).MatchString(v)
		}
		if !ok {
			return fmt.Sprintf("column %q shows %q under the mask %s", m.Name, v, m.Mask)
		}
	}
	return ""
}

var hashShape = regexp.MustCompile(`^[0-9a-f]{32}$`)

// simKeyRows are all keys that the workload may have made.
func simKeyRows(table string, next int64) (rows []cdctest.Row) {
	if table == "pairs" {
		for b := range int64(5) {
			for a := range 7 {
				rows = append(rows, cdctest.Row{"a": fmt.Sprint("k", a), "b": b})
			}
		}
		for n := range next + 1 {
			rows = append(rows, cdctest.Row{"a": "altered", "b": 1000 + n})
		}
		return rows
	}
	for id := range int64(40) {
		rows = append(rows, cdctest.Row{"id": id})
	}
	for n := range next + 1 {
		rows = append(rows, cdctest.Row{"id": 1000 + n})
	}
	return rows
}

// valueText is the text of a value as PostgreSQL prints it.
func valueText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case time.Time:
		return v.UTC().Format("2006-01-02 15:04:05.999999") + "+00"
	case cdctest.Exact:
		return string(v)
	}
	return fmt.Sprint(v)
}

func maskedValue(m *mask.Column, text, salt string) any {
	switch m.Kind {
	case mask.Hash:
		return hashedBy(salt, text)
	case mask.Truncate:
		return text[:min(m.Length, len(text))] // the simulation's texts are ASCII
	case mask.Regex:
		return regexp.MustCompile(m.Pattern).ReplaceAllString(text, m.Replacement)
	}
	return nil
}
