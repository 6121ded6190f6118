package demo

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/jackc/pgx/v5"

	"github.com/lakeload/lakeload/cmd/lakeload/rows"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// examplesMax is how many rows that differ are shown.
const examplesMax = 5

// compareByOurs reads the lake with our own reader. Values are compared as
// PostgreSQL's to_jsonb writes them, which is how package rows does.
func (d *demo) compareByOurs(ctx context.Context) ([]TableComparison, error) {
	var out []TableComparison
	for _, t := range tables {
		found, err := d.shop.multiset(ctx, t.name, columnList(t.columns))
		if err != nil {
			return nil, err
		}
		c := TableComparison{Table: t.name}
		for _, n := range found {
			c.SourceRows += int64(n)
		}
		err = scanLake(ctx, filepath.Join(d.o.Lake, "public", t.name), columnList(t.columns), func(row string) {
			c.LakeRows++
			found[row]--
		})
		if err != nil {
			return nil, err
		}
		for row, n := range found {
			text := strings.ReplaceAll(row, "\x00", ", ")
			if n > 0 && len(c.OnlySource) < examplesMax {
				c.OnlySource = append(c.OnlySource, text)
			}
			if n < 0 && len(c.OnlyLake) < examplesMax {
				c.OnlyLake = append(c.OnlyLake, text)
			}
		}
		out = append(out, c)
	}
	return out, nil
}

// null cannot be a value: PostgreSQL's text holds no such byte.
const null = "\x01\x00null"

// multiset counts the source's rows.
func (s *shop) multiset(ctx context.Context, table string, columns []string) (map[string]int, error) {
	if _, err := s.admin.Exec(ctx, "SET TimeZone = 'UTC'"); err != nil {
		return nil, fmt.Errorf("reading %s: %w", table, err)
	}
	exprs := make([]string, len(columns))
	for i, c := range columns {
		exprs[i] = "to_jsonb(" + c + ") #>> '{}'"
	}
	result, err := s.admin.Query(ctx, "SELECT "+strings.Join(exprs, ", ")+" FROM "+table)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", table, err)
	}
	found := map[string]int{}
	values := make([]*string, len(columns))
	targets := make([]any, len(columns))
	for i := range values {
		targets[i] = &values[i]
	}
	cells := make([]string, len(columns))
	_, err = pgx.ForEachRow(result, targets, func() error {
		for i, v := range values {
			cells[i] = null
			if v != nil {
				cells[i] = *v
			}
		}
		found[strings.Join(cells, "\x00")]++
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", table, err)
	}
	return found, nil
}

// scanLake gives every row of a table of the lake as text.
func scanLake(ctx context.Context, dir string, columns []string, emit func(row string)) error {
	store, err := objstore.NewLocal(dir)
	if err != nil {
		return fmt.Errorf("reading %s: %w", dir, err)
	}
	defer func() { _ = store.Close() }() // it was only read
	snap, err := tablefmt.Load(ctx, tablefmt.Location{Data: store})
	if err != nil {
		return fmt.Errorf("reading %s: %w", dir, err)
	}
	cells := make([]string, len(columns))
	return snap.Scan(ctx, tablefmt.ScanOptions{Columns: columns}, func(rec arrow.RecordBatch) error {
		for i := range int(rec.NumRows()) {
			for j := range columns {
				cells[j] = null
				if rec.Column(j).IsNull(i) {
					continue
				}
				if cells[j], err = rows.Text(rec.Column(j), i); err != nil {
					return fmt.Errorf("reading %s, column %s: %w", dir, columns[j], err)
				}
			}
			emit(strings.Join(cells, "\x00"))
		}
		return nil
	})
}
