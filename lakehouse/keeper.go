package lakehouse

import (
	"context"
	"time"

	"github.com/lakeload/lakeload/tablefmt"
)

// keeper writes checkpoints that are due, and takes away what nobody can ask for
// any more, beside the flushes: the checkpoint of a large table takes seconds,
// for which no change is to wait. What of that fails costs readers time and
// nothing else, and is tried again after a later flush. It is one goroutine, from
// the beginning of the following to its end.
type keeper struct {
	e   *Engine
	due chan []keptLog // of capacity 1
}

// keptLog is a table as a flush has left it, and what may go from its log; nil:
// nothing.
type keptLog struct {
	snap  *tablefmt.Snapshot
	clean *tablefmt.CleanOptions
}

func newKeeper(e *Engine) *keeper { return &keeper{e: e, due: make(chan []keptLog, 1)} }

// look tells the keeper how a flush has left the tables. While it is at work, and
// has more to do, it is not told: a later flush will.
func (k *keeper) look(logs []keptLog) {
	select {
	case k.due <- logs:
	default:
	}
}

// run works until end is called, and then does what is left.
func (k *keeper) run(ctx context.Context) {
	for logs := range k.due {
		for i := range logs {
			k.keep(ctx, &logs[i])
		}
	}
}

// end says that nothing more will come.
func (k *keeper) end() { close(k.due) }

func (k *keeper) keep(ctx context.Context, l *keptLog) {
	if l.snap == nil || ctx.Err() != nil {
		return
	}
	warn := func(what string, err error) {
		if err != nil && ctx.Err() == nil {
			k.e.opt.Log.Warn(what+" failed; it is tried again", "table", l.snap.Location().String(), "error", err)
		}
	}
	_, err := tablefmt.MaybeCheckpoint(ctx, l.snap, k.e.opt.Checkpoints)
	warn("writing a checkpoint", err)
	if l.clean != nil {
		_, err = tablefmt.CleanLog(ctx, l.snap, *l.clean)
		warn("cleaning a log", err)
	}
}

// upkeep does, and hands to the keeper, what is to be done now and then.
func (f *flusher) upkeep(ctx context.Context) {
	e := f.e
	e.shareIndexes(time.Now())
	if err := e.epochs.Upkeep(ctx, e.opt.EpochRetention); err != nil {
		e.opt.Log.Warn("the upkeep of the record of epochs failed; it is tried again later", "error", err)
	}
	logs := []keptLog{{e.epochs.Snapshot(), &tablefmt.CleanOptions{Files: true}}}
	for _, t := range e.tables {
		for i, w := range t.writers {
			l := keptLog{w.Snapshot(), f.cleans(t, t.modes[i])}
			if t.copy != nil { // its log is short, and removed when the copy is given up: nothing may come into it then
				e.keeper.keep(ctx, &l)
				continue
			}
			logs = append(logs, l)
		}
	}
	e.keeper.look(logs)
}

// cleans says what may go from the log of a table; nil: nothing. The next start
// looks at every commit since the last epoch.
func (f *flusher) cleans(t *fedTable, mode Mode) *tablefmt.CleanOptions {
	version, ok := f.e.epochs.Version(epochKey(mode, &t.state))
	if t.copy != nil || !ok || version == 0 {
		return nil
	}
	return &tablefmt.CleanOptions{Before: version}
}
