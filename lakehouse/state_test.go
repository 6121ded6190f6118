package lakehouse

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/objstore"
	"github.com/lakeload/lakeload/tablefmt/objstore/faultstore"
)

func TestStateIsTakenByOneEngine(t *testing.T) {
	ctx, lake := context.Background(), objstore.NewMemory()
	_, err := ReadState(ctx, lake, "shop")
	require.ErrorIs(t, err, ErrNoState)

	s := &State{Pipeline: "shop", Phase: PipelineCreating, Session: "one"}
	require.NoError(t, saveState(ctx, lake, s))
	one, err := ReadState(ctx, lake, "shop")
	require.NoError(t, err)
	two, err := ReadState(ctx, lake, "shop")
	require.NoError(t, err)
	two.Session = "two"
	require.NoError(t, saveState(ctx, lake, two))
	one.Phase = PipelineReady
	err = saveState(ctx, lake, one)
	require.Equal(t, KindConflict, KindOf(err))
	names, err := Pipelines(ctx, lake)
	require.NoError(t, err)
	require.Equal(t, []string{"shop"}, names)
}

// TestOldStatesGo: the newest hundred stay, and who slept for longer than they
// reach back cannot take the number of one that is gone.
func TestOldStatesGo(t *testing.T) {
	ctx, lake := context.Background(), objstore.NewMemory()
	s := &State{Pipeline: "shop", Phase: PipelineCreating, Session: "one"}
	require.NoError(t, saveState(ctx, lake, s))
	asleep, err := ReadState(ctx, lake, "shop")
	require.NoError(t, err)
	s.Session = "two"
	for range 2 * statesKept {
		require.NoError(t, saveState(ctx, lake, s))
	}
	count := func() (n int) {
		for _, err := range lake.List(ctx, stateFolder("shop"), "") {
			require.NoError(t, err)
			n++
		}
		return n
	}
	require.Equal(t, statesKept, count())

	require.Equal(t, KindConflict, KindOf(saveState(ctx, lake, asleep)))
	newest, err := ReadState(ctx, lake, "shop")
	require.NoError(t, err)
	require.Equal(t, "two", newest.Session)
	require.NoError(t, saveState(ctx, lake, s))
	require.Equal(t, statesKept, count(), "what the sleeper wrote goes, too")
}

func TestStateWriteWhoseAnswerIsLost(t *testing.T) {
	ctx, lake := context.Background(), objstore.NewMemory()
	faulty, err := faultstore.New(lake, faultstore.Rule{Op: faultstore.OpPutIfAbsent, Do: faultstore.SucceedThenFail})
	require.NoError(t, err)
	s := &State{Pipeline: "shop", Phase: PipelineCreating}
	require.NoError(t, saveState(ctx, faulty, s), "reading it back shows that it is ours")
	require.Equal(t, int64(1), s.number)
}

func TestStateOfANewerProgram(t *testing.T) {
	ctx, lake := context.Background(), objstore.NewMemory()
	require.NoError(t, lake.PutIfAbsent(ctx, stateFolder("p")+"00000000000000000001.json", []byte(`{"format":99}`)))
	_, err := ReadState(ctx, lake, "p")
	require.ErrorContains(t, err, "format 99")
	require.NoError(t, lake.PutIfAbsent(ctx, stateFolder("q")+"00000000000000000001.json", []byte(`{`)))
	_, err = ReadState(ctx, lake, "q")
	require.Equal(t, KindDamaged, KindOf(err))
	var withHint interface{ Hint() string }
	require.True(t, errors.As(err, &withHint))
	require.NotEmpty(t, withHint.Hint())
}

func TestFolderNames(t *testing.T) {
	for name, want := range map[string]string{
		"orders": "orders", "Große Tabelle": "Große Tabelle", "a/b": "a%2Fb", "..": "%2E.", "_lakeload": "%5Flakeload",
		"100%": "100%25", "a=b": "a%3Db", "a_b": "a_b",
	} {
		require.Equal(t, want, folderName(name))
	}
}
