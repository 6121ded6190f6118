package tablefmt

import (
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/lakeload/lakeload/tablefmt/colfile"
)

// Table properties that say which columns have statistics.
const (
	// PropStatsNumColumns is the number of columns, from the first, that have
	// statistics: fields of structs count one each, a list or a map one. -1 is all;
	// without the property 32.
	PropStatsNumColumns = "delta.dataSkippingNumIndexedCols"
	// PropStatsColumns names the columns that have statistics instead, separated
	// by commas: a.b is a field of a struct, the name of a struct stands for all of
	// its fields, and names may stand in backquotes.
	PropStatsColumns = "delta.dataSkippingStatsColumns"
)

// statsOf says which columns of a data file get statistics: n of them, as
// FileOptions.StatsColumns, or where that is 0 those that the table's
// properties name; and in any case those by which the table is clustered.
// (Writer Requirements for Clustered Table)
func (s *Snapshot) statsOf(n int) (func(path []string) bool, error) {
	want, err := s.statsPaths(n)
	if err != nil {
		return nil, err
	}
	for _, column := range s.clusteringColumns() {
		want[pathKey(column)] = true
	}
	return func(path []string) bool { return want[pathKey(path)] }, nil
}

func pathKey(path []string) string { return strings.Join(path, "\x00") }

// statsPaths gives the columns by their paths of names in files.
func (s *Snapshot) statsPaths(n int) (map[string]bool, error) {
	leaves := leavesOf(s.DataArrow().Fields(), nil, nil)
	want := make(map[string]bool)
	if names := s.Property(PropStatsColumns); names != "" && n == 0 {
		listed, err := parseColumnList(names)
		if err != nil {
			return nil, invalidf("%s: %w", PropStatsColumns, err)
		}
		for _, l := range leaves {
			for _, name := range listed {
				if isOrIn(l.names, name) {
					want[pathKey(l.files)] = true
				}
			}
		}
		return want, nil
	}
	if n == 0 {
		n = colfile.DefaultStatsColumns
		if text := s.Property(PropStatsNumColumns); text != "" {
			var err error
			if n, err = strconv.Atoi(strings.TrimSpace(text)); err != nil || n < -1 {
				return nil, invalidf("%s is %q, which is no number of columns", PropStatsNumColumns, text)
			}
		}
	}
	for i, l := range leaves {
		if n == -1 || i < n {
			want[pathKey(l.files)] = true
		}
	}
	return want, nil
}

// leaf is a column that may have statistics.
type leaf struct{ names, files []string } // its path in the schema and in files

func leavesOf(fields []arrow.Field, names, files []string) (out []leaf) {
	for _, f := range fields {
		l := leaf{append(names[:len(names):len(names)], f.Name), append(files[:len(files):len(files)], fileNameOf(f))}
		if st, ok := f.Type.(*arrow.StructType); ok {
			out = append(out, leavesOf(st.Fields(), l.names, l.files)...)
		} else {
			out = append(out, l)
		}
	}
	return out
}

func fileNameOf(f arrow.Field) string {
	if name, ok := f.Metadata.GetValue(colfile.FileNameKey); ok {
		return name
	}
	return f.Name
}

// isOrIn reports whether a column is the named one, or a field of it.
func isOrIn(column, named []string) bool {
	if len(named) > len(column) {
		return false
	}
	for i := range named {
		if !strings.EqualFold(named[i], column[i]) {
			return false
		}
	}
	return true
}

// parseColumnList reads names of columns as properties hold them.
func parseColumnList(text string) (out [][]string, err error) {
	var path []string
	var part strings.Builder
	quoted, closed := false, false
	end := func() error {
		name := part.String()
		if !closed {
			name = strings.TrimSpace(name)
		}
		if name == "" {
			return invalidf("%q has an empty name", text)
		}
		path, closed = append(path, name), false
		part.Reset()
		return nil
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '`' && i+1 < len(text) && text[i+1] == '`':
			part.WriteByte('`')
			i++
		case quoted && c == '`':
			quoted, closed = false, true
		case quoted:
			part.WriteByte(c)
		case c == '`' && strings.TrimSpace(part.String()) == "" && !closed:
			part.Reset()
			quoted = true
		case c == '.', c == ',':
			if err := end(); err != nil {
				return nil, err
			}
			if c == ',' {
				out, path = append(out, path), nil
			}
		case closed && c != ' ':
			return nil, invalidf("%q has text behind a closed name", text)
		case closed:
		default:
			part.WriteByte(c)
		}
	}
	if quoted {
		return nil, invalidf("%q has a backquote that is not closed", text)
	}
	if err := end(); err != nil {
		return nil, err
	}
	return append(out, path), nil
}
