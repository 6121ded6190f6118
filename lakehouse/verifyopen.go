package lakehouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lakeload/lakeload/lakehouse/epoch"
	"github.com/lakeload/lakeload/tablefmt"
)

// checkVersions refuses a table whose log no longer proves that it shows what the
// last epoch says (I4): an older version than the epoch's, or a commit since that
// changed rows or columns and is not ours. Of a table that the epoch does not have,
// the commits since our own last are looked at, which was made upon all before.
func (e *Engine) checkVersions(ctx context.Context, t *fedTable, last *epoch.Epoch) error {
	t.harmless = map[Mode]versions{}
	for i, w := range t.writers {
		was, known := int64(-1), false
		if last != nil && last.LSN >= t.state.CopyPoint { // else the epoch saw an older copy
			if v, ok := last.Tables[epochKey(t.modes[i], &t.state)]; ok {
				was, known = v, true
			}
		}
		spec := e.spec(&t.state, t.modes[i])
		if w.Version() < was {
			return spec.foreign("its table is at version %d, but the last epoch saw version %d: it was restored or rolled back", w.Version(), was)
		}
		others, err := spec.othersSince(ctx, was, w.Version(), known)
		if err != nil {
			return err
		}
		if known && others {
			t.harmless[t.modes[i]] = versions{was, w.Version()}
		}
	}
	return nil
}

// versions are a table's versions after one, up to another.
type versions struct{ after, to int64 }

// othersSince refuses commits after a version that changed rows or columns and are
// not ours. It reports whether none is ours. Where it is not known which version is
// proven, it goes back to the newest that is ours.
func (s *tableSpec) othersSince(ctx context.Context, was, newest int64, known bool) (others bool, err error) {
	others = true
	for v := newest; v > was; v-- {
		harmless := true
		actions, err := tablefmt.ReadCommit(ctx, s.loc, v)
		if err == nil && !ours(actions, s.appPrefix()) {
			harmless, err = onlyKeeps(ctx, s, v, actions)
		}
		switch {
		case errors.Is(err, tablefmt.ErrNoVersion):
			return false, s.foreign("its log does not tell any more what was done to it up to version %d", v)
		case err != nil:
			return false, fmt.Errorf("checking version %d of %s: %w", v, s, err)
		case !harmless:
			return false, s.foreign("another program changed its rows or its columns in version %d", v)
		case own(actions, s.appPrefix()):
			if !known || publishes(actions, s.appID()) { // what was before it was replaced
				return false, nil
			}
			others = false
		}
	}
	return others, nil
}

// foreign stops a table that another program has changed, or has it mended, as the
// options say.
func (s *tableSpec) foreign(format string, args ...any) error {
	if !s.heal || s.loc.Log != nil {
		return mustCopy(format, args...)
	}
	stop := copyAgain(format, args...)
	stop.repair = true
	return stop
}

// own reports whether a commit is of this pipeline for this table, of its present
// copy or an older one.
func own(actions []tablefmt.Action, prefix string) bool {
	return slices.ContainsFunc(actions, func(a tablefmt.Action) bool { return a.Txn != nil && strings.HasPrefix(a.Txn.AppID, prefix) })
}

// ours reports whether a commit is of this pipeline for this table, or changes no
// rows and no metadata.
func ours(actions []tablefmt.Action, prefix string) bool {
	return own(actions, prefix) || !slices.ContainsFunc(actions, func(a tablefmt.Action) bool {
		return a.Add != nil && a.Add.DataChange || a.Remove != nil && a.Remove.DataChange || a.Metadata != nil
	})
}

// publishes reports whether a commit is the one by which the present copy
// became the table's content.
func publishes(actions []tablefmt.Action, appID string) bool {
	info, txn := false, false
	for i := range actions {
		a := &actions[i]
		info = info || a.CommitInfo != nil && a.CommitInfo.OperationParameters[paramGeneration] != nil
		txn = txn || a.Txn != nil && a.Txn.AppID == appID
	}
	return info && txn
}
