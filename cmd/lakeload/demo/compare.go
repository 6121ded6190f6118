package demo

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/lakeload/lakeload/cmd/lakeload/human"
)

//go:embed compare.py
var compareScript string

// compare holds the lake against the source, row by row: by DuckDB where a
// Python on this machine has it, by our own reader otherwise.
func (d *demo) compare(ctx context.Context) (err error) {
	s := d.screen.step("comparing source and lake row by row")
	if d.result.Tables, d.result.ComparedBy, err = d.compareByDuckDB(ctx); err != nil {
		return err
	}
	if d.result.ComparedBy == "" {
		s.say("comparing source and lake row by row, by our own reader as there is no DuckDB here")
		if d.result.Tables, err = d.compareByOurs(ctx); err != nil {
			return err
		}
		d.result.ComparedBy = "lakeload's own reader (no Python with duckdb was found here)"
	}
	var rows []string
	for _, t := range d.result.Tables {
		if !t.equal() {
			return fmt.Errorf("%w: table %s has %d rows, in the lake %d; only in the source: %q; only in the lake: %q (by %s)",
				ErrDiffers, t.Table, t.SourceRows, t.LakeRows, t.OnlySource, t.OnlyLake, d.result.ComparedBy)
		}
		rows = append(rows, t.Table+" "+human.Count(t.SourceRows))
	}
	s.done("equal row by row: %s; compared by %s", strings.Join(rows, ", "), d.result.ComparedBy)
	return nil
}

// pythons are where a Python with duckdb may be: the active one, the one that
// the tests install, any.
func pythons() []string {
	tools := os.Getenv("LAKELOAD_TOOLS")
	if tools == "" {
		cache := os.Getenv("XDG_CACHE_HOME")
		if cache == "" {
			cache = filepath.Join(os.Getenv("HOME"), ".cache")
		}
		tools = filepath.Join(cache, "lakeload")
	}
	found := []string{filepath.Join(tools, "venv", "bin", "python"), "python3", "python"}
	if active := os.Getenv("VIRTUAL_ENV"); active != "" {
		found = append([]string{filepath.Join(active, "bin", "python")}, found...)
	}
	return found
}

// compareByDuckDB gives no name where there is no DuckDB.
func (d *demo) compareByDuckDB(ctx context.Context) (_ []TableComparison, by string, err error) {
	dir, err := os.MkdirTemp("", "lakeload-demo-")
	if err != nil {
		return nil, "", fmt.Errorf("making a temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	type table struct {
		Name    string   `json:"name"`
		Path    string   `json:"path"`
		CSV     string   `json:"csv"`
		Columns []string `json:"columns"`
	}
	var request []table
	for _, t := range tables {
		csv := filepath.Join(dir, t.name+".csv")
		if err := d.shop.export(ctx, t.name, t.columns, csv); err != nil {
			return nil, "", err
		}
		request = append(request, table{t.name, filepath.Join(d.o.Lake, "public", t.name), csv, columnList(t.columns)})
	}
	input, err := json.Marshal(request)
	if err != nil {
		return nil, "", fmt.Errorf("asking DuckDB: %w", err)
	}
	for _, python := range pythons() {
		if _, err := exec.LookPath(python); err != nil {
			continue
		}
		tables, by, err := ask(ctx, python, input)
		if err != nil || by != "" {
			return tables, by, err
		}
	}
	return nil, "", nil
}

// ask runs the script in one Python; no name where it has no DuckDB.
func ask(ctx context.Context, python string, input []byte) (_ []TableComparison, by string, err error) {
	var out, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, python, "-c", compareScript)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &complaint
	if err := cmd.Run(); err != nil {
		return nil, "", fmt.Errorf("comparing by DuckDB: %w\n%s", err, complaint.String())
	}
	var answer struct {
		Unavailable string            `json:"unavailable"`
		By          string            `json:"by"`
		Tables      []TableComparison `json:"tables"`
	}
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil {
		return nil, "", fmt.Errorf("reading DuckDB's answer: %w", err)
	}
	return answer.Tables, answer.By, nil
}

// export writes a table's rows into a file of CSV.
func (s *shop) export(ctx context.Context, table, columns, path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("exporting %s: %w", table, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := s.admin.Exec(ctx, "SET TimeZone = 'UTC'"); err != nil {
		return fmt.Errorf("exporting %s: %w", table, err)
	}
	sql := fmt.Sprintf(`COPY (SELECT %s FROM %s) TO STDOUT (FORMAT csv, HEADER, NULL '\N')`, columns, table)
	if _, err := s.admin.PgConn().CopyTo(ctx, f, sql); err != nil {
		return fmt.Errorf("exporting %s: %w", table, err)
	}
	return nil
}
