package postgres

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/lakeload/lakeload/cdc"
)

// keyColumn is a column of a key that ranges are made of.
type keyColumn struct {
	name string // at the server
	typ  string // its base type, as SQL writes it
	kind keyKind
}

// keyRanges implements [cdc.KeyRanges]: range i holds the keys from bounds[i-1]
// on and before bounds[i].
type keyRanges struct {
	columns []keyColumn
	bounds  [][]keyValue
	texts   [][]string // of the bounds, as PostgreSQL prints them
	files   string     // which files the table had, see tableFiles
	filter  string     // which of its rows were published, see publishedShape
	rows    int64      // of a range, about
	bytes   int64
}

var _ cdc.KeyRanges = (*keyRanges)(nil)

// keyRangesText is the form of keyRanges.Text.
type keyRangesText struct {
	Bounds [][]string `json:"bounds"`
	Files  string     `json:"files"`
	Filter string     `json:"filter,omitempty"`
	Rows   int64      `json:"rows,omitempty"`
	Bytes  int64      `json:"bytes,omitempty"`
}

func (k *keyRanges) Len() int { return len(k.bounds) + 1 }

// Range names a range by its bounds.
func (k *keyRanges) Range(i int) cdc.Range {
	side := func(i int) string {
		if i < 0 || i >= len(k.texts) {
			return ""
		}
		return "(" + strings.Join(k.texts[i], ",") + ")"
	}
	return cdc.Range{ID: side(i-1) + ".." + side(i), Rows: k.rows, Bytes: k.bytes}
}

func (k *keyRanges) Text() string {
	text, err := json.Marshal(keyRangesText{Bounds: k.texts, Files: k.files, Filter: k.filter, Rows: k.rows, Bytes: k.bytes})
	if err != nil {
		panic(fmt.Sprintf("encoding texts: %v", err)) // there is nothing else in it
	}
	return string(text)
}

// Of implements [cdc.KeyRanges]. A key that cannot be compared, which no server
// sends, is in the last range.
func (k *keyRanges) Of(b *cdc.Batch, row int) int {
	key := make([]keyValue, 0, 4)
	for i, c := range k.columns {
		v, err := keyValueAt(c.kind, b, b.Relation.Key[i], row)
		if err != nil {
			return len(k.bounds)
		}
		key = append(key, v)
	}
	i, found := slices.BinarySearchFunc(k.bounds, key, compareKeys)
	if found {
		i++
	}
	return i
}

// setBounds takes the texts of keys as bounds: in order, each once.
func (k *keyRanges) setBounds(keys [][]string) error {
	type bound struct {
		values []keyValue
		texts  []string
	}
	bounds := make([]bound, 0, len(keys))
	for _, texts := range keys {
		if len(texts) != len(k.columns) {
			return fmt.Errorf("a bound of %d values for a key of %d columns", len(texts), len(k.columns))
		}
		b := bound{texts: texts}
		for i, text := range texts {
			v, err := parseKeyValue(k.columns[i].kind, []byte(text))
			if err != nil {
				return fmt.Errorf("reading the value %q of the key column %q: %w", text, k.columns[i].name, err)
			}
			b.values = append(b.values, v)
		}
		bounds = append(bounds, b)
	}
	slices.SortFunc(bounds, func(a, b bound) int { return compareKeys(a.values, b.values) })
	bounds = slices.CompactFunc(bounds, func(a, b bound) bool { return compareKeys(a.values, b.values) == 0 })
	k.bounds, k.texts = nil, nil
	for _, b := range bounds {
		k.bounds, k.texts = append(k.bounds, b.values), append(k.texts, b.texts)
	}
	return nil
}

// where gives the condition of a range; "" for a table that is one range.
func (k *keyRanges) where(i int) string {
	var parts []string
	if i > 0 {
		parts = append(parts, k.compared(">=", k.texts[i-1]))
	}
	if i < len(k.texts) {
		parts = append(parts, k.compared("<", k.texts[i]))
	}
	return strings.Join(parts, " AND ")
}

// compared compares the key with a bound, in the order of an index over it.
func (k *keyRanges) compared(op string, texts []string) string {
	names, values := make([]string, len(texts)), make([]string, len(texts))
	for i, c := range k.columns {
		names[i], values[i] = quoteIdent(c.name), quoteLiteral(texts[i])+"::"+c.typ
	}
	if len(names) == 1 {
		return names[0] + " " + op + " " + values[0]
	}
	return "(" + strings.Join(names, ", ") + ") " + op + " (" + strings.Join(values, ", ") + ")"
}

// is gives the condition that a row has the key of a row image.
func (k *keyRanges) is(b *cdc.Batch, row int) (string, error) {
	parts := make([]string, len(k.columns))
	for i, c := range k.columns {
		text, err := keyTextAt(c.kind, b, b.Relation.Key[i], row)
		if err != nil {
			return "", err
		}
		parts[i] = quoteIdent(c.name) + " = " + quoteLiteral(text) + "::" + c.typ
	}
	return strings.Join(parts, " AND "), nil
}

// sampled is a row of a sample: its key, and where it lies.
type sampled struct {
	key   []string
	leaf  uint32
	block int64
}

// parseBlock reads the block of a ctid, "(12,3)".
func parseBlock(ctid string) int64 {
	block, _, _ := strings.Cut(strings.TrimPrefix(ctid, "("), ",")
	n, err := strconv.ParseInt(block, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// spread takes about n-1 bounds from a sample, at equal distances.
func (k *keyRanges) spread(sample []sampled, n int) error {
	all := make([][]string, len(sample))
	for i := range sample {
		all[i] = sample[i].key
	}
	if err := k.setBounds(all); err != nil {
		return err
	}
	if n--; n >= len(k.bounds) {
		return nil
	}
	bounds, texts := k.bounds, k.texts
	k.bounds, k.texts = nil, nil
	for i := 1; i <= n; i++ {
		at := i * len(bounds) / (n + 1)
		k.bounds, k.texts = append(k.bounds, bounds[at]), append(k.texts, texts[at])
	}
	return nil
}

// correlation tells how far the order of the key is the order in which rows
// lie: 1 or -1 where it is just that, 0 where it has nothing to do with it.
// Each partition counts by its share of the sample.
func (k *keyRanges) correlation(sample []sampled) float64 {
	type point struct {
		key   []keyValue
		block int64
	}
	leaves := map[uint32][]point{}
	for _, s := range sample {
		key := make([]keyValue, len(s.key))
		for i, text := range s.key {
			v, err := parseKeyValue(k.columns[i].kind, []byte(text))
			if err != nil {
				return 0
			}
			key[i] = v
		}
		leaves[s.leaf] = append(leaves[s.leaf], point{key, s.block})
	}
	sum := 0.0
	for _, points := range leaves {
		slices.SortStableFunc(points, func(a, b point) int { return compareKeys(a.key, b.key) })
		blocks := make([]float64, len(points))
		for i, p := range points {
			blocks[i] = float64(p.block)
		}
		sum += math.Abs(rankCorrelation(blocks)) * float64(len(points))
	}
	return sum / float64(max(1, len(sample)))
}

// rankCorrelation is Pearson's coefficient of values and their places. Values
// that are all alike lie together, in any order.
func rankCorrelation(values []float64) float64 {
	n := float64(len(values))
	var sx, sy, sxx, syy, sxy float64
	for i, y := range values {
		x := float64(i)
		sx, sy, sxx, syy, sxy = sx+x, sy+y, sxx+x*x, syy+y*y, sxy+x*y
	}
	vx, vy := n*sxx-sx*sx, n*syy-sy*sy
	if vx <= 0 || vy <= 0 {
		return 1
	}
	return (n*sxy - sx*sy) / math.Sqrt(vx*vy)
}
