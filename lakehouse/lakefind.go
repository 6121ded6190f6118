package lakehouse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lakeload/lakeload/lakehouse/epoch"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// Epoch gives the epoch that a state of the source means; for any other state
// the last one. ErrNoEpoch where there is none, ErrExpired where there is none
// any more.
func (l *Lake) Epoch(ctx context.Context, at At) (epoch.Epoch, error) {
	last, any := l.log.Last()
	switch {
	case !any:
		return epoch.Epoch{}, noEpoch(at, ErrNoEpoch, "wait until the initial copy is complete: `lakeload status` shows where it is", "none is recorded yet")
	case !at.OfSource():
		return last, nil
	case at.kind == atLSN && at.lsn > max(l.Position(), last.LSN):
		return epoch.Epoch{}, noEpoch(at, ErrNoEpoch, "wait until `lakeload status` shows that position, or ask for an earlier one",
			"the lake has only got to %s", max(l.Position(), last.LSN))
	}
	e, err := l.find(ctx, at)
	if !errors.Is(err, ErrNoEpoch) && !errors.Is(err, ErrExpired) {
		return e, err
	}
	oldest, oldestErr := l.log.Oldest(ctx)
	if oldestErr != nil {
		return epoch.Epoch{}, oldestErr
	}
	if errors.Is(err, ErrExpired) {
		return epoch.Epoch{}, noEpoch(at, ErrExpired, "ask for that or a later one; `epochs: {keep: ...}` in lakeload.yaml says how long they are kept from now on",
			"the oldest that the lake still has is epoch %s", whereIs(&oldest))
	}
	return epoch.Epoch{}, noEpoch(at, ErrNoEpoch, "`lakeload epochs` lists them", "the lake has epochs %s to %s", whereIs(&oldest), whereIs(&last))
}

func (l *Lake) find(ctx context.Context, at At) (epoch.Epoch, error) {
	switch at.kind {
	case atLSN:
		return l.log.ByPosition(ctx, at.lsn)
	case atAsOf:
		return l.log.ByTime(ctx, at.time)
	}
	return l.log.ByNumber(ctx, at.version)
}

func whereIs(e *epoch.Epoch) string {
	return fmt.Sprintf("%d (LSN %s, %s)", e.Number, e.LSN, e.CommitTime.Format(time.RFC3339Nano))
}

func noEpoch(at At, kind error, remedy, format string, args ...any) error {
	return &Error{Op: "finding the lake's state", Object: at.String(), Err: fmt.Errorf("%w: %s", kind, fmt.Sprintf(format, args...)), Remedy: remedy}
}

// Load gives a table's snapshot at a state, and the epoch that decided it
// where the state is one of the source's. ErrIncomplete where the table has no
// version that shows the epoch; ErrExpired where it had one that has been
// cleaned up since.
func (l *Lake) Load(ctx context.Context, t LakeTable, at At) (*tablefmt.Snapshot, *epoch.Epoch, error) {
	if !at.OfSource() {
		s, err := LoadTable(ctx, l.Location(t), at)
		if errors.Is(err, tablefmt.ErrNoTable) && t.State.Phase == PhaseCopying {
			err = &Error{Op: "reading the table", Object: t.Name, Err: fmt.Errorf("it is still being copied: %w", err), Remedy: "wait until `lakeload status` shows it live"}
		}
		return s, nil, err
	}
	e, err := l.Epoch(ctx, at)
	if err != nil {
		return nil, nil, err
	}
	version, ok := e.Tables[t.Name]
	if !ok {
		return nil, nil, &Error{
			Op: "reading the table", Object: t.Name, Err: fmt.Errorf("%w: epoch %d (LSN %s)", ErrIncomplete, e.Number, e.LSN),
			Remedy: "`lakeload epochs` shows which epochs have the table",
		}
	}
	s, err := tablefmt.LoadAt(ctx, l.Location(t), version)
	if errors.Is(err, tablefmt.ErrNoVersion) {
		err = l.expired(ctx, t, &e, err)
	}
	return s, &e, err
}

// CheckReadable fails as Load does, for each table of an epoch, without loading
// what they show.
func (l *Lake) CheckReadable(ctx context.Context, e *epoch.Epoch) error {
	for _, t := range l.Tables() {
		version, ok := e.Tables[t.Name]
		if !ok {
			continue
		}
		err := tablefmt.HasVersion(ctx, l.Location(t), version)
		if errors.Is(err, tablefmt.ErrNoVersion) {
			err = l.expired(ctx, t, e, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Explain tells an error of reading a table's rows: where the state is an older
// one whose files are gone, it is ErrExpired. Any other error stays as it is.
func (l *Lake) Explain(ctx context.Context, t LakeTable, s *tablefmt.Snapshot, e *epoch.Epoch, err error) error {
	if e == nil || !errors.Is(err, objstore.ErrNotFound) {
		return err
	}
	newest, loadErr := tablefmt.Load(ctx, l.Location(t))
	if loadErr != nil || newest.Version() == s.Version() {
		return err // what is missing is not old
	}
	return &Error{
		Op: "reading the table", Object: t.Name, Err: fmt.Errorf("%w: epoch %d: a file of version %d is gone: %w", ErrExpired, e.Number, s.Version(), objstore.ErrNotFound),
		Remedy: "ask for a later epoch; the table property " + tablefmt.PropDeletedRetention + " says for how long a vacuum keeps files",
	}
}

// expired says that a table's version is gone, and which is the oldest epoch
// that the table can be read at.
func (l *Lake) expired(ctx context.Context, t LakeTable, e *epoch.Epoch, why error) error {
	remedy := "the table property " + tablefmt.PropLogRetention + " says how long old versions are kept"
	oldest, err := l.oldestOf(ctx, t, e)
	switch {
	case err != nil:
		return errors.Join(why, err)
	case oldest != nil:
		remedy = fmt.Sprintf("the oldest epoch that the table can be read at is %s: ask for that or a later one; %s", whereIs(oldest), remedy)
	}
	return &Error{Op: "reading the table", Object: t.Name, Err: fmt.Errorf("%w: epoch %d: %w", ErrExpired, e.Number, why), Remedy: remedy}
}

// oldestOf finds the oldest epoch after one whose version of a table can be
// loaded; nil where there is none. Versions do not go back from epoch to epoch.
func (l *Lake) oldestOf(ctx context.Context, t LakeTable, after *epoch.Epoch) (*epoch.Epoch, error) {
	least, err := tablefmt.OldestVersion(ctx, l.Location(t))
	if err != nil {
		return nil, err
	}
	last, _ := l.log.Last()
	var found *epoch.Epoch
	for low, high := after.Number+1, last.Number; low <= high; {
		middle := low + (high-low)/2
		e, err := l.log.ByNumber(ctx, middle)
		if err != nil {
			return nil, err
		}
		if version, ok := e.Tables[t.Name]; ok && version >= least {
			found, high = &e, middle-1
		} else {
			low = middle + 1
		}
	}
	return found, nil
}
