package rows

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
)

// Writer writes rows in one format. It is used by one goroutine. The first
// error is kept and returned by every later call.
type Writer interface {
	// Write writes the rows of a batch, which has the Writer's schema. It
	// keeps nothing of the batch.
	Write(rec arrow.RecordBatch) error
	// Close writes what is left. It does not close the stream below.
	Close() error
}

// JSONLines writes one JSON object a row, its keys in the order of the columns.
func JSONLines(w io.Writer, schema *arrow.Schema) Writer {
	out := &lines{w: bufio.NewWriterSize(w, 64<<10)}
	for _, f := range schema.Fields() {
		name, err := appendString(nil, f.Name)
		out.fail(err)
		out.names = append(out.names, append(name, ':'))
	}
	out.row = out.jsonRow
	return out
}

// CSV writes a line of column names, then a line a row, as RFC 4180 has it
// but with single line feeds. As in PostgreSQL's COPY, null is nothing and
// an empty string is "".
func CSV(w io.Writer, schema *arrow.Schema) Writer {
	out := &lines{w: bufio.NewWriterSize(w, 64<<10)}
	out.row = out.csvRow
	var head []byte
	for i, f := range schema.Fields() {
		if i > 0 {
			head = append(head, ',')
		}
		head = appendQuoted(head, []byte(f.Name))
	}
	_, err := out.w.Write(append(head, '\n'))
	out.fail(err)
	return out
}

type lines struct {
	w       *bufio.Writer
	names   [][]byte // of JSON: quoted, with the colon
	row     func(b []byte, rec arrow.RecordBatch, i int) ([]byte, error)
	line    []byte
	scratch []byte
	err     error
}

func (l *lines) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

func (l *lines) Write(rec arrow.RecordBatch) error {
	for i := 0; i < int(rec.NumRows()) && l.err == nil; i++ {
		var err error
		if l.line, err = l.row(l.line[:0], rec, i); err == nil {
			_, err = l.w.Write(append(l.line, '\n'))
		}
		l.fail(err)
	}
	return l.err
}

func (l *lines) Close() error {
	l.fail(l.w.Flush())
	return l.err
}

func (l *lines) jsonRow(b []byte, rec arrow.RecordBatch, i int) ([]byte, error) {
	b = append(b, '{')
	for j := range int(rec.NumCols()) {
		if j > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendJSON(append(b, l.names[j]...), rec.Column(j), i); err != nil {
			return b, fmt.Errorf("column %s: %w", rec.ColumnName(j), err)
		}
	}
	return append(b, '}'), nil
}

func (l *lines) csvRow(b []byte, rec arrow.RecordBatch, i int) ([]byte, error) {
	for j := range int(rec.NumCols()) {
		if j > 0 {
			b = append(b, ',')
		}
		if isNull(rec.Column(j), i) {
			continue
		}
		var err error
		if l.scratch, err = appendText(l.scratch[:0], rec.Column(j), i); err != nil {
			return b, fmt.Errorf("column %s: %w", rec.ColumnName(j), err)
		}
		b = appendQuoted(b, l.scratch)
	}
	return b, nil
}

// appendQuoted appends a CSV field, in quotes where it needs them.
func appendQuoted(b, field []byte) []byte {
	if len(field) > 0 && !bytes.ContainsAny(field, "\",\r\n") && field[0] != ' ' && field[len(field)-1] != ' ' {
		return append(b, field...)
	}
	b = append(b, '"')
	b = append(b, bytes.ReplaceAll(field, []byte{'"'}, []byte(`""`))...)
	return append(b, '"')
}

// What a table of text shows at most of a value, and how many rows it looks
// at to find out how wide the columns are.
const (
	cellRunesMax = 60
	sampleRows   = 200
)

// Table writes rows in columns for people: numbers to the right, null as
// "NULL", long values cut with an ellipsis. The widths are those of the first
// rows; a wider value later pushes the rest of its line.
func Table(w io.Writer, schema *arrow.Schema) Writer {
	t := &table{w: bufio.NewWriterSize(w, 64<<10)}
	for _, f := range schema.Fields() {
		t.head = append(t.head, f.Name)
		t.right = append(t.right, isNumber(f.Type))
	}
	return t
}

type table struct {
	w     *bufio.Writer
	head  []string
	right []bool
	width []int      // nil until the first rows are known
	held  [][]string // until then
	err   error
}

func (t *table) Write(rec arrow.RecordBatch) error {
	for i := 0; i < int(rec.NumRows()) && t.err == nil; i++ {
		cells := make([]string, rec.NumCols())
		for j := range cells {
			cells[j], t.err = cell(rec.Column(j), i)
			if t.err != nil {
				t.err = fmt.Errorf("column %s: %w", rec.ColumnName(j), t.err)
				return t.err
			}
		}
		if t.width != nil {
			t.put(cells)
			continue
		}
		if t.held = append(t.held, cells); len(t.held) == sampleRows {
			t.begin()
		}
	}
	return t.err
}

func (t *table) Close() error {
	if t.width == nil && t.err == nil {
		t.begin()
	}
	if err := t.w.Flush(); t.err == nil {
		t.err = err
	}
	return t.err
}

// begin fixes the widths and writes the head and the rows held.
func (t *table) begin() {
	t.width = make([]int, len(t.head))
	for _, line := range append([][]string{t.head}, t.held...) {
		for j, s := range line {
			t.width[j] = max(t.width[j], utf8.RuneCountInString(s))
		}
	}
	t.put(t.head)
	rule := make([]string, len(t.head))
	for j := range rule {
		rule[j] = strings.Repeat("─", t.width[j])
	}
	t.put(rule)
	for _, line := range t.held {
		t.put(line)
	}
	t.held = nil
}

func (t *table) put(cells []string) {
	var b strings.Builder
	for j, s := range cells {
		if j > 0 {
			b.WriteString("  ")
		}
		pad := strings.Repeat(" ", max(0, t.width[j]-utf8.RuneCountInString(s)))
		if t.right[j] {
			b.WriteString(pad + s)
		} else {
			b.WriteString(s + pad)
		}
	}
	if _, err := t.w.WriteString(strings.TrimRight(b.String(), " ") + "\n"); t.err == nil {
		t.err = err
	}
}

func cell(a arrow.Array, i int) (string, error) {
	if isNull(a, i) {
		return "NULL", nil
	}
	s, err := Text(a, i)
	if err != nil {
		return "", err
	}
	return shorten(s), nil
}

// shorten makes one short line of s that cannot upset a terminal.
func shorten(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > cellRunesMax {
			b.WriteRune('…')
			break
		}
		switch {
		case r == '\n':
			b.WriteRune('⏎')
		case r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0):
			b.WriteRune('·')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func isNumber(t arrow.DataType) bool {
	return arrow.IsInteger(t.ID()) || arrow.IsFloating(t.ID()) || arrow.IsDecimal(t.ID())
}
