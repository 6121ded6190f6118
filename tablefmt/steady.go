package tablefmt

import (
	"context"
	"errors"
	"slices"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// steady gives what read finds in a log, and reads again where that fails
// because the log moved under it: log cleanup takes away what a listing has
// shown a moment ago, and whoever removes a table does so file by file. Only a
// log in which nothing has gone or come, as far as it was seen, between two
// failures is a damaged one. New versions do not count, so that a busy writer
// does not hide a damage. read must be repeatable.
func steady[T any](ctx context.Context, log objstore.Store, read func() (T, error)) (T, error) {
	var before []logFile
	for failed := false; ; failed = true {
		out, err := read()
		if err == nil || !errors.Is(err, ErrCorrupt) && !errors.Is(err, objstore.ErrNotFound) {
			return out, err
		}
		now, unlisted := listLog(ctx, log, 0)
		if unlisted != nil || failed && sameUpTo(before, now) {
			return out, err
		}
		before = now
	}
}

// sameUpTo reports whether a later listing shows the same files of the
// versions that an earlier one did.
func sameUpTo(before, now []logFile) bool {
	newest := int64(-1)
	for _, f := range before {
		newest = max(newest, f.version)
	}
	now = slices.DeleteFunc(slices.Clone(now), func(f logFile) bool { return f.version > newest })
	return slices.Equal(before, now)
}
