package compaction

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/lakeload/lakeload/tablefmt"
)

// ErrPartitioned says that a table with partition columns was given to Pack.
var ErrPartitioned = errors.New("files of different partitions cannot be packed together")

// Pack carries out a plan made for this very snapshot: it writes the rows of
// the planned files that are not deleted into one new file, and replaces the
// old by the new in one commit that changes no data. It gives the snapshot of
// that commit, or s itself for an empty plan. If another writer changed one of
// the files meanwhile, the error is a *[tablefmt.ConflictError] and the table
// is as that writer left it.
func Pack(ctx context.Context, s *tablefmt.Snapshot, p Plan) (*tablefmt.Snapshot, error) {
	if len(p.Files) == 0 {
		return s, nil
	}
	if len(s.PartitionColumns()) > 0 {
		return nil, fmt.Errorf("packing files of table %s: %w", s.Location(), ErrPartitioned)
	}
	add, err := rewrite(ctx, s, p)
	if err != nil {
		return nil, fmt.Errorf("packing files of table %s: %w", s.Location(), err)
	}
	x := tablefmt.Begin(s.Location(), s)
	now := time.Now().UnixMilli()
	for _, f := range p.Files {
		x.Remove(*f.Remove(now, false))
	}
	if n, ok := add.NumRecords(); !ok || n > 0 {
		x.Add(*add)
	}
	x.SetInfo("OPTIMIZE", map[string]any{"predicate": "[]"})
	x.SetMetrics(map[string]any{"numRemovedFiles": len(p.Files), "numAddedFiles": 1})
	next, err := x.Commit(ctx)
	if err != nil {
		return nil, fmt.Errorf("packing files of table %s: %w", s.Location(), err)
	}
	return next, nil
}

func rewrite(ctx context.Context, s *tablefmt.Snapshot, p Plan) (*tablefmt.AddFile, error) {
	w, err := s.NewFileWriter(ctx, tablefmt.FileOptions{Rearranges: true, RowIDs: s.TracksRows()})
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	for _, f := range p.Files {
		err := s.ReadFile(ctx, f, tablefmt.ReadOptions{RowIDs: s.TracksRows()}, func(rec arrow.RecordBatch, _ int64) error {
			_, err := w.Write(rec)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return w.Close()
}
