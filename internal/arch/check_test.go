package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// source is one Go file, whatever its build constraints.
type source struct {
	file    string   // in the module
	pkg     string   // its folder
	test    bool     // a _test.go file
	imports []string // as written
	exits   []string // os.Exit and its like, with their lines
}

// module is all of a module's files.
type module struct {
	path    string // as in go.mod
	sources []source
}

// read parses all Go files below root, a module of its own below excepted.
func read(root string) (*module, error) {
	gomod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return nil, err
	}
	m := new(module)
	for line := range strings.Lines(string(gomod)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "module "); ok {
			m.path = strings.TrimSpace(name)
		}
	}
	err = fs.WalkDir(os.DirFS(root), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			_, nested := os.Stat(filepath.Join(root, p, "go.mod"))
			if p != "." && (name == "testdata" || name == "vendor" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || nested == nil) {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(name, ".go") {
			s, err := readFile(root, p)
			if err != nil {
				return err
			}
			m.sources = append(m.sources, s)
		}
		return nil
	})
	return m, err
}

func readFile(root, p string) (source, error) {
	s := source{file: p, pkg: path.Dir(p), test: strings.HasSuffix(p, "_test.go")}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, filepath.Join(root, p), nil, parser.SkipObjectResolution)
	if err != nil {
		return s, err
	}
	for _, spec := range file.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return s, err
		}
		s.imports = append(s.imports, name)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok {
			call := x.Name + "." + sel.Sel.Name
			if call == "os.Exit" || call == "syscall.Exit" || strings.HasPrefix(call, "log.Fatal") {
				s.exits = append(s.exits, fmt.Sprintf("%s at line %d", call, fset.Position(n.Pos()).Line))
			}
		}
		return true
	})
	return s, nil
}

// check gives what breaks the rules, one line each.
func check(m *module) []string {
	var bad []string
	support := m.support()
	seen := make(map[string]bool)
	for _, s := range m.sources {
		rule := ruleOf(s.pkg)
		if rule == nil && !seen[s.pkg] {
			bad = append(bad, fmt.Sprintf("%s: the package is in no rule; add it to the arrows, and to the design", s.pkg))
		}
		seen[s.pkg] = true
		free := s.test || support[s.pkg] || matches(nobody, s.pkg)
		if len(s.exits) > 0 && !free && !slices.Contains(exits, s.file) {
			bad = append(bad, fmt.Sprintf("%s: %s; only main ends the process: give an error", s.file, strings.Join(s.exits, ", ")))
		}
		for _, name := range s.imports {
			if why := wrongImport(m, rule, s, name, free, support); why != "" {
				bad = append(bad, fmt.Sprintf("%s: imports %s: %s", s.file, name, why))
			}
		}
	}
	slices.Sort(bad)
	return bad
}

// support finds the packages that are for tests alone: their ordinary files
// import testing, and their names say so.
func (m *module) support() map[string]bool {
	support := make(map[string]bool)
	for _, s := range m.sources {
		if !s.test && slices.Contains(s.imports, "testing") && strings.HasSuffix(s.pkg, "test") {
			support[s.pkg] = true
		}
	}
	return support
}

func wrongImport(m *module, rule *arrow, s source, name string, free bool, support map[string]bool) string {
	if name == "testing" && !free {
		return "only a package whose name ends in test is for tests"
	}
	to, ours := strings.CutPrefix(name, m.path+"/")
	if !ours {
		for prefix, importers := range loners {
			if (name == prefix || strings.HasPrefix(name, prefix+"/")) && !free && !matches(importers, s.pkg) {
				return fmt.Sprintf("only %s may", strings.Join(importers, ", "))
			}
		}
		return ""
	}
	if matches(nobody, to) && !matches(nobody, s.pkg) && !s.test {
		return "nothing imports that"
	}
	if free || rule == nil || slices.Contains(leaves, to) {
		return ""
	}
	if support[to] {
		return "it is for tests alone"
	}
	if matches(rule.to, to) || strings.HasSuffix(rule.from, "/...") && below(rule.from, to) {
		return ""
	}
	return fmt.Sprintf("the arrows of %s are %v", rule.from, rule.to)
}

// ruleOf gives the rule with the longest from that matches.
func ruleOf(pkg string) *arrow {
	var best *arrow
	for i := range arrows {
		a := &arrows[i]
		if match(a.from, pkg) && (best == nil || len(strings.TrimSuffix(a.from, "/...")) > len(strings.TrimSuffix(best.from, "/...")) ||
			a.from == pkg) {
			best = a
		}
	}
	return best
}

// below reports whether pkg may be reached from its own rule's family: that
// of one package and those under it, not one of siblings.
func below(from, pkg string) bool {
	return match(from, pkg) && !slices.Contains([]string{"internal/...", "lakehouse/...", "tablefmt/objstore/..."}, from)
}

func matches(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, pkg) })
}

func match(pattern, pkg string) bool {
	if pattern == "..." {
		return true
	}
	if root, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == root || strings.HasPrefix(pkg, root+"/")
	}
	return pkg == pattern
}
