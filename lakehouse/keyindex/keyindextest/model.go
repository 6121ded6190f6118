package keyindextest

import (
	"context"
	"maps"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lakeload/lakeload/lakehouse/keyindex"
)

// model is what an index should hold.
type model struct {
	t    *rapid.T
	f    Factory
	dir  string
	ix   keyindex.Index
	c    keyindex.Change // nil: none
	next int64           // version of the next commit
	at   keyindex.Stamp
	file keyindex.FileID
	have map[uint64]keyindex.Loc // committed
	put  map[uint64]keyindex.Loc // by the change
}

// keys are drawn from few, so that they meet again; a batch of many makes
// the index spill and merge.
func (m *model) key() uint64 {
	n := rapid.Uint64Range(0, 4000).Draw(m.t, "key")
	if n < 300 {
		return n + 1<<62
	}
	return n
}

func (m *model) begin() {
	if m.c == nil {
		m.c = m.ix.Change()
		m.put = map[uint64]keyindex.Loc{}
	}
}

func (m *model) putSome(t *rapid.T) {
	m.begin()
	var es []keyindex.Entry
	add := func(k uint64, gone bool) {
		l := keyindex.Loc{File: m.file, Row: rapid.Uint32().Draw(t, "row")}
		if gone {
			l = keyindex.Loc{}
		}
		m.put[k] = l
		es = append(es, keyindex.Entry{Hash: Key(k), Loc: l})
	}
	for range rapid.IntRange(1, 20).Draw(t, "puts") {
		add(m.key(), rapid.Bool().Draw(t, "gone"))
	}
	require.NoError(t, m.c.Put(context.Background(), es))
}

// putAlike puts keys whose hashes begin alike, more than a block of a run
// holds.
func (m *model) putAlike(t *rapid.T) {
	m.begin()
	row := rapid.Uint32().Draw(t, "row")
	var es []keyindex.Entry
	for k := range rapid.Uint64Range(100, 300).Draw(t, "n") {
		l := keyindex.Loc{File: m.file, Row: row + uint32(k)}
		m.put[k+1<<62] = l
		es = append(es, keyindex.Entry{Hash: Key(k + 1<<62), Loc: l})
	}
	require.NoError(t, m.c.Put(context.Background(), es))
}

func (m *model) putMany(t *rapid.T) {
	m.begin()
	from := rapid.Uint64Range(0, 3000).Draw(t, "from")
	n := rapid.Uint64Range(100, 1500).Draw(t, "n")
	row := rapid.Uint32().Draw(t, "row")
	every := rapid.Uint64Range(2, 9).Draw(t, "gone every")
	es := make([]keyindex.Entry, 0, n)
	for k := from; k < from+n; k++ {
		l := keyindex.Loc{File: m.file, Row: row + uint32(k)}
		if k%every == 0 {
			l = keyindex.Loc{}
		}
		m.put[k] = l
		es = append(es, keyindex.Entry{Hash: Key(k), Loc: l})
	}
	require.NoError(t, m.c.Put(context.Background(), es))
}

// putBatch commits a batch of the size that a mirror commits, too small for
// the least budget to spill it.
func (m *model) putBatch(t *rapid.T) {
	m.rollback(t)
	m.begin()
	from := rapid.Uint64Range(0, 4000).Draw(t, "from")
	step := rapid.Uint64Range(1, 5).Draw(t, "step")
	row := rapid.Uint32().Draw(t, "row")
	var es []keyindex.Entry
	for i := range rapid.Uint64Range(0, 240).Draw(t, "n") {
		k := (from + i*step) % 4500
		l := keyindex.Loc{File: m.file, Row: row}
		if (k+from)%11 == 0 {
			l = keyindex.Loc{}
		}
		m.put[k] = l
		es = append(es, keyindex.Entry{Hash: Key(k), Loc: l})
	}
	require.NoError(t, m.c.Put(context.Background(), es))
	m.commit(t)
}

func (m *model) commit(t *rapid.T) {
	m.begin()
	if rapid.IntRange(0, 9).Draw(t, "same stamp") > 0 {
		m.next++
		m.at = At(m.next)
	}
	require.NoError(t, m.c.Commit(context.Background(), m.at))
	maps.Copy(m.have, m.put)
	m.c, m.put = nil, nil
}

func (m *model) rollback(*rapid.T) {
	if m.c != nil {
		m.c.Rollback()
		m.c, m.put = nil, nil
	}
}

func (m *model) setMemory(t *rapid.T) {
	m.ix.SetMemory(rapid.SampledFrom([]int64{0, 100_000, 1 << 20, 8 << 20}).Draw(t, "memory"))
}

func (m *model) newFile(t *rapid.T) {
	m.file = m.ix.FileID(rapid.StringMatching("[a-z]{1,4}").Draw(t, "path"))
}

func (m *model) lookup(t *rapid.T) {
	var ks []uint64
	for range rapid.IntRange(1, 100).Draw(t, "lookups") {
		ks = append(ks, m.key())
	}
	m.check(t, ks)
}

// check looks keys up in the index and in the change.
func (m *model) check(t require.TestingT, ks []uint64) {
	hs := make([]keyindex.Hash, len(ks))
	for i, k := range ks {
		hs[i] = Key(k)
	}
	locs := make([]keyindex.Loc, len(ks))
	require.NoError(t, m.ix.Lookup(context.Background(), hs, locs))
	for i, k := range ks {
		if m.have[k] != locs[i] {
			require.Equal(t, m.have[k], locs[i], "key %d", k)
		}
	}
	if m.c == nil {
		return
	}
	require.NoError(t, m.c.Lookup(context.Background(), hs, locs))
	for i, k := range ks {
		want, ok := m.put[k]
		if !ok {
			want = m.have[k]
		}
		if want != locs[i] {
			require.Equal(t, want, locs[i], "key %d in the change", k)
		}
	}
}

func (m *model) checkAll(t require.TestingT) {
	var ks []uint64
	for k := range uint64(4600) {
		ks = append(ks, k)
	}
	for k := range uint64(300) {
		ks = append(ks, k+1<<62)
	}
	m.check(t, ks)
	require.Equal(t, m.at, m.ix.Stamp())
	var n int64
	for _, l := range m.have {
		if l.File != keyindex.NoFile {
			n++
		}
	}
	require.GreaterOrEqual(t, m.ix.Len(), n)
}

func (m *model) reopen(t *rapid.T) {
	m.rollback(t)
	require.NoError(t, m.ix.Close())
	if rapid.Bool().Draw(t, "a wrong stamp first") {
		_, err := m.f.Open(context.Background(), m.dir, At(m.next+1))
		require.ErrorIs(t, err, keyindex.ErrUnfit)
	}
	var err error
	m.ix, err = m.f.Open(context.Background(), m.dir, m.at)
	require.NoError(t, err)
	m.checkAll(t)
}

func runModel(t *testing.T, f Factory) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "keyindex")
		require.NoError(t, err)
		defer os.RemoveAll(dir)
		ix, err := f.Create(context.Background(), dir)
		require.NoError(t, err)
		m := &model{t: t, f: f, dir: dir, ix: ix, file: ix.FileID("first"), have: map[uint64]keyindex.Loc{}}
		defer func() {
			m.rollback(nil)
			require.NoError(t, m.ix.Close())
		}()
		actions := map[string]func(*rapid.T){
			"put some": m.putSome,
			"put many": m.putMany,
			"alike":    m.putAlike,
			"batch":    m.putBatch,
			"batch 2":  m.putBatch,
			"lookup":   m.lookup,
			"commit":   m.commit,
			"rollback": m.rollback,
			"new file": m.newFile,
			"memory":   m.setMemory,
		}
		if f.Open != nil {
			actions["reopen"] = m.reopen
		}
		t.Repeat(actions)
		m.checkAll(t)
	})
}

// runReaders looks up beside a writer: each lookup shows one commit's state,
// all keys of it, and never an older one than the lookup before.
func runReaders(t *testing.T, f Factory) {
	ctx := context.Background()
	ix, err := f.Create(ctx, t.TempDir())
	require.NoError(t, err)
	const keys, commits = 700, 60
	hs := make([]keyindex.Hash, keys)
	for k := range hs {
		hs[k] = Key(uint64(k))
	}
	file := ix.FileID("f")
	done := make(chan struct{})
	failed := make(chan string, 1)
	reader := func() string {
		last := uint32(0)
		for {
			locs := make([]keyindex.Loc, keys)
			if err := ix.Lookup(ctx, hs, locs); err != nil {
				return err.Error()
			}
			for _, l := range locs {
				if l.Row != locs[0].Row || l.Row < last {
					return "a lookup shows parts of two states, or an older one"
				}
			}
			last = locs[0].Row
			select {
			case <-done:
				return ""
			default:
			}
		}
	}
	go func() { failed <- reader() }()
	for n := uint32(1); n <= commits; n++ {
		es := make([]keyindex.Entry, 0, keys)
		for k := range uint64(keys) {
			es = append(es, entry(k, file, n))
		}
		commit(t, ix, At(int64(n)), es...)
	}
	close(done)
	require.Empty(t, <-failed)
	require.NoError(t, ix.Close())
}
