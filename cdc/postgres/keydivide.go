package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/cdc"
)

const (
	// smallRanges: a table of fewer ranges is read under a snapshot.
	smallRanges = 4
	// sampleRows is about how many rows of a sample stand for a range.
	sampleRows = 30
	// leastCorrelation is how far the order of the key has to be the order of
	// the rows, for a table that the server's memory does not hold.
	leastCorrelation = 0.5
)

var _ cdc.KeyReader = (*Source)(nil)

// Divide implements [cdc.KeyReader]. A table is divided if its key's order is
// known here, if it is not small, and if reading it in that order does not
// read its blocks again and again: rows lie in about the key's order, or the
// server can hold the table in its memory.
func (s *Source) Divide(ctx context.Context, rel *cdc.Relation) (cdc.KeyRanges, error) {
	var k *keyRanges
	err := s.admin.with(ctx, func(conn *pgconn.PgConn) (err error) {
		k, err = s.divide(ctx, conn, rel)
		return err
	})
	if err != nil {
		return nil, failed("dividing a table into ranges of its key", rel.String(), unreadable(err))
	}
	if k == nil {
		return nil, nil
	}
	return k, nil
}

func (s *Source) divide(ctx context.Context, conn *pgconn.PgConn, rel *cdc.Relation) (*keyRanges, error) {
	columns, err := readKeyColumns(ctx, conn, rel)
	if err != nil || columns == nil {
		return nil, err
	}
	files, err := readFiles(ctx, conn, rel)
	if err != nil {
		return nil, err
	}
	n := int(min(files.bytes/s.config.rangeBytes(), maxRanges))
	if n < smallRanges {
		return nil, nil
	}
	published, err := s.config.readNarrowed(ctx, conn)
	if err != nil {
		return nil, err
	}
	k := &keyRanges{columns: columns, files: files.id, filter: published[rel.OID].filter}
	sample, err := k.sample(ctx, conn, rel, files, n*sampleRows)
	if err != nil {
		return nil, err
	}
	if c := k.correlation(sample); c < leastCorrelation && files.bytes > files.cache {
		s.log.Info("a table is copied under one snapshot: its rows do not lie in the order of its key, and it is larger than effective_cache_size",
			"table", rel.String(), "correlation", c, "bytes", files.bytes)
		return nil, nil
	}
	if err := k.spread(sample, n); err != nil {
		return nil, err
	}
	k.rows, k.bytes = files.rows/int64(k.Len()), files.bytes/int64(k.Len())
	return k, nil
}

// The key's columns with their base types and whether text among them is
// ordered as its bytes are. A standby cannot tell which transactions a view
// has seen.
const sqlKeyColumns = `
WITH RECURSIVE base (col, typ) AS (
  SELECT attnum, atttypid FROM pg_attribute WHERE attrelid = $1::oid AND attnum > 0
  UNION ALL
  SELECT b.col, t.typbasetype FROM base b JOIN pg_type t ON t.oid = b.typ WHERE t.typtype = 'd'
)
SELECT a.attname, t.oid, t.typname,
       coalesce(CASE WHEN c.oid = 100 THEN (SELECT %[1]s FROM pg_database d WHERE d.datname = current_database()) ELSE %[2]s END, true)
  FROM pg_attribute a JOIN base b ON b.col = a.attnum JOIN pg_type t ON t.oid = b.typ AND t.typtype <> 'd'
  LEFT JOIN pg_collation c ON c.oid = a.attcollation
 WHERE a.attrelid = $1::oid AND NOT a.attisdropped AND NOT pg_is_in_recovery()`

// byteOrder gives the conditions that a database's and a collation's order is
// that of bytes.
func byteOrder(version int) (database, collation string) {
	database, collation = "d.datcollate IN ('C', 'POSIX')", "c.collprovider = 'c' AND c.collcollate IN ('C', 'POSIX')"
	switch {
	case version >= 170000: // the builtin provider's locales
		database = "d.datlocprovider = 'c' AND " + database + " OR d.datlocprovider = 'b' AND d.datlocale IN ('C', 'C.UTF-8')"
		collation += " OR c.collprovider = 'b' AND c.colllocale IN ('C', 'C.UTF-8')"
	case version >= 150000:
		database = "d.datlocprovider = 'c' AND " + database
	}
	return database, collation
}

// readKeyColumns gives the columns of a table's key; nil where their order is
// not known here.
func readKeyColumns(ctx context.Context, conn *pgconn.PgConn, rel *cdc.Relation) ([]keyColumn, error) {
	if len(rel.Key) == 0 {
		return nil, nil
	}
	database, collation := byteOrder(serverVersionNum(conn.ParameterStatus("server_version")))
	rows, err := query(ctx, conn, fmt.Sprintf(sqlKeyColumns, database, collation), fmt.Sprint(rel.OID))
	if err != nil {
		return nil, fmt.Errorf("reading the key's types: %w", err)
	}
	byName := make(map[string]row, len(rows))
	for _, r := range rows {
		byName[r.str(0)] = r
	}
	columns := make([]keyColumn, len(rel.Key))
	for i, n := range rel.Key {
		c := &rel.Columns[n]
		r, ok := byName[c.Name]
		if !ok {
			return nil, nil
		}
		kind, known := keyKindOf(r.oid(1), c.Type)
		if !known || kind == keyText && r.oid(1) != oidName && !r.bool(3) {
			return nil, nil
		}
		columns[i] = keyColumn{name: c.Name, typ: "pg_catalog." + quoteIdent(r.str(2)), kind: kind}
	}
	return columns, nil
}

// tableFiles are the files that hold a table's rows.
type tableFiles struct {
	id    string // changes when a partition comes or goes, and with every rewrite
	bytes int64  // with out-of-line values
	heap  int64  // without
	rows  int64  // the server's estimate; 0 is unknown
	cache int64  // effective_cache_size
	only  string // "ONLY " for a table that is not partitioned
}

const sqlFiles = `
SELECT t.relid::oid, pg_relation_filenode(t.relid), pg_table_size(t.relid), pg_relation_size(t.relid), greatest(c.reltuples, 0)::int8,
       (SELECT setting::int8 * current_setting('block_size')::int8 FROM pg_settings WHERE name = 'effective_cache_size'), t.level
  FROM (SELECT relid, level, isleaf FROM pg_partition_tree($1::oid::regclass) UNION ALL SELECT $1::oid::regclass, 0, true
         WHERE NOT EXISTS (SELECT FROM pg_partition_tree($1::oid::regclass))) t
  JOIN pg_class c ON c.oid = t.relid
 WHERE t.isleaf
 ORDER BY 1`

// readFiles looks at the files as they are now.
func readFiles(ctx context.Context, conn *pgconn.PgConn, rel *cdc.Relation) (*tableFiles, error) {
	rows, err := query(ctx, conn, sqlFiles, fmt.Sprint(rel.OID))
	if err != nil {
		return nil, fmt.Errorf("looking at the table's files: %w", err)
	}
	f, sum := &tableFiles{only: "ONLY "}, sha256.New()
	for _, r := range rows {
		fmt.Fprintf(sum, "%s:%s\n", r.str(0), r.str(1))
		f.bytes, f.heap, f.rows, f.cache = f.bytes+r.int(2), f.heap+r.int(3), f.rows+r.int(4), r.int(5)
		if r.int(6) > 0 {
			f.only = ""
		}
	}
	f.id = hex.EncodeToString(sum.Sum(nil)[:8])
	return f, nil
}

// sample reads about n keys from all over the table.
func (k *keyRanges) sample(ctx context.Context, conn *pgconn.PgConn, rel *cdc.Relation, files *tableFiles, n int) ([]sampled, error) {
	const perBlock = 20 // of a small row there are more, and fewer blocks would do
	blocks := max(1, files.heap/8192)
	percent := min(100, max(0.01, 100*float64(n)/perBlock/float64(blocks)))
	list := make([]string, len(k.columns))
	for i, c := range k.columns {
		list[i] = "pg_catalog.format('%s', " + quoteIdent(c.name) + ")"
	}
	sql := fmt.Sprintf("SELECT tableoid, ctid, %s FROM %s%s TABLESAMPLE SYSTEM (%s)", strings.Join(list, ", "), files.only,
		quoteTable(rel.Schema, rel.Name), strconv.FormatFloat(percent, 'f', 4, 64))
	rows, err := query(ctx, conn, sql)
	if err != nil {
		return nil, fmt.Errorf("reading a sample of the table's keys: %w", err)
	}
	sample := make([]sampled, len(rows))
	for i, r := range rows {
		sample[i] = sampled{leaf: r.oid(0), block: parseBlock(r.str(1))}
		for c := range k.columns {
			sample[i].key = append(sample[i].key, r.str(2+c))
		}
	}
	return sample, nil
}

// Restore implements [cdc.KeyReader].
func (s *Source) Restore(ctx context.Context, rel *cdc.Relation, text string) (cdc.KeyRanges, error) {
	const op = "taking up the copy of a table"
	var from keyRangesText
	if err := json.Unmarshal([]byte(text), &from); err != nil {
		return nil, refused(op, rel.String(), "", fmt.Errorf("reading its ranges: %w", err))
	}
	k := &keyRanges{files: from.Files, filter: from.Filter, rows: from.Rows, bytes: from.Bytes}
	err := s.admin.with(ctx, func(conn *pgconn.PgConn) (err error) {
		if k.columns, err = readKeyColumns(ctx, conn, rel); err != nil {
			return err
		}
		_, err = k.unchanged(ctx, conn, rel)
		return err
	})
	if err == nil && k.columns == nil {
		err = changed("its key has become one whose order is not known", nil)
	}
	if err == nil {
		err = k.setBounds(from.Bounds)
	}
	if err != nil {
		return nil, failed(op, rel.String(), unreadable(err))
	}
	if len(k.bounds) != len(from.Bounds) {
		return nil, failed(op, rel.String(), changed("its key's values are in another order", nil))
	}
	return k, nil
}

// unchanged makes sure that the rows are still in the files that were divided.
func (k *keyRanges) unchanged(ctx context.Context, conn *pgconn.PgConn, rel *cdc.Relation) (*tableFiles, error) {
	files, err := readFiles(ctx, conn, rel)
	if err != nil {
		return nil, err
	}
	if files.id != k.files {
		return nil, changed("it was emptied, rewritten or dropped, or a partition came or went", nil)
	}
	return files, nil
}

// unreadable marks an error that concerns one table alone.
func unreadable(err error) error {
	if sqlState(err) == codeNoPrivilege && !errors.Is(err, cdc.ErrTableUnreadable) {
		return fmt.Errorf("%w: %w", cdc.ErrTableUnreadable, err)
	}
	return err
}

// rangeBytes is about how much of a table is read at a time.
func (c *Config) rangeBytes() int64 {
	if c.RangeBytes > 0 {
		return c.RangeBytes
	}
	return defaultRangeBytes
}

// sameTable makes sure that the table has the shape that the caller knows, as
// conn sees it.
func (s *Source) sameTable(ctx context.Context, conn *pgconn.PgConn, rel *cdc.Relation) (*tableInfo, error) {
	infos, err := s.describeTables(ctx, conn, []uint32{rel.OID})
	switch {
	case err != nil:
		return nil, err
	case len(infos) == 0:
		return nil, changed("it was dropped", nil)
	case !infos[0].rel.SameColumns(rel):
		return nil, changed("its columns or its key are not those that were asked for", nil)
	}
	return &tableInfo{rel: rel, cols: slices.Clone(infos[0].cols), filter: infos[0].filter}, nil
}
