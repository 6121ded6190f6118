package metrics

import (
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/lakehouse/keyindex"
)

// byName are the figures of tables, in their order, those of one name as one:
// the source may have dropped a table and made another in its place. The phase is
// that of the one that is followed. It is pure.
func byName(tables []lakehouse.TableStats) (out []lakehouse.TableStats) {
	at := make(map[string]int, len(tables))
	for i := range tables {
		t := tables[i]
		j, seen := at[t.Name]
		if !seen {
			at[t.Name] = len(out)
			out = append(out, t)
			continue
		}
		both := summed([]lakehouse.TableStats{out[j], t})
		both.Name, both.Phase = t.Name, t.Phase
		if t.Phase == lakehouse.PhaseDetached {
			both.Phase = out[j].Phase
		}
		out[j] = both
	}
	return out
}

// summed are the figures of several tables as one, without name and phase. It is
// pure.
func summed(tables []lakehouse.TableStats) (sum lakehouse.TableStats) {
	for i := range tables {
		t := &tables[i]
		sum.Inserts, sum.Updates, sum.Deletes, sum.Truncates = sum.Inserts+t.Inserts, sum.Updates+t.Updates, sum.Deletes+t.Deletes, sum.Truncates+t.Truncates
		sum.Files, sum.FileBytes, sum.Vectors, sum.VectorBytes = sum.Files+t.Files, sum.FileBytes+t.FileBytes, sum.Vectors+t.Vectors, sum.VectorBytes+t.VectorBytes
		if x := t.Index; x != nil {
			if sum.Index == nil {
				sum.Index = &keyindex.Stats{}
			}
			y := sum.Index
			y.Keys, y.Memory, y.Disk, y.Lookups, y.Merges = y.Keys+x.Keys, y.Memory+x.Memory, y.Disk+x.Disk, y.Lookups+x.Lookups, y.Merges+x.Merges
		}
		if c := t.Copy; c != nil {
			if sum.Copy == nil {
				sum.Copy = &lakehouse.CopyStats{}
			}
			d := sum.Copy
			d.Ranges, d.RangesDone, d.Rows, d.RowsEstimate = d.Ranges+c.Ranges, d.RangesDone+c.RangesDone, d.Rows+c.Rows, d.RowsEstimate+c.RowsEstimate
		}
	}
	return sum
}
