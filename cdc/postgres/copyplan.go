package postgres

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/lakeload/lakeload/cdc"
)

const (
	// defaultRangeBytes is about what a range has, out-of-line values included.
	defaultRangeBytes = 32 << 20
	// maxRanges bounds a table's list of ranges; a huge table has larger ones.
	maxRanges = 1 << 14
)

// leaf is what really holds rows: the table itself, or one partition.
type leaf struct {
	oid       uint32
	sql       string // quoted
	kind      byte   // relkind
	heap      bool   // its rows can be addressed by block
	blocks    int64
	blockSize int64
	bytes     int64 // with out-of-line values
	rows      int64 // the server's estimate; 0 is unknown
}

// tablePlan is how a table is read under one snapshot.
type tablePlan struct {
	info   *tableInfo
	leaves map[uint32]*leaf
}

// ranges divides a leaf. Rows lie in blocks, and a row that the snapshot sees
// stays where it is while the table is locked against rewrites, so ranges of
// blocks cover all rows, each once. The last range has no end, which costs
// nothing and depends on no size. It is pure.
func (l *leaf) ranges(rangeBytes int64) []cdc.Range {
	if l.blocks == 0 {
		return nil
	}
	if !l.heap {
		return []cdc.Range{{ID: rangeID{leaf: l.oid, whole: true}.String(), Rows: l.rows, Bytes: l.bytes}}
	}
	target := max(rangeBytes, l.bytes/maxRanges)
	step := max(1, l.blocks*target/max(l.bytes, 1))
	var out []cdc.Range
	for from := int64(0); from < l.blocks; from += step {
		id := rangeID{leaf: l.oid, from: from, to: from + step}
		n := min(step, l.blocks-from)
		if from+step >= l.blocks {
			id.to = 0
		}
		share := float64(n) / float64(l.blocks)
		out = append(out, cdc.Range{ID: id.String(), Rows: int64(share * float64(l.rows)), Bytes: int64(share * float64(l.bytes))})
	}
	return out
}

// rangeID is the meaning of a range's text: blocks from <= b < to of a leaf;
// to is 0 for the end of the table.
type rangeID struct {
	leaf     uint32
	from, to int64
	whole    bool
}

// String is "16385:0-4096", "16385:4096-" or "16385:all".
func (r rangeID) String() string {
	switch {
	case r.whole:
		return fmt.Sprintf("%d:all", r.leaf)
	case r.to == 0:
		return fmt.Sprintf("%d:%d-", r.leaf, r.from)
	}
	return fmt.Sprintf("%d:%d-%d", r.leaf, r.from, r.to)
}

func parseRangeID(s string) (r rangeID, err error) {
	bad := fmt.Errorf("reading the range %q: it is not one of this source's", s)
	table, blocks, ok := strings.Cut(s, ":")
	oid, err := strconv.ParseUint(table, 10, 32)
	if !ok || err != nil {
		return r, bad
	}
	r.leaf = uint32(oid)
	if blocks == "all" {
		r.whole = true
		return r, nil
	}
	from, to, ok := strings.Cut(blocks, "-")
	if r.from, err = strconv.ParseInt(from, 10, 64); !ok || err != nil || r.from < 0 {
		return r, bad
	}
	if to != "" {
		if r.to, err = strconv.ParseInt(to, 10, 64); err != nil || r.to <= r.from {
			return r, bad
		}
	}
	return r, nil
}

// writeColumns lists a table's columns for COPY. One whose binary form we
// cannot read is sent as the text that its type's output function prints: that
// is what format() gives, while a cast to text is another function for some
// types. IS DISTINCT FROM is there because a row of nulls IS NULL.
func writeColumns(b *strings.Builder, t *tableInfo) {
	for i, c := range t.rel.Columns {
		if i > 0 {
			b.WriteString(", ")
		}
		name := quoteIdent(c.Name)
		if copyBinary(t.cols[i]) {
			b.WriteString(name)
		} else {
			fmt.Fprintf(b, "CASE WHEN %s IS DISTINCT FROM NULL THEN pg_catalog.format('%%s', %s) END", name, name)
		}
	}
}

// copySQL reads a range, of the rows for which a condition holds; "" for all.
func (p *tablePlan) copySQL(l *leaf, r rangeID, condition string) string {
	var b strings.Builder
	b.WriteString("COPY (SELECT ")
	writeColumns(&b, p.info)
	b.WriteString(" FROM ONLY " + l.sql)
	var where []string
	if !r.whole {
		where = append(where, fmt.Sprintf("ctid >= '(%d,0)'::pg_catalog.tid", r.from))
		if r.to > 0 {
			where = append(where, fmt.Sprintf("ctid < '(%d,0)'::pg_catalog.tid", r.to))
		}
	}
	if p.info.filter != "" { // the rows that the stream has
		where = append(where, "("+p.info.filter+")")
	}
	if condition != "" {
		where = append(where, "("+condition+")")
	}
	if len(where) > 0 {
		b.WriteString(" WHERE " + strings.Join(where, " AND "))
	}
	b.WriteString(") TO STDOUT (FORMAT binary)")
	return b.String()
}
