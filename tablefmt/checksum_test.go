package tablefmt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

func localTable(t *testing.T) Location {
	t.Helper()
	store, err := objstore.NewLocal(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	return Location{Data: store}
}

func checksumOf(t *testing.T, loc Location, v int64) map[string]any {
	t.Helper()
	data, err := loc.log().Get(context.Background(), checksumName(v))
	require.NoError(t, err)
	var got map[string]any
	require.NoError(t, json.Unmarshal(data, &got))
	return got
}

func TestChecksums(t *testing.T) {
	ctx := context.Background()
	loc := localTable(t)
	s := busyTable(t, loc, 0)
	tx := Begin(loc, s)
	md := s.Metadata().Clone()
	md.Configuration[PropChecksums] = "true"
	tx.SetMetadata(md)
	s = keepBusy(t, must(tx.Commit(ctx)), 6)
	tx = Begin(loc, s)
	tx.SetTxn("b", 1)
	tx.SetTxn("a", 2)
	s = must(tx.Commit(ctx))
	require.NoError(t, Checkpoint(ctx, s))
	for v := range s.Version() + 1 {
		then := must(LoadAt(ctx, loc, v))
		got := checksumOf(t, loc, v)
		require.InDelta(t, then.Size(), got["tableSizeBytes"], 0)
		require.InDelta(t, then.NumFiles(), got["numFiles"], 0)
		require.Equal(t, then.CommitID(), got["txnId"])
		require.Equal(t, then.Metadata().SchemaString, got["metadata"].(map[string]any)["schemaString"])
		require.NotContains(t, got, "inCommitTimestampOpt")
		require.NotContains(t, got, "allFiles")
		require.IsType(t, []any{}, got["setTransactions"])
		require.IsType(t, []any{}, got["domainMetadata"])
	}
	report, _ := faultsOf(t, loc, CheckOptions{})
	require.Equal(t, report.Commits, report.Checksums)
	for _, f := range [][2]string{
		{`"numFiles":`, `"numFiles":1`},
		{`"appId":"a","version":2`, `"appId":"a","version":3`},
		{`"minReaderVersion":3`, `"minReaderVersion":2`},
		{`"tableSizeBytes":`, `"tableSizeBytes":9`},
		{`"numFiles"`, `numFiles`},
	} {
		data := must(loc.log().Get(ctx, checksumName(s.Version())))
		wrong := strings.Replace(string(data), f[0], f[1], 1)
		require.NotEqual(t, string(data), wrong, f)
		require.NoError(t, loc.log().Put(ctx, checksumName(s.Version()), []byte(wrong)))
		_, faults := faultsOf(t, loc, CheckOptions{})
		require.Contains(t, strings.Join(faults, "\n"), "wrong_checksum _delta_log/"+checksumName(s.Version()), f)
		require.Equal(t, whole(t, s), whole(t, must(Load(ctx, loc))), "nothing rests on it")
		require.NoError(t, loc.log().Put(ctx, checksumName(s.Version()), data))
	}
}

// TestChecksumsOfARacedVersion: what a commit comes to is known only after it
// has won, over others' commits.
func TestChecksumsOfARacedVersion(t *testing.T) {
	ctx := context.Background()
	loc := localTable(t)
	tx := Begin(loc, nil)
	tx.SetProtocol(MirrorProtocol(ProtocolOptions{}))
	tx.SetMetadata(&Metadata{SchemaString: idSchema.JSON(), Configuration: map[string]string{PropChecksums: "true"}})
	s := must(tx.Commit(ctx))
	for i := range 3 {
		other := Begin(loc, must(Load(ctx, loc)))
		other.Add(fakeAdd(fmt.Sprint("other", i), 1))
		must(other.Commit(ctx))
	}
	tx = Begin(loc, s)
	tx.Add(fakeAdd("mine", 1))
	got := must(tx.Commit(ctx))
	require.Equal(t, int64(4), got.Version())
	require.InDelta(t, 4, checksumOf(t, loc, 4)["numFiles"], 0)
	require.InDelta(t, got.Size(), checksumOf(t, loc, 4)["tableSizeBytes"], 0)
}

func TestChecksumsWhereTheyAreWanted(t *testing.T) {
	ctx := context.Background()
	count := func(loc Location) (n int) {
		for _, path := range listing(t, loc.log()) {
			if strings.HasSuffix(path, ".crc") {
				n++
			}
		}
		return n
	}
	make := func(loc Location, properties map[string]string) *Snapshot {
		tx := Begin(loc, nil)
		tx.SetProtocol(MirrorProtocol(ProtocolOptions{}))
		tx.SetMetadata(&Metadata{SchemaString: idSchema.JSON(), Configuration: properties})
		return must(tx.Commit(ctx))
	}
	for _, c := range []struct {
		local bool
		value string
		want  int
	}{{true, "", 1}, {true, "false", 0}, {true, "True", 1}, {false, "", 0}, {false, "true", 1}, {false, "FALSE", 0}} {
		loc := memoryTable()
		if c.local {
			loc = localTable(t)
		}
		make(loc, map[string]string{PropChecksums: c.value})
		require.Equal(t, c.want, count(loc), "%+v", c)
	}
	copying := localTable(t)
	copying.Log = must(objstore.NewLocal(t.TempDir()))
	make(copying, nil)
	require.Zero(t, count(copying))

	// One that is there stays, and one that cannot be written is no failure.
	loc := localTable(t)
	require.NoError(t, loc.log().Put(ctx, checksumName(0), []byte("theirs")))
	s := make(loc, map[string]string{PropChecksums: "true"})
	require.Equal(t, "theirs", string(must(loc.log().Get(ctx, checksumName(0)))))
	refused := 0
	failing := Location{Data: noChecksums{loc.Data, &refused}}
	tx := Begin(failing, s)
	tx.Add(fakeAdd("x", 1))
	_, err := tx.Commit(ctx)
	require.NoError(t, err)
	require.Equal(t, 1, count(loc))
	require.Equal(t, 1, refused)
	// Commits that come fast write none, but where they are told to.
	for _, c := range []struct {
		ago  time.Duration
		want bool
	}{{time.Hour, true}, {time.Minute, true}, {59 * time.Second, false}, {0, false}, {-time.Hour, false}} {
		now := time.Now()
		st := &state{metadata: &Metadata{}, info: &CommitInfo{Timestamp: now.UnixMilli()}}
		before := &CommitInfo{Timestamp: now.Add(-c.ago).UnixMilli()}
		require.Equal(t, c.want, loc.writesChecksum(st, before), c.ago)
		require.False(t, memoryTable().writesChecksum(st, before))
		require.True(t, loc.writesChecksum(st, nil))
		require.True(t, loc.writesChecksum(&state{metadata: &Metadata{Configuration: map[string]string{PropChecksums: "true"}}, info: st.info}, before))
	}
	fast := localTable(t)
	s = make(fast, nil)
	for i := range 3 {
		tx := Begin(fast, s)
		tx.Add(fakeAdd(fmt.Sprint(i), 1))
		s = must(tx.Commit(ctx))
	}
	require.Equal(t, 1, count(fast), "of the first version")
	// With in-commit timestamps that of the version stands in it; of many applications none do.
	loc = localTable(t)
	tx = Begin(loc, nil)
	p, err := MirrorProtocol(ProtocolOptions{}).With("inCommitTimestamp")
	require.NoError(t, err)
	tx.SetProtocol(p)
	tx.SetMetadata(&Metadata{SchemaString: idSchema.JSON(), Configuration: map[string]string{PropInCommitTimestamps: "true"}})
	for i := range mostInChecksum + 1 {
		tx.SetTxn(fmt.Sprint(i), 1)
	}
	s = must(tx.Commit(ctx))
	got := checksumOf(t, loc, 0)
	require.InDelta(t, *s.CommitInfo().InCommitTimestamp, got["inCommitTimestampOpt"], 0)
	require.NotContains(t, got, "setTransactions")
	require.Contains(t, got, "domainMetadata")
}

// noChecksums is a store that takes no checksums.
type noChecksums struct {
	objstore.Store
	refused *int
}

func (n noChecksums) PutIfAbsent(ctx context.Context, path string, data []byte) error {
	if strings.HasSuffix(path, ".crc") {
		*n.refused++
		return errors.New("no")
	}
	return n.Store.PutIfAbsent(ctx, path, data)
}
