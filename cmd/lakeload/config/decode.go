package config

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/lakeload/lakeload/lakehouse/partition"
)

// Fault is one thing that is wrong with a file.
type Fault struct {
	File string
	Line int // from 1; 0 where it is about the file as a whole
	Text string
}

func (f *Fault) Error() string {
	if f.Line == 0 {
		return fmt.Sprintf("%s: %s", f.File, f.Text)
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Text)
}

// decoder walks the file's tree and gathers every fault.
type decoder struct {
	file   string
	env    func(string) (string, bool)
	faults []error
}

// keys are what a mapping may hold, each with what reads its value.
type keys map[string]func(*yaml.Node)

func (d *decoder) fault(n *yaml.Node, format string, args ...any) {
	line := 0
	if n != nil {
		line = n.Line
	}
	d.faults = append(d.faults, &Fault{File: d.file, Line: line, Text: fmt.Sprintf(format, args...)})
}

// document reads the one document of a file.
func (d *decoder) document(text []byte, root keys) error {
	dec := yaml.NewDecoder(strings.NewReader(string(text)))
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		d.fault(nil, "it is empty: at least version, source and lake are needed")
	case err != nil:
		d.fault(nil, "it is no YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	default:
		d.mapping(doc.Content[0], "", root)
		if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
			d.fault(&more, "it holds more than one document: write one file a pipeline")
		}
	}
	return errors.Join(d.faults...)
}

// mapping reads the keys of n; where says what n is, "" for the whole file.
func (d *decoder) mapping(n *yaml.Node, where string, known keys) {
	n = follow(n)
	if n.Kind != yaml.MappingNode {
		d.fault(n, "%s is not a list of keys and values", orFile(where))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], follow(n.Content[i+1])
		read, ok := known[key.Value]
		switch {
		case !ok:
			d.unknown(key, where, known)
		case seen[key.Value]:
			d.fault(key, "key %q stands twice in %s", key.Value, orFile(where))
		case value.Kind == yaml.ScalarNode && value.Tag == "!!null":
			d.fault(key, "key %q of %s has no value: give one, or leave the key out", key.Value, orFile(where))
		default:
			read(value)
		}
		seen[key.Value] = true
	}
}

func (d *decoder) unknown(key *yaml.Node, where string, known keys) {
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(names)
	hint := "known here: " + strings.Join(names, ", ")
	if near := nearest(key.Value, names); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	d.fault(key, "unknown key %q in %s; %s", key.Value, orFile(where), hint)
}

// text reads a string that is not empty, environment variables expanded.
func (d *decoder) text(to *string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if s, ok := d.scalar(n); ok {
			*to = s
		}
	}
}

func (d *decoder) scalar(n *yaml.Node) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		d.fault(n, "one value is wanted, not a list or a mapping")
		return "", false
	}
	s, missing := expand(n.Value, d.env)
	for _, name := range missing {
		d.fault(n, "environment variable %s is not set; write $${%s} for the text itself", name, name)
	}
	if len(missing) == 0 && s == "" {
		d.fault(n, "the value is empty")
	}
	return s, len(missing) == 0 && s != ""
}

// parsed reads a value by a function that says what is wrong with it.
func parsed[T any](d *decoder, to *T, parse func(string) (T, error)) func(*yaml.Node) {
	return func(n *yaml.Node) {
		s, ok := d.scalar(n)
		if !ok {
			return
		}
		v, err := parse(s)
		if err != nil {
			d.fault(n, "%v", err)
			return
		}
		*to = v
	}
}

// words reads one value or a list of values, each by parse.
func (d *decoder) words(to *[]string, parse func(string) (string, error)) func(*yaml.Node) {
	return func(n *yaml.Node) {
		items := []*yaml.Node{n}
		if n.Kind == yaml.SequenceNode {
			items = n.Content
		}
		if len(items) == 0 {
			d.fault(n, "the list is empty")
		}
		for _, item := range items {
			var s string
			parsed(d, &s, parse)(follow(item))
			if slices.Contains(*to, s) && s != "" {
				d.fault(item, "%q stands twice in the list", s)
			}
			*to = append(*to, s)
		}
	}
}

// wordsOrNone is words where an empty list says that there are to be none.
func (d *decoder) wordsOrNone(to *[]string, parse func(string) (string, error)) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
			*to = []string{}
			return
		}
		d.words(to, parse)(n)
	}
}

// transforms reads partition columns: [region, bucket(16, id)]. The comma
// within parentheses is one that YAML takes for the end of an element.
func (d *decoder) transforms(to *[]string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		before := len(d.faults)
		if n.Kind == yaml.SequenceNode {
			n = joined(n)
		}
		d.wordsOrNone(to, func(s string) (string, error) {
			t, err := partition.Parse(s)
			return t.String(), err
		})(n)
		if _, err := partition.ParseAll(*to); err != nil && len(d.faults) == before {
			d.fault(n, "%v", err)
		}
	}
}

// joined puts the elements of a list together that are within parentheses.
func joined(n *yaml.Node) *yaml.Node {
	list := *n
	list.Content = nil
	for i := 0; i < len(n.Content); i++ {
		item := follow(n.Content[i])
		if item.Kind == yaml.ScalarNode && strings.Count(item.Value, "(") > strings.Count(item.Value, ")") {
			whole := *item
			for i+1 < len(n.Content) && strings.Count(whole.Value, "(") > strings.Count(whole.Value, ")") {
				i++
				whole.Value += ", " + follow(n.Content[i]).Value
			}
			item = &whole
		}
		list.Content = append(list.Content, item)
	}
	return &list
}

// named reads a mapping whose keys are names of the user's, each value by parse.
func (d *decoder) named(to *map[string]string, where string, parse func(string) (string, error)) func(*yaml.Node) {
	return func(n *yaml.Node) {
		known := keys{}
		if n.Kind == yaml.MappingNode {
			for i := 0; i < len(n.Content); i += 2 {
				name := n.Content[i].Value
				known[name] = func(n *yaml.Node) {
					var word string
					parsed(d, &word, parse)(n)
					if *to == nil {
						*to = map[string]string{}
					}
					(*to)[name] = word
				}
			}
			if len(known) == 0 {
				d.fault(n, "%s is empty", where)
			}
		}
		d.mapping(n, where, known)
	}
}

// argv reads a program and its arguments, which no shell looks at.
func (d *decoder) argv(to *[]string) func(*yaml.Node) {
	return d.list("password_command", func(i int, n *yaml.Node) {
		s := ""
		if n.Kind == yaml.ScalarNode && n.Value == "" && i > 0 { // an argument may be empty
			*to = append(*to, s)
			return
		}
		if s, ok := d.scalar(n); ok {
			*to = append(*to, s)
		}
	})
}

// list reads every element of a list.
func (d *decoder) list(where string, each func(i int, n *yaml.Node)) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.SequenceNode {
			d.fault(n, "%s is not a list: begin each element with '- '", where)
			return
		}
		for i, item := range n.Content {
			each(i, follow(item))
		}
	}
}

// oneOf accepts a few words.
func oneOf(words ...string) func(string) (string, error) {
	return func(s string) (string, error) {
		if slices.Contains(words, s) {
			return s, nil
		}
		return "", fmt.Errorf("%q is none of %s", s, strings.Join(words, ", "))
	}
}

func count(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is not a whole number from 1", s)
	}
	return n, nil
}

// follow goes to what an alias stands for.
func follow(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func orFile(where string) string {
	if where == "" {
		return "the file"
	}
	return where
}

// expand replaces ${NAME} by the variable's value and $${ by ${, and gives
// the names that are not set.
func expand(s string, env func(string) (string, bool)) (out string, missing []string) {
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			break
		}
		if i > 0 && s[i-1] == '$' {
			b.WriteString(s[:i-1] + "${")
			s = s[i+2:]
			continue
		}
		end := strings.IndexByte(s[i:], '}')
		if end < 0 {
			break
		}
		name := s[i+2 : i+end]
		v, ok := env(name)
		if !ok {
			missing = append(missing, name)
		}
		b.WriteString(s[:i] + v)
		s = s[i+end+1:]
	}
	return b.String() + s, missing
}

// nearest gives the known name that a mistyped one is most likely to mean, ""
// where none is near.
func nearest(name string, known []string) string {
	best, least := "", max(2, len(name)/3)+1
	for _, k := range known {
		if n := distance(strings.ToLower(name), k); n < least {
			best, least = k, n
		}
	}
	return best
}

// distance is the number of letters to add, drop, change or swap with their
// neighbour to make b of a.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
