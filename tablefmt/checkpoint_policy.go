package tablefmt

import (
	"strconv"
	"sync"
)

// CheckpointPolicy says when a checkpoint is worth its price. The zero value
// is the default. It is pure: Due decides, [MaybeCheckpoint] does.
//
// A reader that opens the table reads the newest checkpoint and every commit
// after it; a writer that checkpoints writes the whole state anew. So the
// commits since the last checkpoint are weighed against its size, and a table
// of a million files is not written anew every ten commits.
type CheckpointPolicy struct {
	// MinCommits is the least number of commits between checkpoints; 0 is the
	// table's delta.checkpointInterval, or 100 where it is not set.
	MinCommits int64
	// Share is how great the commits since the last checkpoint must be, as a
	// share of its bytes; 0 is 0.5, by which checkpoints cost at most twice
	// the bytes that the commits themselves do.
	Share float64
	// RequestBytes is what opening one commit file costs a reader, in bytes
	// that it could have read instead; 0 is 64 KiB.
	RequestBytes int64
}

// CheckpointLoad is what a checkpoint would spare the next reader.
type CheckpointLoad struct {
	Commits         int64 // since the last checkpoint, or since the table's creation
	CommitBytes     int64 // of their files
	CheckpointBytes int64 // of the last checkpoint, 0 for none
}

// Due reports whether a checkpoint is due.
func (p CheckpointPolicy) Due(l CheckpointLoad) bool {
	if p.MinCommits == 0 {
		p.MinCommits = 100
	}
	if p.Share == 0 {
		p.Share = 0.5
	}
	if p.RequestBytes == 0 {
		p.RequestBytes = 64 << 10
	}
	enough := p.Share * float64(l.CheckpointBytes)
	switch {
	case l.Commits < p.MinCommits:
		return false
	case float64(l.CommitBytes) >= enough:
		return true
	}
	return float64(l.CommitBytes+l.Commits*p.RequestBytes) >= enough && l.Commits*l.Commits >= l.CheckpointBytes/actionBytes
}

// actionBytes is about what an action takes in a checkpoint. To write one costs
// a tenth of reading a commit, or less. So what a checkpoint costs the writer,
// shared out to the commits since the last one, and what they cost a reader
// are together least where their number is near the square root of that of
// the actions. A mirror that marks rows every second has millions of them: not
// of files, but of what has been replaced within a week.
const actionBytes = 25

// forTable fills MinCommits from the table's property.
func (p CheckpointPolicy) forTable(m *Metadata) CheckpointPolicy {
	if n, err := strconv.ParseInt(m.Property("delta.checkpointInterval"), 10, 64); err == nil && n > 0 && p.MinCommits == 0 {
		p.MinCommits = n
	}
	return p
}

// CheckpointLoad tells how much log there is since the last checkpoint that
// this process loaded, wrote or noticed.
func (s *Snapshot) CheckpointLoad() CheckpointLoad { return s.st.tail.load(s.st.version) }

// tail counts a log's growth. Snapshots that were made out of one another
// share the mark of the last checkpoint, so that one written at an older
// snapshot while commits went on counts for the newer ones too.
type tail struct {
	bytes int64 // of all commits read or written since the first snapshot
	mark  *mark
}

type mark struct {
	mu         sync.Mutex
	version    int64 // of the last checkpoint, -1 for none
	bytes      int64 // tail.bytes at that version
	checkpoint int64 // its size
	cleaning   cleaning
}

func newTail() tail { return tail{mark: &mark{version: -1}} }

func (t tail) grow(size int) tail { return tail{bytes: t.bytes + int64(size), mark: t.mark} }

// set records a checkpoint of a version at which the tail was t.
func (t tail) set(version, checkpointBytes int64) {
	t.mark.mu.Lock()
	defer t.mark.mu.Unlock()
	if version > t.mark.version {
		t.mark.version, t.mark.bytes, t.mark.checkpoint = version, t.bytes, checkpointBytes
	}
}

// at is the version of the last checkpoint that is known, -1 for none.
func (m *mark) at() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.version
}

func (t tail) load(version int64) CheckpointLoad {
	t.mark.mu.Lock()
	defer t.mark.mu.Unlock()
	return CheckpointLoad{
		Commits:         max(version-t.mark.version, 0),
		CommitBytes:     max(t.bytes-t.mark.bytes, 0),
		CheckpointBytes: t.mark.checkpoint,
	}
}
