package compaction

import (
	"cmp"
	"iter"
	"slices"

	"github.com/lakeload/lakeload/tablefmt"
)

// PackOptions says which files are worth packing. The zero value is good.
type PackOptions struct {
	// TargetSize is the size in bytes from which a file is left alone, and
	// which a packed file does not much exceed; 0 is 8 MiB.
	TargetSize int64
	// MinFiles is the least number of files that is worth a rewrite; 0 is 2.
	MinFiles int
}

func (o *PackOptions) ensureDefaults() {
	if o.TargetSize <= 0 {
		o.TargetSize = 8 << 20
	}
	o.MinFiles = max(o.MinFiles, 2)
}

// Plan names files that are to become one.
type Plan struct {
	Files []*tablefmt.AddFile // in the order of their paths
	Bytes int64
}

// PlanPack chooses small files of a table, the smallest first, that make one
// file of the target size. An empty plan says that nothing is worth doing. It
// is pure.
func PlanPack(files iter.Seq[*tablefmt.AddFile], o PackOptions) Plan {
	o.ensureDefaults()
	var small []*tablefmt.AddFile
	for f := range files {
		if f.Size < o.TargetSize {
			small = append(small, f)
		}
	}
	slices.SortFunc(small, func(a, b *tablefmt.AddFile) int {
		return cmp.Or(cmp.Compare(a.Size, b.Size), cmp.Compare(a.Path, b.Path))
	})
	var p Plan
	for _, f := range small {
		if p.Bytes+f.Size > o.TargetSize {
			break
		}
		p.Files, p.Bytes = append(p.Files, f), p.Bytes+f.Size
	}
	if len(p.Files) < o.MinFiles {
		return Plan{}
	}
	slices.SortFunc(p.Files, func(a, b *tablefmt.AddFile) int { return cmp.Compare(a.Path, b.Path) })
	return p
}
