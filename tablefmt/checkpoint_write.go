package tablefmt

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/internal/crashpoint"
	"github.com/lakeload/lakeload/tablefmt/colfile"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// Checkpoint writes a checkpoint of the snapshot (one Parquet file of the
// classic kind, V1 Spec) and names it in _last_checkpoint unless that names a
// newer one already. It may run beside commits to the table, and several may
// race: they write the same content. Memory is bounded by a batch of actions
// and the commits since the last checkpoint.
func Checkpoint(ctx context.Context, s *Snapshot) error {
	if err := s.checkpoint(ctx); err != nil {
		return fmt.Errorf("writing a checkpoint of table %s at version %d: %w", s.loc, s.Version(), err)
	}
	return nil
}

// MaybeCheckpoint writes a checkpoint if the policy finds one due, and tells
// whether it did. One that another process wrote meanwhile counts.
func MaybeCheckpoint(ctx context.Context, s *Snapshot, p CheckpointPolicy) (bool, error) {
	p = p.forTable(s.Metadata())
	if !p.Due(s.CheckpointLoad()) {
		return false, nil
	}
	if last := getLastCheckpoint(ctx, s.loc.log()); last.Version > s.Version()-s.CheckpointLoad().Commits {
		s.st.tail.set(min(last.Version, s.Version()), last.SizeInBytes)
		if !p.Due(s.CheckpointLoad()) {
			return false, nil
		}
	}
	if err := Checkpoint(ctx, s); err != nil {
		return false, err
	}
	return true, nil
}

func (s *Snapshot) checkpoint(ctx context.Context) error {
	if err := checkWrite(s.st.protocol, s.st.metadata, s.st.schema); err != nil {
		return err
	}
	log, name := s.loc.log(), checkpointName(s.Version())
	crashpoint.At(crashpoint.CheckpointBefore)
	last, err := s.writeCheckpoint(ctx, log, name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	crashpoint.At(crashpoint.CheckpointAfter)
	s.st.tail.set(last.Version, last.SizeInBytes)
	s.st.tail.mark.written()
	if getLastCheckpoint(ctx, log).Version > last.Version {
		return nil
	}
	body, err := json.Marshal(last)
	if err != nil {
		return err
	}
	// A race may leave the older of two names: readers list from there on and
	// find the newer checkpoint all the same.
	if err := log.Put(ctx, lastCheckpointName, body); err != nil {
		return fmt.Errorf("%s: %w", lastCheckpointName, err)
	}
	return nil
}

// checkpointBatch is how many actions go into one record batch.
const checkpointBatch = 4096

func (s *Snapshot) writeCheckpoint(ctx context.Context, log objstore.Store, name string) (*lastCheckpoint, error) {
	schema := checkpointSchema
	var parsed *parsedWriter
	if strings.EqualFold(s.Property(PropCheckpointStruct), "true") {
		var err error
		if parsed, err = s.newParsedWriter(); err != nil {
			return nil, err
		}
		fields := slices.Clone(checkpointColumns)
		fields[colAdd].Type = arrow.StructOf(append(slices.Clone(fields[colAdd].Type.(*arrow.StructType).Fields()), parsed.fields...)...)
		schema = arrow.NewSchema(fields, nil)
	}
	out, err := log.Create(ctx, name)
	if err != nil {
		return nil, err
	}
	defer out.Abort()
	// Snappy, as readers of logs are the simplest of readers.
	w, err := colfile.NewWriter(out, schema, colfile.WriterOptions{Codec: colfile.Snappy, StatsColumns: -2})
	if err != nil {
		return nil, err
	}
	c := &checkpointWriter{
		w: w, b: array.NewRecordBuilder(memory.DefaultAllocator, schema), parsed: parsed,
		keepStats: !strings.EqualFold(s.Property(PropCheckpointStats), "false"),
	}
	defer c.b.Release()
	if err := s.checkpointActions(ctx, c.add); err != nil {
		_, _ = w.Close() // gives its memory back; the file is given up
		return nil, err
	}
	if err := c.flush(); err != nil {
		_, _ = w.Close()
		return nil, err
	}
	st, err := w.Close()
	if err != nil {
		return nil, err
	}
	if err := out.Close(); err != nil {
		return nil, err
	}
	return &lastCheckpoint{Version: s.Version(), Size: st.Rows, SizeInBytes: st.Bytes, NumOfAddFiles: int64(s.NumFiles())}, nil
}

// checkpointActions gives what stands in a checkpoint. (Checkpoints, under
// Requirements for Writers)
func (s *Snapshot) checkpointActions(ctx context.Context, emit func(*Action) error) error {
	if err := emit(&Action{Protocol: s.st.protocol}); err != nil {
		return err
	}
	if err := emit(&Action{Metadata: s.st.metadata}); err != nil {
		return err
	}
	keep, err := ParseInterval(s.Property(PropForgetTxns))
	forgets := err == nil
	for _, t := range s.st.txns.all() {
		if forgets && t.LastUpdated != nil && *t.LastUpdated < time.Now().Add(-keep).UnixMilli() {
			continue
		}
		if err := emit(&Action{Txn: t}); err != nil {
			return err
		}
	}
	for _, d := range s.st.domains.all() {
		if err := emit(&Action{Domain: d}); err != nil {
			return err
		}
	}
	for _, a := range s.st.files.all() {
		if err := emit(&Action{Add: a}); err != nil {
			return err
		}
	}
	expired := time.Now().Add(-s.TombstoneRetention()).UnixMilli()
	return s.Tombstones(ctx, func(r *RemoveFile) error {
		if r.DeletionTimestamp == nil || *r.DeletionTimestamp < expired {
			return nil
		}
		return emit(&Action{Remove: r})
	})
}

// checkpointWriter gathers actions into record batches.
type checkpointWriter struct {
	w         *colfile.Writer
	b         *array.RecordBuilder
	n         int
	keepStats bool
	parsed    *parsedWriter // nil: no typed columns
}

func (c *checkpointWriter) add(a *Action) error {
	appendAction(c.b, a, c.keepStats, c.parsed)
	if c.n++; c.n < checkpointBatch {
		return nil
	}
	return c.flush()
}

func (c *checkpointWriter) flush() error {
	if c.n == 0 {
		return nil
	}
	rec := c.b.NewRecordBatch()
	defer rec.Release()
	c.n = 0
	return c.w.Write(rec)
}
