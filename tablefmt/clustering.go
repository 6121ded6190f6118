package tablefmt

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// clusteringDomain names the columns by which a table is clustered. (Clustered
// Table)
const clusteringDomain = "delta.clustering"

// clusteringColumns gives the paths of the columns by which the table is
// clustered, by their names in files; nil for none.
func (s *Snapshot) clusteringColumns() [][]string {
	if !s.Protocol().Has("clustering") {
		return nil
	}
	c, err := s.st.clustering()
	if err != nil {
		return nil // a commit says so
	}
	return c
}

// ClusteringColumns gives the paths of the columns by which the table is
// clustered, under the schema's names, in order of weight; nil where it is not.
// (Clustered Table) A domain that cannot be read is ErrCorrupt.
func (s *Snapshot) ClusteringColumns() ([][]string, error) {
	if !s.Protocol().Has("clustering") {
		return nil, nil
	}
	paths, err := s.st.clustering()
	if err != nil {
		return nil, corrupt("the metadata domain "+clusteringDomain, s.Version(), err)
	}
	out := make([][]string, len(paths))
	for i, path := range paths {
		for _, l := range leavesOf(s.files.Fields(), nil, nil) {
			if slices.Equal(l.files, path) {
				out[i] = l.names
			}
		}
		if out[i] == nil {
			return nil, corrupt("the metadata domain "+clusteringDomain, s.Version(), fmt.Errorf("there is no column %q", strings.Join(path, ".")))
		}
	}
	return out, nil
}

// clustering reads the domain: each column a list of names, or one name.
func (st *state) clustering() ([][]string, error) {
	d, ok := st.domains.get(clusteringDomain)
	if !ok {
		return nil, nil
	}
	return parseClustering(d.Configuration)
}

func parseClustering(configuration string) ([][]string, error) {
	var c struct {
		Columns []json.RawMessage `json:"clusteringColumns"`
	}
	if err := json.Unmarshal([]byte(configuration), &c); err != nil {
		return nil, fmt.Errorf("it does not tell the clustering columns: %w", err)
	}
	out := make([][]string, len(c.Columns))
	for i, raw := range c.Columns {
		var name string
		if err := json.Unmarshal(raw, &name); err == nil {
			out[i] = []string{name}
		} else if err := json.Unmarshal(raw, &out[i]); err != nil || len(out[i]) == 0 {
			return nil, fmt.Errorf("it does not tell the clustering columns: %s", raw)
		}
	}
	return out, nil
}

// placeClustering makes the domain of what SetClustering wants.
func (t *Transaction) placeClustering(s *Schema, mode MappingMode) error {
	if t.cluster == nil {
		return nil
	}
	paths := make([][]string, len(t.cluster))
	for i, names := range t.cluster {
		st := s
		for _, name := range names {
			var f Field
			ok := false
			if st != nil {
				f, ok = st.Field(name)
			}
			if !ok {
				return invalidf("clustering by %q, which is no column", strings.Join(names, "."))
			}
			paths[i] = append(paths[i], mode.physicalName(&f))
			st, _ = f.Type.(*Struct)
		}
		if st != nil || len(names) == 0 {
			return invalidf("clustering by %q, which has no order", strings.Join(names, "."))
		}
	}
	b, err := json.Marshal(struct {
		Columns [][]string `json:"clusteringColumns"`
		Name    string     `json:"domainName"`
	}{paths, clusteringDomain})
	if err != nil {
		return invalidf("clustering: %w", err)
	}
	t.domains = append(t.domains, DomainMetadata{Domain: clusteringDomain, Configuration: string(b)})
	return t.checkClusteredFiles(paths)
}

// checkClusteredFiles refuses clustering by a column of which a file that is
// there has no statistics.
func (t *Transaction) checkClusteredFiles(columns [][]string) error {
	if t.base == nil {
		return nil
	}
	for a := range t.base.Files() {
		st, err := a.ParseStats()
		if err != nil {
			return invalidf("%w", err)
		}
		for _, path := range columns {
			if !st.tells(path) {
				return invalidf("clustering by %q: %s has no statistics of it", strings.Join(path, "."), a.Path)
			}
		}
	}
	return nil
}

// checkClustering refuses what a clustered table does not bear: partition
// columns, a schema without a clustering column, and new files without
// statistics of those columns. (Writer Requirements for Clustered Table)
func (t *Transaction) checkClustering(p *Protocol, m *Metadata, s *Schema, mode MappingMode) error {
	if !p.Has("clustering") {
		return nil
	}
	columns, err := t.clusteringAfter()
	if err != nil {
		return invalidf("the metadata domain %q: %w", clusteringDomain, err)
	}
	if len(columns) == 0 {
		return nil
	}
	if len(m.PartitionColumns) > 0 {
		return invalidf("a table is clustered or partitioned, not both")
	}
	for _, path := range columns {
		if !hasColumn(s, mode, path) {
			return invalidf("column %q cannot be dropped: the table is clustered by it", strings.Join(path, "."))
		}
	}
	for i := range t.adds {
		a := &t.adds[i]
		if t.base != nil {
			if _, there := t.base.File(a.Path); there {
				continue
			}
		}
		if t.restores {
			continue // as it was when the table was clustered so
		}
		st, err := a.ParseStats()
		if err != nil {
			return invalidf("adding %s: %w", a.Path, err)
		}
		for _, path := range columns {
			if !st.tells(path) {
				return invalidf("adding %s: it has no statistics of column %q, by which the table is clustered; the table's own writer makes them (Snapshot.NewFileWriter)", a.Path, strings.Join(path, "."))
			}
		}
	}
	return nil
}

// clusteringAfter is the clustering after the commit.
func (t *Transaction) clusteringAfter() ([][]string, error) {
	for i := range t.domains {
		if d := &t.domains[i]; d.Domain == clusteringDomain {
			if d.Removed {
				return nil, nil
			}
			return parseClustering(d.Configuration)
		}
	}
	if t.base == nil {
		return nil, nil
	}
	return t.base.st.clustering()
}

// hasColumn reports whether a schema has a column of that path of names in
// files.
func hasColumn(s *Schema, mode MappingMode, path []string) bool {
	for i, name := range path {
		f := fieldCalled(s, mode, name)
		if f == nil {
			return false
		}
		if i == len(path)-1 {
			return true
		}
		var ok bool
		if s, ok = f.Type.(*Struct); !ok {
			return false
		}
	}
	return false
}

// tells reports whether there are statistics of a column.
func (st *FileStats) tells(path []string) bool {
	values := st.NullCount
	for i, name := range path {
		v, ok := values[name]
		if !ok || i == len(path)-1 {
			return ok && st.NumRecords != nil
		}
		values = nil
		if json.Unmarshal(v, &values) != nil {
			return false
		}
	}
	return false
}
