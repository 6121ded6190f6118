package lakehouse

import (
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/lakeload/lakeload/tablefmt"
)

// Bounds of a stager's open files. A file that is being written holds a row
// group in memory, and only the copy of a table goes on with one later.
const (
	partitionFiles = 8       // that stay open
	partitionGroup = 8 << 20 // bytes of a row group
	// partitionsMany is from how many partitions in one go on people are told: each
	// is a file.
	partitionsMany = 1000
)

// heldRows are rows that wait to be written, by partition.
type heldRows struct {
	parts map[string]*part
	order []*part
	bytes int64
	open  int // of files
	told  bool
}

// part is a partition that rows are held of, or that has an open file.
type part struct {
	values map[string]*string
	rows   []heldRun
	file   *openFile
}

// heldRun are rows of a record, and which of those that were given with it.
type heldRun struct {
	rec  arrow.RecordBatch // held
	rows []int32
	part []int
	told placed
}

// holdMost is how many times the memory of its rows a record may keep to be
// held as it is.
const holdMost = 4

// hold keeps rows until there are enough.
func (s *stager) hold(rec arrow.RecordBatch, rows []int32, told placed) error {
	if len(rows) == 0 {
		return nil
	}
	h := &s.held
	size := max(1, rowBytes(rec)*int64(len(rows))/max(1, rec.NumRows()))
	if heldBytes(rec) > holdMost*size {
		few, err := copyRows(rec, rows)
		if err != nil {
			return fmt.Errorf("writing rows of %s: %w", &s.t.spec, err)
		}
		defer few.Release()
		rec, rows = few, rowsFrom(0, len(rows))
	}
	if h.parts == nil {
		h.parts = map[string]*part{}
	}
	touched := map[*part]*heldRun{}
	var runs []*part
	var last *part
	key := make([]string, len(s.t.added.partition))
	for n, row := range rows {
		p, err := s.partOf(rec, int(row), key)
		if err != nil {
			return err
		}
		run := touched[p]
		if run == nil {
			run = &heldRun{told: told}
			touched[p] = run
			runs = append(runs, p)
		}
		run.rows, run.part = append(run.rows, row), append(run.part, n)
		last = p
	}
	if len(runs) == 1 { // the usual case where rows come in their order
		touched[last].part = nil
	}
	for _, p := range runs {
		run := touched[p]
		run.rec = rec
		rec.Retain()
		p.rows = append(p.rows, *run)
	}
	if h.bytes += size; h.bytes < s.t.spec.holdBytes {
		return nil
	}
	return s.drain(false)
}

// partOf finds the partition of a row. key is scratch.
func (s *stager) partOf(rec arrow.RecordBatch, row int, key []string) (*part, error) {
	x := &s.t.added
	values := make([]*string, len(x.partition))
	for i, at := range x.partition {
		v, err := tablefmt.FormatPartitionValue(rec.Column(at), row)
		if err != nil {
			return nil, s.partitionError(s.t.arrow.Field(at).Name, err)
		}
		if values[i], key[i] = v, "n"; v != nil {
			key[i] = "v" + *v
		}
	}
	id := strings.Join(key, "\x00") // no value of the source's holds one
	p := s.held.parts[id]
	if p == nil {
		p = &part{values: make(map[string]*string, len(values))}
		for i, at := range x.partition {
			p.values[s.t.arrow.Field(at).Name] = values[i]
		}
		s.held.parts[id] = p
		s.held.order = append(s.held.order, p)
	}
	return p, nil
}

// drain writes the rows that are held, one partition after the other. all says
// that no file stays open.
func (s *stager) drain(all bool) error {
	h := &s.held
	if len(h.order) > partitionsMany && !h.told && s.t.spec.warn != nil {
		h.told = true
		s.t.spec.warn("rows of %d partitions of %s are written at once, a file each: a coarser partition_by makes fewer and larger ones", len(h.order), &s.t.spec)
	}
	o := tablefmt.FileOptions{PartitionColumns: s.t.parts, RowGroupBytes: partitionGroup}
	for _, p := range h.order {
		for len(p.rows) > 0 {
			r := p.rows[0]
			p.rows = p.rows[1:]
			o.PartitionValues = p.values
			was := p.file != nil
			at, err := s.put(&p.file, r.rec, r.rows, o)
			h.count(was, p.file != nil)
			r.rec.Release()
			if err == nil {
				err = r.told(r.part, at)
			}
			if err != nil {
				return err
			}
		}
		if p.file != nil && (all || h.open > partitionFiles) {
			if err := s.finishFile(&p.file); err != nil {
				return err
			}
			h.open--
		}
	}
	h.bytes = 0
	h.forget()
	return nil
}

func (h *heldRows) count(was, is bool) {
	switch {
	case is && !was:
		h.open++
	case was && !is:
		h.open--
	}
}

// forget lets go of the partitions of which nothing is open.
func (h *heldRows) forget() {
	var open []*part
	for id, p := range h.parts {
		if p.file == nil {
			delete(h.parts, id)
		}
	}
	for _, p := range h.order {
		if p.file != nil {
			open = append(open, p)
		}
	}
	h.order = open
}

// abortHeld gives up what is held and the files that are open.
func (s *stager) abortHeld() {
	for _, p := range s.held.order {
		for _, r := range p.rows {
			r.rec.Release()
		}
		p.rows = nil
		if p.file != nil {
			p.file.w.Abort()
			p.file = nil
		}
	}
	s.held = heldRows{}
}
