package tablefmt

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/lakeload/lakeload/tablefmt/colfile"
	"github.com/lakeload/lakeload/tablefmt/predicate"
)

// ScanOptions says what to read of a table. The zero value is everything.
type ScanOptions struct {
	// Columns are columns of the table, in the order wanted; nil is all.
	Columns []string
	// Where says which rows are wanted; nil is all. It may ask for columns that
	// are not among Columns. Files, and row groups of files, in which no row can
	// match by what is known of them are not read.
	Where *predicate.Expr
	// Keep chooses files; nil is all. It is called for each file once, never
	// twice at a time.
	Keep func(*AddFile) bool
	// Limit is the greatest number of rows; 0 is all. Which ones they are is not
	// said. The scan ends as soon as it has them.
	Limit int64
	// BatchRows is the greatest number of rows of a batch; 0 is a default.
	BatchRows int
	// Files is how many files are read at a time, each of which takes the memory
	// of two batches and of colfile.DefaultReadAhead; 0 is the number of
	// processors, but not more than 4. A scan with a limit and without Where reads
	// one.
	Files int
	// Counts, if not nil, is set before Scan returns, also with an error.
	Counts *ScanCounts
}

// ScanCounts is what a scan has come across. When it ends early, what it has not
// come to is in none of them.
type ScanCounts struct {
	Files              int64 // live files, without those that Keep left out
	SkippedByPartition int64 // of them not read, by their partition values
	SkippedByStats     int64 // of them not read, by their statistics
	RowGroups          int64 // of the files that were opened
	RowGroupsSkipped   int64 // of them not read, by their bounds
	Rows               int64 // given
}

const maxScanFiles = 4

// Scan gives the table's rows, or those that Where holds for, as record batches:
// columns as asked for, without deleted rows. The rows of one file come in their
// order; files are read side by side, so that batches of several may alternate,
// and which file comes first has no meaning. emit is called from the goroutine
// that called Scan. A batch is released when emit returns; who keeps it retains
// it. An error of emit ends the scan and is returned as it is; nothing of it runs
// any more when Scan returns. A condition that does not fit the table is
// ErrInvalid, with the *[predicate.Error] in it. The meaning of conditions is
// that of package predicate.
func (s *Snapshot) Scan(ctx context.Context, o ScanOptions, emit func(rec arrow.RecordBatch) error) error {
	c, err := s.newScan(o)
	if err != nil {
		return err
	}
	err = c.run(ctx, func(rec arrow.RecordBatch) error {
		if o.Limit > 0 {
			rec = rec.NewSlice(0, min(rec.NumRows(), o.Limit-c.counts.Rows))
			defer rec.Release()
		}
		c.counts.Rows += rec.NumRows()
		if err := emit(rec); err != nil {
			return err
		}
		if c.counts.Rows == o.Limit {
			return errScanDone
		}
		return nil
	})
	if o.Counts != nil {
		*o.Counts = c.counts
	}
	if errors.Is(err, errScanDone) {
		return nil
	}
	return err
}

// errScanDone ends a scan that has as many rows as were wanted.
var errScanDone = errors.New("enough rows")

// scan is one Scan.
type scan struct {
	s       *Snapshot
	o       ScanOptions
	columns []string          // to give
	filter  *predicate.Filter // nil: every row
	files   *fileFilter       // of the filter
	looked  []string          // columns that the filter asks for
	parts   map[string][][]string
	extra   []string // of looked, those that are not given

	mu     sync.Mutex // guards next and counts, but for counts.Rows
	next   func() (*AddFile, bool)
	counts ScanCounts
}

func (s *Snapshot) newScan(o ScanOptions) (*scan, error) {
	c := &scan{s: s, o: o, columns: o.Columns}
	invalid := func(err error) error { return fmt.Errorf("scanning table %s, version %d: %w", s.loc, s.Version(), err) }
	if o.Limit < 0 || o.BatchRows < 0 || o.Files < 0 {
		return nil, invalid(invalidf("negative limits"))
	}
	if c.o.Files == 0 {
		c.o.Files = min(runtime.GOMAXPROCS(0), maxScanFiles)
	}
	if o.Limit > 0 && o.Where == nil {
		c.o.Files = 1
		most := o.BatchRows
		if most == 0 {
			most = colfile.DefaultBatchRows
		}
		c.o.BatchRows = int(min(int64(most), o.Limit))
	}
	if o.Where == nil {
		return c, nil
	}
	var err error
	if c.filter, err = predicate.Bind(o.Where, s.arrow); err != nil {
		return nil, invalid(fmt.Errorf("%w: %w", ErrInvalid, err))
	}
	c.files = newFileFilter(s, c.filter)
	if c.columns == nil {
		c.columns = fieldNames(s.arrow)
	}
	c.parts = make(map[string][][]string)
	for _, l := range c.filter.Columns() {
		name := l.Path[0]
		if !slices.Contains(c.looked, name) {
			c.looked = append(c.looked, name)
		}
		if slices.Contains(c.columns, name) {
			continue
		}
		if !slices.Contains(c.extra, name) {
			c.extra = append(c.extra, name)
		}
		c.parts[name] = append(c.parts[name], l.Path[1:])
	}
	return c, nil
}

// run reads all files, and calls emit with their batches.
func (c *scan) run(ctx context.Context, emit func(arrow.RecordBatch) error) error {
	next, stop := iter.Pull(c.s.Files())
	defer stop()
	c.next = func() (*AddFile, bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for {
			a, ok := next()
			if !ok || c.o.Keep == nil || c.o.Keep(a) {
				if ok {
					c.counts.Files++
				}
				return a, ok
			}
		}
	}
	workers := min(c.o.Files, c.s.NumFiles())
	if workers <= 1 {
		return c.work(ctx, emit)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	batches := make(chan arrow.RecordBatch)
	failed := make(chan error, workers)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			if err := c.work(ctx, func(rec arrow.RecordBatch) error {
				rec.Retain()
				select {
				case batches <- rec:
					return nil
				case <-ctx.Done():
					rec.Release()
					return context.Cause(ctx)
				}
			}); err != nil {
				failed <- err
				cancel()
			}
		})
	}
	go func() { group.Wait(); close(batches) }()
	var err error
	for rec := range batches {
		if err == nil {
			if err = emit(rec); err != nil {
				cancel()
			}
		}
		rec.Release()
	}
	select {
	case first := <-failed: // the others were cancelled, or failed after it
		if err == nil {
			err = first
		}
	default:
	}
	return err
}

// work reads files until there are none left.
func (c *scan) work(ctx context.Context, emit func(arrow.RecordBatch) error) error {
	for {
		a, ok := c.next()
		if !ok {
			return nil
		}
		if err := c.file(ctx, a, emit); err != nil {
			return err
		}
	}
}

func (c *scan) count(add func(*ScanCounts)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	add(&c.counts)
}
