package lakehouse

import (
	"context"
	"fmt"
	"strings"

	"github.com/lakeload/lakeload/lakehouse/epoch"
	"github.com/lakeload/lakeload/tablefmt"
)

// checkVersions refuses a table whose log no longer proves that it shows what
// the last epoch says (I4): an older version than the epoch's, or a commit
// since that changed data and is not ours.
func (e *Engine) checkVersions(ctx context.Context, t *fedTable, last *epoch.Epoch) error {
	if last.LSN < t.state.CopyPoint {
		return nil // the epoch saw an older copy
	}
	for i, w := range t.writers {
		was, ok := last.Tables[epochKey(t.modes[i], &t.state)]
		if !ok {
			continue
		}
		if w.Version() < was {
			return mustCopy("its table is at version %d, but the last epoch saw version %d: it was restored or rolled back", w.Version(), was)
		}
		spec := e.spec(&t.state, t.modes[i])
		for v := w.Version(); v > was; v-- {
			actions, err := tablefmt.ReadCommit(ctx, spec.loc, v)
			if err != nil {
				return fmt.Errorf("checking version %d of %s: %w", v, &spec, err)
			}
			if !ours(actions, spec.appPrefix()) {
				only, err := onlyKeeps(ctx, &spec, v, actions)
				if err != nil {
					return err
				}
				if only {
					continue
				}
				return mustCopy("another program changed its rows or its columns in version %d", v)
			}
			if publishes(actions, spec.appID()) {
				break // what was before it was replaced
			}
		}
	}
	return nil
}

// ours reports whether a commit is of this pipeline for this
// table, of its present copy or an older one, or changes no data.
func ours(actions []tablefmt.Action, prefix string) bool {
	changes := false
	for i := range actions {
		a := &actions[i]
		if a.Txn != nil && strings.HasPrefix(a.Txn.AppID, prefix) {
			return true
		}
		if a.Add != nil && a.Add.DataChange || a.Remove != nil && a.Remove.DataChange || a.Metadata != nil {
			changes = true
		}
	}
	return !changes
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
