package readers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// PGRows gives the rows of a PostgreSQL table in canonical text, of the named columns (none: all, in their order).
//
// Values come by the types' output functions. Those of boolean, integer, float, date, timestamp and bytea types are put into the canonical
// form; numeric is told as PostgreSQL tells it, which is the canonical form of a declared scale; all others (uuid, json, arrays,
// intervals...) stand as PostgreSQL's text. Infinite and BC dates stand as PostgreSQL's text too: a comparison of them is the caller's.
func PGRows(ctx context.Context, dsn, schema, table string, columns []string) ([][]string, error) {
	return PGQuery(ctx, dsn, pgSelect(schema, table, columns))
}

// PGQuery gives the rows of any query, as PGRows does.
func PGQuery(ctx context.Context, dsn, query string) ([][]string, error) {
	var rows [][]string
	err := pgCopy(ctx, dsn, query, func(row []string) { rows = append(rows, append([]string(nil), row...)) })
	return rows, err
}

// PGFingerprint counts and sums the rows of a PostgreSQL table, to compare with Reader.Fingerprint.
func PGFingerprint(ctx context.Context, dsn, schema, table string, columns []string) (Fingerprint, error) {
	var f Fingerprint
	err := pgCopy(ctx, dsn, pgSelect(schema, table, columns), f.Add)
	return f, err
}

func pgSelect(schema, table string, columns []string) string {
	list := "*"
	if len(columns) > 0 {
		quoted := make([]string, len(columns))
		for i, c := range columns {
			quoted[i] = pgx.Identifier{c}.Sanitize()
		}
		list = strings.Join(quoted, ", ")
	}
	return "select " + list + " from " + pgx.Identifier{schema, table}.Sanitize()
}

// pgSettings make a value's text depend on the value alone.
var pgSettings = map[string]string{
	"DateStyle": "ISO, YMD", "IntervalStyle": "postgres", "TimeZone": "UTC", "extra_float_digits": "1", "bytea_output": "hex",
	"search_path": "pg_catalog", "client_encoding": "UTF8", "row_security": "off", "statement_timeout": "0",
}

// pgCopy streams a query's rows in canonical text. The row is only valid during the call.
func pgCopy(ctx context.Context, dsn, query string, each func(row []string)) (err error) {
	cfg, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return err
	}
	for name, value := range pgSettings {
		cfg.RuntimeParams[name] = value
	}
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	described, err := conn.Prepare(ctx, "", query, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", query, err)
	}
	types := make([]uint32, len(described.Fields))
	for i, f := range described.Fields {
		types[i] = f.DataTypeOID
	}
	lines := &lineWriter{line: func(line []byte) error {
		row, err := copyRow(line, types)
		if err == nil {
			each(row)
		}
		return err
	}}
	if _, err := conn.CopyTo(ctx, lines, "copy ("+query+") to stdout"); err != nil {
		return fmt.Errorf("copy (%s): %w", query, err)
	}
	return nil
}

// lineWriter cuts what is written to it into lines.
type lineWriter struct {
	rest []byte
	line func([]byte) error
}

var _ io.Writer = (*lineWriter)(nil)

func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			w.rest = append(w.rest, p...)
			return n, nil
		}
		line := p[:i]
		if len(w.rest) > 0 {
			w.rest = append(w.rest, line...)
			line = w.rest
		}
		if err := w.line(line); err != nil {
			return 0, err
		}
		w.rest, p = w.rest[:0], p[i+1:]
	}
}

// copyRow takes a line of COPY's text format apart.
func copyRow(line []byte, types []uint32) ([]string, error) {
	row := make([]string, 0, len(types))
	if len(types) == 0 {
		return row, nil
	}
	for field := range bytes.SplitSeq(line, []byte{'\t'}) {
		if len(row) == len(types) {
			return nil, fmt.Errorf("a line of COPY has more than %d fields: %q", len(types), line)
		}
		if string(field) == `\N` {
			row = append(row, Null)
			continue
		}
		v, err := canonical(unescape(field), types[len(row)])
		if err != nil {
			return nil, err
		}
		row = append(row, v)
	}
	if len(row) != len(types) {
		return nil, fmt.Errorf("a line of COPY has %d fields, not %d: %q", len(row), len(types), line)
	}
	return row, nil
}

func unescape(field []byte) string {
	if bytes.IndexByte(field, '\\') < 0 {
		return string(field)
	}
	out := make([]byte, 0, len(field))
	for i := 0; i < len(field); i++ {
		c := field[i]
		if c == '\\' && i+1 < len(field) {
			i++
			if c = field[i]; strings.IndexByte("bfnrtv", c) >= 0 {
				c = map[byte]byte{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v'}[c]
			}
		}
		out = append(out, c)
	}
	return string(out)
}

func canonical(text string, oid uint32) (string, error) {
	switch oid {
	case pgtype.BoolOID:
		if text == "t" {
			return "true", nil
		}
		return "false", nil
	case pgtype.Float4OID:
		return pgFloat(text, 32)
	case pgtype.Float8OID:
		return pgFloat(text, 64)
	case pgtype.ByteaOID:
		return strings.TrimPrefix(text, `\x`), nil
	case pgtype.TimestampOID:
		return pgTimestamp(text, ""), nil
	case pgtype.TimestamptzOID:
		return pgTimestamp(text, "+00"), nil
	default:
		return text, nil
	}
}

func pgFloat(text string, bits int) (string, error) {
	switch text {
	case "NaN":
		return Float(math.NaN(), bits), nil
	case "Infinity", "-Infinity":
		return text, nil
	}
	v, err := strconv.ParseFloat(text, bits)
	return Float(v, bits), err
}

// pgTimestamp fills the fraction up to six digits, and writes the zone as Z.
func pgTimestamp(text, zone string) string {
	if strings.HasSuffix(text, "infinity") || strings.HasSuffix(text, " BC") {
		return text
	}
	text = strings.TrimSuffix(text, zone)
	whole, fraction, _ := strings.Cut(text, ".")
	text = whole + "." + fraction + strings.Repeat("0", 6-len(fraction))
	if zone != "" {
		text += "Z"
	}
	return text
}
