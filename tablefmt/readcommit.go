package tablefmt

import (
	"context"
	"errors"
	"fmt"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// ReadCommit gives the actions of one version, as they were committed.
// ErrNoVersion where that version's commit is not in the log (any more).
func ReadCommit(ctx context.Context, loc Location, version int64) ([]Action, error) {
	name := commitName(version)
	data, err := loc.log().Get(ctx, name)
	if errors.Is(err, objstore.ErrNotFound) {
		return nil, fmt.Errorf("table %s: version %d: %w", loc, version, ErrNoVersion)
	}
	if err != nil {
		return nil, fmt.Errorf("table %s: reading %s: %w", loc, name, err)
	}
	actions, err := collectActions(data, version)
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", loc, err)
	}
	return actions, nil
}
