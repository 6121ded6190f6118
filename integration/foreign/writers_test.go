package foreign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// theirWriter appends rows, and every tenth time deletes one of its own again,
// until it has made n commits. It tells of each commit when it was begun and
// done, and which row came or went.
const theirWriter = `
import time
path, who, n = args["path"], args["who"], args["n"]
result, at, made = [], 0, 0
while made < n:
    begun = time.time_ns()
    for attempt in range(500):
        try:
            t = deltalake.DeltaTable(path)
            note = deltalake.CommitProperties(custom_metadata={"who": f"{who}/{made}"}, max_commit_retries=100)
            if made % 10 == 9:
                row = who * 1000000 + at - 3
                t.delete(f"id = {row}", commit_properties=note)
            else:
                row = who * 1000000 + at
                deltalake.write_deltalake(t, pa.table({"id": pa.array([row], pa.int64())}), mode="append", commit_properties=note)
            break
        except Exception as e:
            if attempt == 499 or "ommit" not in str(e) and "onflict" not in str(e):
                raise
    result.append([f"{who}/{made}", str(begun), str(time.time_ns()), str(-row if made % 10 == 9 else row)])
    at += made % 10 != 9
    made += 1
`

// written is one commit of a writer.
type written struct {
	id          string // of the commit: writer/number
	begun, done int64  // ns
	row         int64  // that came; negative: that went; 0: none
	version     int64
}

// TestWritersOfTwoPrograms has eight writers, four of them delta-rs's, commit to
// one table at the same time: appends, deletes and rewrites. The history must be
// one line that agrees with the clock (a commit that was done before another was
// begun has the lower version, which for a log of appends is what linearizable
// means), and every row is there once, if it was not deleted.
func TestWritersOfTwoPrograms(t *testing.T) {
	ctx := t.Context()
	const each, writers = 63, 4
	path := filepath.Join(t.TempDir(), "t")
	store, err := objstore.NewLocal(path)
	require.NoError(t, err)
	loc := tablefmt.Location{Data: store}
	tx := tablefmt.Begin(loc, nil)
	schema := &tablefmt.Schema{Fields: []tablefmt.Field{{Name: "id", Type: tablefmt.Long, Nullable: true}}}
	tx.SetProtocol(&tablefmt.Protocol{MinReaderVersion: 1, MinWriterVersion: 2})
	tx.SetMetadata(&tablefmt.Metadata{SchemaString: schema.JSON()})
	first, err := tx.Commit(ctx)
	require.NoError(t, err)

	var mu sync.Mutex
	var all []written
	var wg sync.WaitGroup
	failed := make([]error, 2*writers)
	for w := range writers {
		wg.Go(func() {
			list, err := ourWriter(ctx, first, w+1, each)
			mu.Lock()
			defer mu.Unlock()
			all, failed[w] = append(all, list...), err
		})
		theirs, err := readers.Open(ctx, readers.DeltaRS)
		require.NoError(t, err)
		defer func() { require.NoError(t, theirs.Close()) }()
		wg.Go(func() {
			rows, err := theirs.Python(ctx, theirWriter, map[string]any{"path": path, "who": writers + w + 1, "n": each})
			mu.Lock()
			defer mu.Unlock()
			failed[writers+w] = err
			for _, r := range rows {
				all = append(all, written{id: r[0], begun: number(r[1]), done: number(r[2]), row: number(r[3])})
			}
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(failed...))
	require.Len(t, all, 2*writers*each)

	// Each commit is in the log once.
	history, err := tablefmt.History(ctx, loc, 0)
	require.NoError(t, err)
	require.Len(t, history, len(all)+1)
	versions := map[string]int64{}
	for _, h := range history[:len(all)] {
		id := h.Info.UserMetadata
		if id == "" { // delta-rs puts what it is told beside the other entries
			id = theirID(t, ctx, store, h.Version)
		}
		require.NotContains(t, versions, id)
		versions[id] = h.Version
	}
	want := map[string]bool{}
	for i := range all {
		v, ok := versions[all[i].id]
		require.True(t, ok, all[i].id)
		all[i].version = v
		switch row := all[i].row; {
		case row > 0:
			require.False(t, want[strconv.FormatInt(row, 10)])
			want[strconv.FormatInt(row, 10)] = true
		}
	}
	for i := range all {
		if all[i].row < 0 {
			delete(want, strconv.FormatInt(-all[i].row, 10))
		}
	}
	// Before any commit only those have a greater version that were not done when
	// it began.
	slices.SortFunc(all, func(x, y written) int { return int(x.version - y.version) })
	least := int64(1) << 62 // when the first of the later ones was done
	for i := len(all) - 1; i >= 0; i-- {
		require.Greater(t, least, all[i].begun, "version %d was begun after a later one was done", all[i].version)
		least = min(least, all[i].done)
	}
	duck := readers.Get(t, readers.DuckDB)
	rows, err := duck.Rows(ctx, path, nil, []string{"id"})
	require.NoError(t, err)
	var expected [][]string
	for id := range want {
		expected = append(expected, []string{id})
	}
	readers.Same(t, rows, expected)
	_, err = tablefmt.Check(ctx, loc, tablefmt.CheckOptions{Rows: true}, func(f tablefmt.Fault) error { return errors.New(f.String()) })
	require.NoError(t, err)
}

func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64) // what our own Python printed
	return n
}

// theirID finds what delta-rs was told to note with a commit.
func theirID(t *testing.T, ctx context.Context, store objstore.Store, version int64) string {
	data, err := store.Get(ctx, fmt.Sprintf("_delta_log/%020d.json", version))
	require.NoError(t, err)
	for line := range strings.Lines(string(data)) {
		var a struct {
			CommitInfo struct {
				Who string `json:"who"`
			} `json:"commitInfo"`
		}
		if json.Unmarshal([]byte(line), &a) == nil && a.CommitInfo.Who != "" {
			return a.CommitInfo.Who
		}
	}
	t.Fatalf("version %d is nobody's:\n%s", version, data)
	return ""
}

// ourWriter appends rows, every tenth time deletes one again by taking its file
// out, and every seventh time puts files of its own together.
func ourWriter(ctx context.Context, s *tablefmt.Snapshot, who, n int) (list []written, err error) {
	var mine []string // paths of its files of one row each, in order
	next := int64(who) * 1_000_000
	rowOf := map[string]int64{}
	for made := range n {
		w := written{id: fmt.Sprintf("%d/%d", who, made), begun: time.Now().UnixNano()}
		var tx *tablefmt.Transaction
		for tries := 0; ; tries++ {
			tx = tablefmt.Begin(s.Location(), s)
			tx.SetUserMetadata(w.id)
			switch {
			case made%10 == 9:
				f, ok := s.File(mine[0])
				if !ok {
					return nil, fmt.Errorf("%s: the file %s is gone", w.id, mine[0])
				}
				tx.Remove(*f.Remove(time.Now().UnixMilli(), true))
				w.row = -rowOf[mine[0]]
			case made%7 == 6:
				var ids []int64
				for _, p := range mine[len(mine)-2:] {
					f, ok := s.File(p)
					if !ok {
						return nil, fmt.Errorf("%s: the file %s is gone", w.id, p)
					}
					tx.Remove(*f.Remove(time.Now().UnixMilli(), false))
					ids = append(ids, rowOf[p])
				}
				add, err := file(ctx, s, ids...)
				if err != nil {
					return nil, err
				}
				add.DataChange = false
				tx.Add(*add)
			default:
				add, err := file(ctx, s, next)
				if err != nil {
					return nil, err
				}
				tx.Add(*add)
				w.row = next
				rowOf[add.Path] = next
				if tries > 0 {
					mine = mine[:len(mine)-1]
				}
				mine = append(mine, add.Path)
			}
			now, err := tx.Commit(ctx)
			if err == nil {
				s = now
				break
			}
			if !errors.Is(err, tablefmt.ErrConflict) || tries > 100 {
				return nil, fmt.Errorf("%s: %w", w.id, err)
			}
			if s, err = tablefmt.Load(ctx, s.Location()); err != nil {
				return nil, err
			}
		}
		switch {
		case made%10 == 9:
			mine = mine[1:]
		case made%7 == 6:
			mine = mine[:len(mine)-2]
		default:
			next++
		}
		w.done = time.Now().UnixNano()
		list = append(list, w)
	}
	return list, nil
}

func file(ctx context.Context, s *tablefmt.Snapshot, ids ...int64) (*tablefmt.AddFile, error) {
	w, err := tablefmt.NewFileWriter(ctx, s.Location(), s.DataArrow(), tablefmt.FileOptions{})
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	b := array.NewRecordBuilder(memory.DefaultAllocator, s.DataArrow())
	defer b.Release()
	b.Field(0).(*array.Int64Builder).AppendValues(ids, nil)
	rec := b.NewRecordBatch()
	defer rec.Release()
	if _, err := w.Write(arrow.RecordBatch(rec)); err != nil {
		return nil, err
	}
	return w.Close()
}
