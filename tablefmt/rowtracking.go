package tablefmt

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/google/uuid"
)

// PropRowTracking makes a table give its rows ids that stay, and tell in which
// version each was written last. (Row Tracking)
const PropRowTracking = "delta.enableRowTracking"

// Properties of row tracking that writers keep.
const (
	propRowTrackingSuspended = "delta.rowTrackingSuspended"
	// In these columns of the data files stand the ids and versions of rows that
	// were copied from other files. They are in no schema.
	propRowIDColumn      = "delta.rowTracking.materializedRowIdColumnName"
	propRowVersionColumn = "delta.rowTracking.materializedRowCommitVersionColumnName"
)

// tagRowsPreserved is the tag of a commitInfo that says that rows which were
// copied or changed have kept their ids.
const tagRowsPreserved = "delta.rowTracking.preserved"

// isTrue reports whether a property is set to true, in the letters that Spark
// takes for it.
func (m *Metadata) isTrue(property string) bool {
	return strings.EqualFold(m.Property(property), "true")
}

// numbersRows reports whether writers give new files row ids.
func numbersRows(p *Protocol, m *Metadata) bool {
	return p.Has("rowTracking") && !m.isTrue(propRowTrackingSuspended)
}

// tracksRows reports whether the table's rows can be relied on to have ids.
func tracksRows(p *Protocol, m *Metadata) bool {
	return p.Has("rowTracking") && m.isTrue(PropRowTracking)
}

// rowWatermark is the greatest row id that was ever given, -1 for none.
func (st *state) rowWatermark() (int64, error) {
	d, ok := st.domains.get(rowTrackingDomain)
	if !ok {
		return -1, nil
	}
	var c struct {
		Mark *int64 `json:"rowIdHighWaterMark"`
	}
	if err := json.Unmarshal([]byte(d.Configuration), &c); err != nil || c.Mark == nil || *c.Mark < -1 {
		return 0, fmt.Errorf("the metadata domain %q does not tell the greatest row id: %q", rowTrackingDomain, d.Configuration)
	}
	return *c.Mark, nil
}

// numberer gives the files of one attempt to commit their row ids. It is pure:
// after a lost race the next attempt begins anew, at what the winner has given.
type numberer struct {
	st       *state
	version  int64
	mark     int64
	restores bool
	used     bool
}

// numberRows gives the actions of a commit that follows st with the row ids
// and commit versions that the protocol wants of them. A file that is there
// keeps what it has; one that a restore brings back has its own again. Where
// the commit turns row tracking on, the files that are there get theirs.
func (t *Transaction) numberRows(st *state, actions []Action) ([]Action, error) {
	p, m := t.effective(st)
	if !numbersRows(p, m) {
		return actions, nil
	}
	mark, err := st.rowWatermark()
	if err != nil {
		return nil, err
	}
	n := &numberer{st: st, version: st.version + 1, mark: mark, restores: t.restores}
	out := make([]Action, len(actions), len(actions)+1)
	named := make(map[string]bool)
	for i, a := range actions {
		switch {
		case a.Add != nil:
			named[canonicalPath(a.Add.Path)] = true
			if a.Add, err = n.number(a.Add); err != nil {
				return nil, err
			}
		case a.Remove != nil:
			named[canonicalPath(a.Remove.Path)] = true
		}
		out[i] = a
	}
	if t.metadata != nil && tracksRows(p, m) && (st.metadata == nil || !tracksRows(st.protocol, st.metadata)) {
		more, err := n.backfill(named)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	if n.used {
		out = append(out, Action{Domain: &DomainMetadata{Domain: rowTrackingDomain, Configuration: fmt.Sprintf(`{"rowIdHighWaterMark":%d}`, n.mark)}})
	}
	return out, nil
}

// effective is the protocol and the metadata after the commit.
func (t *Transaction) effective(st *state) (*Protocol, *Metadata) {
	p, m := t.protocol, t.metadata
	if p == nil {
		p = st.protocol
	}
	if m == nil {
		m = st.metadata
	}
	return p, m
}

// number gives a file its first row id and its version.
func (n *numberer) number(a *AddFile) (*AddFile, error) {
	old, there := n.st.files.get(a.Path)
	switch {
	case there && old.BaseRowID != nil:
		c := *a
		c.BaseRowID, c.DefaultRowCommitVersion = old.BaseRowID, old.DefaultRowCommitVersion
		return &c, nil
	case n.restores && a.BaseRowID != nil:
		if rows, ok := a.NumRecords(); !ok || *a.BaseRowID+rows-1 > n.mark {
			return nil, fmt.Errorf("%s has row ids up to %d, and the table says that it has given none beyond %d", a.Path, *a.BaseRowID+rows-1, n.mark)
		}
		return a, nil
	case !there && a.BaseRowID != nil:
		return nil, invalidf("adding %s: it has row ids, which only a table gives to its files, and is not in it; a restore brings files back", a.Path)
	}
	return n.fresh(a)
}

func (n *numberer) fresh(a *AddFile) (*AddFile, error) {
	rows, ok := a.NumRecords()
	if !ok {
		return nil, invalidf("adding %s: its statistics do not tell the number of rows, without which they get no ids (row tracking)", a.Path)
	}
	if rows > math.MaxInt64-1-n.mark {
		return nil, invalidf("adding %s: there are no more row ids beyond %d", a.Path, n.mark)
	}
	c, base, version := *a, n.mark+1, n.version
	c.BaseRowID, c.DefaultRowCommitVersion = &base, &version
	n.mark += rows
	n.used = true
	return &c, nil
}

// backfill adds the files again that are there without row ids, which changes
// no row.
func (n *numberer) backfill(named map[string]bool) (out []Action, err error) {
	for _, a := range n.st.files.all() {
		if named[canonicalPath(a.Path)] || a.BaseRowID != nil && a.DefaultRowCommitVersion != nil {
			continue
		}
		c := *a
		c.DataChange = false
		numbered, err := n.fresh(&c)
		if err != nil {
			return nil, err
		}
		out = append(out, Action{Add: numbered})
	}
	return out, nil
}

// nameRowColumns gives a table that is to track rows the names of the columns
// in which files keep ids and versions of rows from elsewhere.
func (t *Transaction) nameRowColumns() {
	m := t.metadata
	if m == nil || !m.isTrue(PropRowTracking) {
		return
	}
	for key, prefix := range map[string]string{propRowIDColumn: "_row-id-col-", propRowVersionColumn: "_row-commit-version-col-"} {
		if m.Property(key) == "" {
			m.Configuration[key] = prefix + uuid.NewString()
		}
	}
}

// checkRowTracking refuses metadata that turn row tracking on without what it
// needs, or lose the columns that files have.
func (t *Transaction) checkRowTracking(p *Protocol, m *Metadata, s *Schema, mode MappingMode) error {
	if !m.isTrue(PropRowTracking) {
		return nil
	}
	if m.isTrue(propRowTrackingSuspended) {
		return invalidf("%s and %s cannot both be true", PropRowTracking, propRowTrackingSuspended)
	}
	if !p.Has("rowTracking") || !p.Has("domainMetadata") {
		return invalidf("%s needs the features rowTracking and domainMetadata, which the table's protocol does not list", PropRowTracking)
	}
	for _, key := range []string{propRowIDColumn, propRowVersionColumn} {
		name := m.Property(key)
		if t.base != nil {
			if was := t.base.Property(key); was != "" && was != name {
				return invalidf("%s cannot change: files keep row ids under %q", key, was)
			}
		}
		for i := range s.Fields {
			if f := &s.Fields[i]; strings.EqualFold(f.Name, name) || strings.EqualFold(mode.physicalName(f), name) {
				return invalidf("column %q has the name that %s has taken", f.Name, key)
			}
		}
	}
	if m.Property(propRowIDColumn) == m.Property(propRowVersionColumn) {
		return invalidf("%s and %s are the same", propRowIDColumn, propRowVersionColumn)
	}
	return nil
}

// checkRowIDsKept refuses a commit that copies rows into files which have lost
// their ids.
func (t *Transaction) checkRowIDsKept(p *Protocol, m *Metadata) error {
	if t.base == nil || t.restores || !tracksRows(p, m) || !tracksRows(t.base.Protocol(), t.base.Metadata()) {
		return nil
	}
	for i := range t.adds {
		a := &t.adds[i]
		if _, there := t.base.File(a.Path); there || a.DataChange || a.made.keepsRowIDs() {
			continue
		}
		return &UnsupportedFeatureError{
			Feature: `the feature "rowTracking"`, Writing: true,
			Detail: fmt.Sprintf("%s holds rows of other files without their row ids: they are read with ReadOptions.RowIDs and written with FileOptions.RowIDs", a.Path),
		}
	}
	return nil
}

// keepsRows reports whether the rows that the commit copies or changes keep
// their ids, as far as it tells: rows of new files in a commit that removes
// others may be changed ones.
func (t *Transaction) keepsRows() bool {
	removes := false
	for i := range t.removes {
		removes = removes || t.removes[i].DataChange
	}
	for i := range t.adds {
		a := &t.adds[i]
		if !removes {
			break
		}
		_, there := t.base.File(a.Path)
		if !there && !t.restores && !a.made.keepsRowIDs() {
			return false
		}
	}
	return true
}

var errNoRowIDs = errors.New("the file has no row ids (baseRowId and defaultRowCommitVersion)")
