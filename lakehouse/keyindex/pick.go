package keyindex

// When a partition's segments are merged is decided by their sizes alone.
//
// Newer segments are merged among themselves when at least four of them
// follow each other and none outweighs a third of all: each entry is written
// again once for every fourfold growth. All of a partition is merged once the
// newer segments outweigh a quarter of the oldest: then entries that were
// replaced or are gone leave the disk, which so holds at most a quarter more
// than it need.
const (
	mergeWidth    = 4
	mergeShare    = 3
	mergeBaseRate = 4
)

// pickMerge says how many of a partition's newest segments should be merged
// into one, given their sizes, newest first; 0: none. urgency orders the
// partitions that have something to merge.
func pickMerge(sizes []int64) (n int, urgency int) {
	if len(sizes) < 2 {
		return 0, 0
	}
	var sum int64
	for _, s := range sizes[:len(sizes)-1] {
		sum += s
	}
	if base := sizes[len(sizes)-1]; sum*mergeBaseRate >= base {
		return len(sizes), len(sizes)
	}
	var acc, most int64
	for i, s := range sizes {
		acc += s
		most = max(most, s)
		if i+1 >= mergeWidth && most*mergeShare <= acc {
			n = i + 1
		}
	}
	if n == 0 && len(sizes) > maxSegments/2 {
		n = len(sizes) - 1 // sizes that grow just too fast for the rule above
	}
	return n, len(sizes)
}
