package lakehouse

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/lakeload/lakeload/cdc"
)

// joins notes a table's place in the publication, from which on its changes are in
// the stream. A copy that was begun when it had another one lacks those between,
// and is not gone on with.
func (t *TableState) joins(member uint64) {
	if t.Membership != 0 && t.Membership != member {
		t.Generation++
	}
	t.Membership = member
}

// alone lets one at a time change what is in the publication, from looking at it
// to recording what was done. The engine's own loop does not, once it runs.
func (e *Engine) alone(ctx context.Context) (done func(), err error) {
	select {
	case e.publishing <- struct{}{}:
		return func() { <-e.publishing }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// joinStream sees to it, before tables are copied, that their changes are in the
// stream, and notes their places in the publication: a table may have been taken
// out of it, which may be why it is copied, and have been put back. One that may
// not be put there stops. It is the copier's.
func (e *Engine) joinStream(ctx context.Context, todo []TableState, rels map[uint32]*cdc.Relation) error {
	done, err := e.alone(ctx)
	if err != nil {
		return err
	}
	defer done()
	members, err := e.opt.Source.Published(ctx)
	if err != nil {
		return err
	}
	var missing, wanted []*cdc.Relation
	for _, oid := range slices.Sorted(maps.Keys(rels)) {
		rel := rels[oid]
		copied := slices.ContainsFunc(todo, func(t TableState) bool { return t.OID == oid })
		if copied && members[oid] == 0 {
			missing = append(missing, rel)
		}
		if copied || members[oid] != 0 {
			wanted = append(wanted, rel)
		}
	}
	var denied map[uint32]error
	if len(missing) > 0 {
		err := e.opt.Source.Publish(ctx, wanted)
		if errors.Is(err, cdc.ErrDenied) {
			denied, err = e.publishOneByOne(ctx, wanted, missing)
		}
		if why := err; why != nil && !passes(why) && ctx.Err() == nil { // what somebody has made of the publication is not ours to change
			denied, err = map[uint32]error{}, nil
			for _, rel := range missing {
				denied[rel.OID] = why
			}
		}
		if err == nil {
			members, err = e.opt.Source.Published(ctx)
		}
		if err != nil {
			return err
		}
	}
	return e.do(ctx, func(ctx context.Context) error {
		for i := range todo {
			if err := e.joined(ctx, todo[i].OID, members[todo[i].OID], denied[todo[i].OID]); err != nil {
				return err
			}
		}
		return nil
	})
}

// joined notes the place of a table that is to be copied, or why it has none.
func (e *Engine) joined(ctx context.Context, oid uint32, member uint64, denied error) error {
	st := e.state.table(oid)
	switch {
	case st == nil || st.Phase != PhaseCopying: // somebody has asked for something else
		return nil
	case denied != nil:
		return e.stopCopying(ctx, oid, &stopError{reason: "it may not be put into the publication: " + denied.Error(), remedy: hintOf(denied), recopy: true})
	case member == 0 || member == st.Membership: // 0: it is gone, which the copy will find
		return nil
	}
	if t := e.fed(oid); t != nil && t.copy != nil {
		if err := e.copyAgain(ctx, oid, errors.New("it was taken out of the publication: changes are missing")); err != nil {
			return err
		}
	}
	return e.save(ctx, func(s *State) { s.table(oid).joins(member) })
}
