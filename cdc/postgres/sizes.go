package postgres

import (
	"context"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/cdc"
)

var _ cdc.Sizer = (*Source)(nil)

// Sizes implements [cdc.Sizer], by what the catalogue says of a table and of its
// partitions, values stored out of line included.
func (s *Source) Sizes(ctx context.Context, tables []*cdc.Relation) (map[uint32]cdc.Size, error) {
	sizes := map[uint32]cdc.Size{}
	err := s.admin.with(ctx, func(conn *pgconn.PgConn) error {
		for _, rel := range tables {
			rows, err := query(ctx, conn, `SELECT c.oid, coalesce(sum(greatest(p.reltuples, 0)), 0)::int8, coalesce(sum(pg_table_size(p.oid)), 0)::int8
				FROM pg_class c LEFT JOIN LATERAL (
					SELECT c.oid WHERE c.relkind <> 'p' UNION SELECT t.relid FROM pg_partition_tree(c.oid) t WHERE t.isleaf) l ON true
				LEFT JOIN pg_class p ON p.oid = l.oid
				WHERE c.oid = $1::oid GROUP BY 1`, strconv.FormatUint(uint64(rel.OID), 10))
			if err != nil {
				return err
			}
			for _, r := range rows {
				sizes[r.oid(0)] = cdc.Size{Rows: r.int(1), Bytes: r.int(2)}
			}
		}
		return nil
	})
	return sizes, failed("asking how large tables are", "", err)
}
