package mask

import (
	"regexp"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/cdc"
)

// batch gives what is shown of a batch, whose memory it takes over.
func (p *plan) batch(b *cdc.Batch) *cdc.Batch {
	if p == nil {
		return b
	}
	out := &cdc.Batch{Relation: p.rel, Ops: b.Ops, Seqs: b.Seqs, Txns: b.Txns}
	exact := p.exact(b, out)
	arrays := make([]arrow.Array, len(p.cols))
	for i := range p.cols {
		by := &p.cols[i]
		if by.mask == nil {
			arrays[i] = b.Rows.Column(by.from)
			arrays[i].Retain()
			continue
		}
		arrays[i] = p.column(by, b.Rows.Column(by.from), exact[by.from])
	}
	out.Rows = array.NewRecordBatch(p.rel.Arrow(), arrays, int64(b.Len()))
	for _, a := range arrays {
		a.Release()
	}
	if b.Unchanged != nil {
		out.Unchanged = make([][]int32, len(p.cols))
		for i, by := range p.cols {
			if by.mask == nil || by.mask.Kind != Null {
				out.Unchanged[i] = b.Unchanged[by.from]
			}
		}
	}
	p.faults(b, out)
	b.Release()
	return out
}

// exact gives out the exact texts of columns that are as they are, and returns
// those of the others, by column and row: they are values, and masked as such.
func (p *plan) exact(b, out *cdc.Batch) map[int]map[int]string {
	if len(b.Exact) == 0 {
		return nil
	}
	place := make(map[int]int, len(p.cols))
	for i, by := range p.cols {
		place[by.from] = i
	}
	masked := map[int]map[int]string{}
	for _, e := range b.Exact {
		i, shown := place[e.Col]
		switch {
		case !shown:
		case p.cols[i].mask == nil:
			out.Exact = append(out.Exact, cdc.Exact{Row: e.Row, Col: i, Text: e.Text})
		default:
			if masked[e.Col] == nil {
				masked[e.Col] = map[int]string{}
			}
			masked[e.Col][e.Row] = e.Text
		}
	}
	return masked
}

// faults gives out the batch's faults but those about a value of a column that
// is masked: what its type cannot hold its mask can.
func (p *plan) faults(b, out *cdc.Batch) {
	if p.problem != nil {
		out.Faults = append(out.Faults, cdc.Fault{Reason: p.problem.Error(), Remedy: p.problem.Remedy, Resync: p.problem.Lost})
	}
	for _, f := range b.Faults {
		if f.Column == "" || !p.hidden[f.Column] {
			out.Faults = append(out.Faults, f)
		}
	}
}

// column masks the values of a column that is not dropped, of which some may be
// null with an exact text.
func (p *plan) column(by *planned, from arrow.Array, exact map[int]string) arrow.Array {
	n := from.Len()
	if by.mask.Kind == Null {
		return array.MakeArrayOfNull(memory.DefaultAllocator, from.DataType(), n)
	}
	to := array.NewStringBuilder(memory.DefaultAllocator)
	defer to.Release()
	to.Reserve(n)
	mask := p.masker(by)
	var text []byte
	for row := range n {
		switch e, is := exact[row]; {
		case is:
			text = append(text[:0], e...)
		case from.IsNull(row):
			to.AppendNull()
			continue
		default:
			text = appendText(text[:0], from, row)
		}
		to.BinaryBuilder.Append(mask(text))
	}
	return to.NewStringArray()
}

// Values masks values that were not masked when they were read, of which some may
// be null with an exact text; nil where they have no text that could be masked. A
// column that is dropped has none.
func (m Mask) Values(salt *Salt, from arrow.Array, exact map[int]string) arrow.Array {
	by := &planned{mask: &m}
	switch {
	case m.Kind == Null:
	case !textable(from.DataType()) || m.Kind == Drop || m.Kind == Hash && salt == nil:
		return nil
	case m.Kind == Regex:
		by.expr = regexp.MustCompile(m.Pattern) // it was validated
	}
	return (&plan{salt: salt}).column(by, from, exact)
}

// masker gives what masks one text after the other. What it gives is valid
// until its next call.
func (p *plan) masker(by *planned) func([]byte) []byte {
	switch by.mask.Kind {
	case Hash:
		return newHasher(p.salt).of
	case Truncate:
		return func(text []byte) []byte { return firstCharacters(text, by.mask.Length) }
	case Regex:
		replacement := []byte(by.mask.Replacement)
		return func(text []byte) []byte { return by.expr.ReplaceAll(text, replacement) }
	}
	panic("the mask " + by.mask.String() + " has no value")
}

// firstCharacters cuts a text after n characters.
func firstCharacters(text []byte, n int) []byte {
	at := 0
	for ; n > 0 && at < len(text); n-- {
		_, size := utf8.DecodeRune(text[at:])
		at += size
	}
	return text[:at]
}
