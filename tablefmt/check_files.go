package tablefmt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"
	"golang.org/x/sync/errgroup"

	"github.com/lakeload/lakeload/tablefmt/colfile"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// files looks at the data files and deletion vectors of a version.
func (c *check) files(ctx context.Context, st *state) error {
	s, err := newSnapshot(c.loc, st, nil)
	if err != nil {
		return err
	}
	if err := checkRead(st.protocol, st.metadata, st.schema); err != nil {
		return err
	}
	all := slices.Collect(s.Files())
	c.report.Files, c.report.Bytes = len(all), s.Size()
	workers := c.o.Workers
	if workers < 1 {
		workers = 8
	}
	var done atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(workers)
	for _, a := range all {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			err := c.file(gctx, s, a)
			if n := done.Add(1); c.o.Progress != nil && err == nil {
				c.o.Progress(int(n), len(all))
			}
			return err
		})
	}
	return g.Wait()
}

// file looks at one logical file.
func (c *check) file(ctx context.Context, s *Snapshot, a *AddFile) error {
	store, path, err := s.loc.find(a.Path)
	switch {
	case c.outside(err):
		return nil
	case err != nil:
		return c.fault(FaultFile, a.Path, s.Version(), err)
	}
	r, err := store.Open(ctx, path)
	if errors.Is(err, objstore.ErrNotFound) {
		return c.fault(FaultMissing, path, s.Version(), err)
	}
	if err != nil {
		return err
	}
	defer r.Close()
	if r.Size() != a.Size {
		if err := c.fault(FaultSize, path, s.Version(), fmt.Errorf("it has %d bytes, and the log says %d", r.Size(), a.Size)); err != nil {
			return err
		}
	}
	f, err := colfile.OpenFile(r, r.Size())
	if err != nil {
		return c.unreadable(ctx, path, s.Version(), err)
	}
	if n, ok := a.NumRecords(); ok && n != f.NumRows() {
		if err := c.fault(FaultStatistics, path, s.Version(), fmt.Errorf("it has %d rows, and its statistics say %d", f.NumRows(), n)); err != nil {
			return err
		}
	}
	deleted, err := c.vector(ctx, s, a, f.NumRows())
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.report.Rows += f.NumRows() - deleted
	c.mu.Unlock()
	if !c.o.Rows {
		return nil
	}
	return c.rows(ctx, s, a)
}

// outside counts a file that lies where it may not be read.
func (c *check) outside(err error) bool {
	var outside *OutsideError
	if !errors.As(err, &outside) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Outside++
	return true
}

// unreadable tells of a data file that is damaged. What is no damage ends the
// check.
func (c *check) unreadable(ctx context.Context, path string, version int64, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !errors.Is(err, colfile.ErrCorrupt) && !errors.Is(err, ErrCorrupt) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return c.fault(FaultFile, path, version, err)
}

// vector looks at a file's deletion vector, and tells how many rows it deletes.
func (c *check) vector(ctx context.Context, s *Snapshot, a *AddFile, rows int64) (deleted int64, err error) {
	if a.DeletionVector == nil {
		return 0, nil
	}
	c.mu.Lock()
	c.report.Vectors++
	c.mu.Unlock()
	b, err := readVector(ctx, s.loc, a)
	switch {
	case c.outside(err):
		return 0, nil
	case errors.Is(err, objstore.ErrNotFound):
		path, _, _ := a.DeletionVector.Path() // it was opened
		return 0, c.fault(FaultMissing, path, s.Version(), fmt.Errorf("the deletion vector of %s is %w", a.Path, objstore.ErrNotFound))
	case errors.Is(err, ErrCorrupt):
		return 0, c.fault(FaultVector, a.Path, s.Version(), err)
	case err != nil:
		return 0, err
	}
	if last, ok := b.Last(); ok && last >= uint64(rows) {
		return 0, c.fault(FaultVector, a.Path, s.Version(), fmt.Errorf("it deletes row %d, and the file has %d", last, rows))
	}
	return int64(b.Cardinality()), nil
}

// rows reads every row of a file and holds its statistics against them.
func (c *check) rows(ctx context.Context, s *Snapshot, a *AddFile) error {
	w, err := colfile.NewWriter(io.Discard, s.DataArrow(), colfile.WriterOptions{Codec: colfile.Uncompressed, StatsColumns: -1})
	if err != nil {
		return err
	}
	var columns []string
	for _, f := range s.DataArrow().Fields() {
		columns = append(columns, f.Name)
	}
	err = s.ReadFile(ctx, a, ReadOptions{Columns: columns, IncludeDeleted: true}, func(rec arrow.RecordBatch, _ int64) error { return w.Write(rec) })
	if err != nil {
		return c.unreadable(ctx, a.Path, s.Version(), err)
	}
	st, err := w.Close()
	if err != nil {
		return err
	}
	said, err := s.FileStats(a)
	if err == nil {
		is := AddFile{Path: a.Path, Stats: statsJSON(st)}
		var found *FileStats
		if found, err = s.FileStats(&is); err != nil {
			return err
		}
		err = statsDifference(said, found, s.Schema())
	}
	if err != nil {
		return c.fault(FaultStatistics, a.Path, s.Version(), err)
	}
	return nil
}
