package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/cdc"
)

// Plan implements [cdc.Snapshot]. The lock that it takes lasts until Close.
func (s *snapshot) Plan(ctx context.Context, rel *cdc.Relation) ([]cdc.Range, error) {
	ctx, cancel := s.whileOpen(ctx)
	defer cancel()
	var plan *tablePlan
	var order []*leaf
	err := s.withKeeper(ctx, func(k *reader) error {
		return k.try(ctx, func() (err error) {
			plan, order, err = s.plan(ctx, k, rel)
			return err
		})
	})
	if err == nil {
		err = s.guard.proof(ctx)
	}
	if err != nil {
		return nil, failed("planning the copy of a table", rel.String(), s.closedOr(err))
	}
	s.mu.Lock()
	s.plans[rel.OID] = plan
	s.mu.Unlock()
	var ranges []cdc.Range
	for _, l := range order {
		ranges = append(ranges, l.ranges(s.source.config.rangeBytes())...)
	}
	return ranges, nil
}

func (s *snapshot) plan(ctx context.Context, k *reader, rel *cdc.Relation) (*tablePlan, []*leaf, error) {
	table := quoteTable(rel.Schema, rel.Name)
	// Not ONLY: the partitions of a partitioned table are locked with it. Nor
	// is there harm in locking what inherits from an ordinary table.
	if err := k.lock(ctx, rel.OID, table, false); err != nil {
		if code := sqlState(err); code == codeUndefinedTable || code == codeUndefinedSchema {
			return nil, nil, changed("it was dropped or renamed", err)
		}
		return nil, nil, fmt.Errorf("locking the table: %w", err)
	}
	info, err := s.compareShape(ctx, k, rel)
	if err == nil {
		var leaves map[uint32]*leaf
		if leaves, err = s.compareLeaves(ctx, k, rel); err == nil {
			order := slices.SortedFunc(maps.Values(leaves), func(a, b *leaf) int { return int(int64(a.oid) - int64(b.oid)) })
			return &tablePlan{info: info, leaves: leaves}, order, nil
		}
	}
	delete(k.locked, rel.OID) // the savepoint's end takes the lock back
	return nil, nil, err
}

// changed is ErrTableChanged with what has changed. It is no matter for the
// operator: the copy is done again under a newer snapshot.
func changed(what string, cause error) error {
	err := fmt.Errorf("%w: %s", cdc.ErrTableChanged, what)
	if cause != nil {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return &cdc.Error{Op: "comparing the table with the snapshot", Class: cdc.ClassRetry, Err: err}
}

// compareShape makes sure that the columns and the key are the same for the
// caller, under the snapshot, and now (which the lock makes last).
func (s *snapshot) compareShape(ctx context.Context, k *reader, rel *cdc.Relation) (*tableInfo, error) {
	var then, now *tableInfo
	read := func(into **tableInfo) func(*pgconn.PgConn) error {
		return func(conn *pgconn.PgConn) error {
			infos, err := s.source.describeTables(ctx, conn, []uint32{rel.OID})
			if err == nil && len(infos) == 1 {
				*into = infos[0]
			}
			return err
		}
	}
	if err := read(&then)(k.conn); err != nil {
		return nil, err
	}
	if err := s.source.admin.with(ctx, read(&now)); err != nil {
		return nil, err
	}
	switch {
	case now == nil:
		return nil, changed("it was dropped, and another one may have its name", nil)
	case then == nil:
		return nil, changed("it is younger than the snapshot", nil)
	case then.filter != now.filter:
		return nil, changed("its publication's row filter changed after the snapshot", nil)
	case !then.rel.SameColumns(now.rel):
		return nil, changed("its columns or its key changed after the snapshot", nil)
	case !now.rel.SameColumns(rel):
		return nil, changed("its columns or its key are not those that were asked for", nil)
	}
	// Batches carry the very Relation that the caller gave.
	return &tableInfo{rel: rel, cols: now.cols, filter: now.filter}, nil
}

// A plain query on pg_class and pg_inherits sees them as of the snapshot;
// the functions look at what is true now. A rewrite (TRUNCATE, VACUUM FULL, ALTER TABLE) gives
// a table another file, in which an older snapshot may find nothing.
const sqlLeaves = `
WITH RECURSIVE tree (oid) AS (
  SELECT $1::oid
  UNION ALL
  SELECT i.inhrelid FROM tree JOIN pg_class p ON p.oid = tree.oid JOIN pg_inherits i ON i.inhparent = p.oid WHERE p.relkind = 'p'
)
SELECT c.oid, n.nspname, c.relname, c.relkind, c.relfilenode, pg_relation_filenode(c.oid), c.reltuples,
       coalesce(a.amname = 'heap', false), pg_relation_size(c.oid), pg_table_size(c.oid), current_setting('block_size'), to_regclass(format('%I.%I', n.nspname, c.relname))::oid,
       c.relispartition, coalesce(pg_partition_root(c.oid) <> c.oid, false)
  FROM tree JOIN pg_class c ON c.oid = tree.oid JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_am a ON a.oid = c.relam
 WHERE c.relkind <> 'p'`

// compareLeaves makes sure that the table, or each of its partitions, is the
// same, in the same file, under the snapshot and now.
func (s *snapshot) compareLeaves(ctx context.Context, k *reader, rel *cdc.Relation) (map[uint32]*leaf, error) {
	rows, err := query(ctx, k.conn, sqlLeaves, fmt.Sprint(rel.OID))
	if err != nil {
		return nil, fmt.Errorf("looking at the table's files: %w", err)
	}
	leaves := make(map[uint32]*leaf, len(rows))
	for _, r := range rows {
		name := r.str(1) + "." + r.str(2)
		if r.char(3) == 'f' {
			return nil, refused("looking at the table's partitions", name, "exclude the table, or detach the partition", fmt.Errorf("it is a foreign table, whose rows and changes are on another server"))
		}
		if r.oid(4) != r.oid(5) || r.oid(11) != r.oid(0) {
			return nil, changed(name+" was emptied, rewritten, renamed or dropped after the snapshot", nil)
		}
		if r.bool(12) != r.bool(13) { // its changes went to the root's stream, and now go to its own, or the reverse
			return nil, changed(name+" was attached or detached as a partition after the snapshot", nil)
		}
		l := &leaf{
			oid: r.oid(0), sql: quoteTable(r.str(1), r.str(2)), kind: r.char(3), heap: r.bool(7),
			blockSize: r.int(10), bytes: r.int(9), rows: max(0, parseCount(r.str(6))),
		}
		l.blocks = (r.int(8) + l.blockSize - 1) / l.blockSize
		leaves[l.oid] = l
	}
	return leaves, s.comparePartitions(ctx, k, rel, leaves)
}

// comparePartitions makes sure that no partition came or went.
func (s *snapshot) comparePartitions(ctx context.Context, k *reader, rel *cdc.Relation, leaves map[uint32]*leaf) error {
	rows, err := query(ctx, k.conn, "SELECT relid::oid FROM pg_partition_tree($1::oid::regclass) WHERE isleaf AND level > 0", fmt.Sprint(rel.OID))
	if err != nil {
		return fmt.Errorf("looking at the table's partitions: %w", err)
	}
	now := map[uint32]bool{}
	for _, r := range rows {
		now[r.oid(0)] = true
	}
	if len(now) == 0 && leaves[rel.OID] != nil {
		return nil // not partitioned
	}
	for oid := range now {
		if leaves[oid] == nil {
			return changed("a partition was attached after the snapshot", nil)
		}
	}
	if len(now) != len(leaves) {
		return changed("a partition was detached after the snapshot", nil)
	}
	return nil
}

// parseCount reads reltuples, a float that is -1 while unknown.
func parseCount(s string) int64 {
	var f float64
	if _, err := fmt.Sscan(s, &f); err != nil {
		return 0
	}
	return int64(f)
}
