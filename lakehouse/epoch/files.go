package epoch

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/lakeload/lakeload/compaction"
	"github.com/lakeload/lakeload/tablefmt"
)

// file is a file of the record, with what its statistics say of its records.
type file struct {
	add      *tablefmt.AddFile
	seq      bounds
	number   bounds
	position bounds // of its epochs; with keyed alone
	keyed    bool   // it has positions as numbers
	epochs   bool   // it may hold an epoch; with keyed alone it is known that it holds none
	rows     int64
	asOf     time.Time // no epoch's asOf is later; zero: not known
	recorded time.Time // likewise of all records
}

// bounds are the least and the greatest of some numbers. Where nothing is known
// they hold all.
type bounds struct{ min, max int64 }

// filesOf gives the files of the record in the order of their first records.
// Those of older programs may overlap.
func filesOf(snap *tablefmt.Snapshot) []file {
	files := make([]file, 0, snap.NumFiles())
	for a := range snap.Files() {
		files = append(files, fileOf(a))
	}
	slices.SortFunc(files, func(a, b file) int {
		return cmp.Or(cmp.Compare(a.seq.min, b.seq.min), cmp.Compare(a.seq.max, b.seq.max), cmp.Compare(a.add.Path, b.add.Path))
	})
	return files
}

// statistics are what is asked of a file's: less than there is, as an engine
// that opens asks every file.
type statistics struct {
	Rows  int64 `json:"numRecords"`
	Least struct {
		Seq      *int64 `json:"seq"`
		Number   *int64 `json:"epoch"`
		Position *int64 `json:"position"`
	} `json:"minValues"`
	Greatest struct {
		Seq      *int64 `json:"seq"`
		Number   *int64 `json:"epoch"`
		Position *int64 `json:"position"`
		Commit   string `json:"commit_time"`
		Recorded string `json:"recorded"`
	} `json:"maxValues"`
	Nulls struct {
		Commit   *int64 `json:"commit_time"`
		Position *int64 `json:"position"`
		Since    *int64 `json:"since"`
	} `json:"nullCount"`
}

func fileOf(a *tablefmt.AddFile) file {
	var st statistics
	if json.Unmarshal([]byte(a.Stats), &st) != nil {
		st = statistics{} // nothing is known
	}
	f := file{
		add: a, rows: st.Rows,
		seq:      boundsOf(st.Least.Seq, st.Greatest.Seq),
		number:   boundsOf(st.Least.Number, st.Greatest.Number),
		position: boundsOf(st.Least.Position, st.Greatest.Position),
		keyed:    is(st.Nulls.Since, 0),
		epochs:   !is(st.Nulls.Position, st.Rows),
		asOf:     timeOf(st.Greatest.Commit), recorded: timeOf(st.Greatest.Recorded),
	}
	if !is(st.Nulls.Commit, 0) && f.recorded.After(f.asOf) {
		f.asOf = f.recorded
	}
	return f
}

func boundsOf(least, greatest *int64) bounds {
	if least == nil || greatest == nil {
		return bounds{math.MinInt64, math.MaxInt64}
	}
	return bounds{*least, *greatest}
}

func is(v *int64, want int64) bool { return v != nil && *v == want }

func timeOf(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// fullBefore is the last record up to seq that is sure to be full, or before
// the first.
func fullBefore(seq int64) int64 { return seq / FullEvery * FullEvery }

// tiers are the lengths in records of packed files. One begins at a multiple of
// its length, so that a file of the second or the third tier begins at a full
// record, and is written once a tier. Longer ones would make finding dearer, of
// which the greater part is to read the keys of one file; shorter ones opening,
// by the number of files.
var tiers = []int64{FullEvery / 10, FullEvery, 8 * FullEvery}

// The bounds of one packing: files and their bytes.
const (
	packFiles = 2 * FullEvery
	packBytes = 8 << 20
)

// planPack chooses files that are to become one: those of the oldest, longest
// stretch that is complete and fits the bounds. An empty plan says that nothing
// is worth doing. last is the last record. It is pure.
func planPack(files []file, last int64) compaction.Plan {
	for _, length := range slices.Backward(tiers) {
		var p compaction.Plan
		block, whole := int64(-1), true
		for _, f := range files {
			at := f.seq.min / length
			if f.seq.min < 0 || f.seq.max/length != at || (at+1)*length-1 > last {
				continue // its records are not known, it is longer, or more are to come
			}
			if at != block {
				if whole && len(p.Files) > 1 {
					break
				}
				p, block, whole = compaction.Plan{}, at, true
			}
			p.Files, p.Bytes = append(p.Files, f.add), p.Bytes+f.add.Size
			whole = whole && len(p.Files) <= packFiles && p.Bytes <= packBytes
		}
		if whole && len(p.Files) > 1 {
			return p
		}
	}
	return compaction.Plan{}
}

// planExpiry chooses the files of which no record is needed any more: all were
// recorded before a time, and come before the last full one at or before the
// oldest that stays. Whatever its age, the last record stays. It is pure.
func planExpiry(files []file, last int64, before time.Time) []*tablefmt.AddFile {
	stays := last
	old := func(f *file) bool { return !f.recorded.IsZero() && f.recorded.Before(before) }
	for i := range files {
		if !old(&files[i]) {
			stays = min(stays, files[i].seq.min)
		}
	}
	var gone []*tablefmt.AddFile
	for i := range files {
		if old(&files[i]) && files[i].seq.max < fullBefore(max(stays, 0)) {
			gone = append(gone, files[i].add)
		}
	}
	return gone
}
