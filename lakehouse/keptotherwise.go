package lakehouse

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lakeload/lakeload/tablefmt"
)

// onlyKeeps reports whether a commit changes no row and no column of a table, but
// how it is kept: properties, comments, features. The writer heeds those that
// concern it, and a table that it may not write to then is refused when it is
// opened. The error is tablefmt.ErrNoVersion where the version before is not told any
// more. What says who feeds the table, and how, is nobody else's to change.
func onlyKeeps(ctx context.Context, spec *tableSpec, version int64, actions []tablefmt.Action) (bool, error) {
	var now *tablefmt.Metadata
	for i := range actions {
		switch a := &actions[i]; {
		case a.Add != nil && a.Add.DataChange, a.Remove != nil && a.Remove.DataChange, a.CDC != nil:
			return false, nil
		case a.Metadata != nil:
			now = a.Metadata
		}
	}
	if now == nil {
		return true, nil
	}
	before, err := tablefmt.LoadAt(ctx, spec.loc, version-1)
	if err != nil {
		return false, fmt.Errorf("checking version %d of %s: %w", version, spec, err)
	}
	return sameContent(before.Metadata(), now), nil
}

// sameContent reports whether two states of a table's metadata say the same of its
// columns and of what feeds it.
func sameContent(a, b *tablefmt.Metadata) bool {
	if a.ID != b.ID || !slices.Equal(a.PartitionColumns, b.PartitionColumns) || !maps.Equal(ownProperties(a), ownProperties(b)) {
		return false
	}
	x, errA := tablefmt.ParseSchema(a.SchemaString)
	y, errB := tablefmt.ParseSchema(b.SchemaString)
	return errA == nil && errB == nil && withoutComments(x).JSON() == withoutComments(y).JSON()
}

// copyDecides reports whether the content of a table decides what one of its
// properties says, so that a copy decides it anew.
func copyDecides(property string) bool {
	switch property {
	case propPipeline, propSource, propKey, propMode, propBag, propDelete, propMasks, propRanges, propPieces, propBegun,
		tablefmt.PropDeletionVectors, tablefmt.PropChangeDataFeed, tablefmt.PropAppendOnly:
		return true
	}
	return false
}

// ownProperties are the properties that say what feeds a table.
func ownProperties(m *tablefmt.Metadata) map[string]string {
	own := map[string]string{}
	for k, v := range m.Configuration {
		if copyDecides(k) && !strings.HasPrefix(k, "delta.") {
			own[k] = v
		}
	}
	return own
}

// isComment reports whether a key of a column's metadata is there for people, or
// for other programs.
func isComment(key string) bool {
	return !strings.HasPrefix(key, "delta.") && !strings.HasPrefix(key, "lakeload.")
}

// withoutComments gives a schema without the columns' comments.
func withoutComments(s *tablefmt.Schema) *tablefmt.Schema {
	out := &tablefmt.Schema{Fields: slices.Clone(s.Fields)}
	for i := range out.Fields {
		f := &out.Fields[i]
		f.Metadata = maps.Clone(f.Metadata)
		maps.DeleteFunc(f.Metadata, func(key string, _ any) bool { return isComment(key) })
	}
	return out
}

// withComments gives a schema with the comments that another one's columns of the
// same names have.
func withComments(s, from *tablefmt.Schema) *tablefmt.Schema {
	out := withoutComments(s)
	for i := range out.Fields {
		f := &out.Fields[i]
		old, ok := from.Field(f.Name)
		for key, v := range old.Metadata {
			if ok && isComment(key) {
				if f.Metadata == nil {
					f.Metadata = map[string]any{}
				}
				f.Metadata[key] = v
			}
		}
	}
	return out
}

// writtenBy reports whether a property says how files are written, so that it is
// the log's of a copy, too. Others may need features that such a log has not.
func writtenBy(property string) bool {
	switch property {
	case tablefmt.PropCodec, tablefmt.PropTargetSize, tablefmt.PropRandomFolder, tablefmt.PropRandomLength,
		tablefmt.PropStatsNumColumns, tablefmt.PropStatsColumns, tablefmt.PropWritePartitions:
		return true
	}
	return false
}

// keep sets in the metadata of a copy that is published what somebody has said of
// how the table is kept, and the options have not.
func keep(md *tablefmt.Metadata, base *tablefmt.Snapshot, spec *tableSpec) error {
	s, err := tablefmt.ParseSchema(md.SchemaString)
	if err != nil {
		return err
	}
	md.SchemaString = withComments(s, base.Schema()).JSON()
	md.Description = base.Metadata().Description
	maps.DeleteFunc(md.Configuration, func(k, _ string) bool { return !copyDecides(k) })
	for k, v := range base.Metadata().Configuration {
		if !copyDecides(k) || k == tablefmt.PropDeletionVectors && (spec.state.Deletes == "" || spec.mode != ModeMirror) {
			md.Configuration[k] = v
		}
	}
	return nil
}

// clusteredAs gives the columns by which a copy is clustered, as the table is; none
// where it is not. lost says that it cannot be so any more.
func clusteredAs(base *tablefmt.Snapshot, md *tablefmt.Metadata, s *tablefmt.Schema) (columns [][]string, lost bool, err error) {
	if base == nil {
		return nil, false, nil
	}
	if columns, err = base.ClusteringColumns(); err != nil {
		return nil, false, err
	}
	for _, path := range columns {
		if _, ok := s.Field(path[0]); !ok || len(path) > 1 || len(md.PartitionColumns) > 0 {
			return nil, true, nil
		}
	}
	return columns, false, nil
}

// rewrites reports whether rows go from a mirror by writing its files anew: as the
// options say, or where they do not, the table.
func (o *TableOptions) rewrites(snap *tablefmt.Snapshot) bool {
	switch o.Deletes {
	case DeletesVectors:
		return false
	case DeletesRewrite:
		return true
	}
	return !strings.EqualFold(snap.Property(tablefmt.PropDeletionVectors), "true")
}

// switches reports whether a table's properties say otherwise than the options do.
func (t *table) switches() bool { return t.switchesVectors() || t.switchesFeed() }

// setSwitches sets in a table's properties what the options say otherwise.
func (t *table) setSwitches(md *tablefmt.Metadata) {
	t.setVectors(md)
	t.setFeed(md)
}

// switchesVectors reports whether a mirror's properties say otherwise of how rows go
// from it than the options do.
func (t *table) switchesVectors() bool {
	if t.spec.mode != ModeMirror || t.spec.loc.Log != nil {
		return false
	}
	is := strings.EqualFold(t.snap.Property(tablefmt.PropDeletionVectors), "true")
	o := &t.spec.state.TableOptions
	return o.Deletes == DeletesVectors && !is || o.Deletes == DeletesRewrite && is
}

// setVectors sets in a table's properties how rows go from it, if that is another
// thing than they say.
func (t *table) setVectors(md *tablefmt.Metadata) {
	switch {
	case !t.switchesVectors():
	case t.spec.state.Deletes == DeletesVectors:
		md.Configuration[tablefmt.PropDeletionVectors] = "true"
	default:
		delete(md.Configuration, tablefmt.PropDeletionVectors)
	}
}

// keepFeatures adds to a protocol what the table lists besides, but not deletion
// vectors where the copy goes without them: then the oldest readers can read it.
func keepFeatures(p *tablefmt.Protocol, md *tablefmt.Metadata, base *tablefmt.Snapshot) (*tablefmt.Protocol, error) {
	var more []string
	for _, f := range base.Protocol().WriterFeatures {
		if !p.Has(f) && (f != "deletionVectors" || md.Property(tablefmt.PropDeletionVectors) != "") {
			more = append(more, f)
		}
	}
	if len(more) == 0 {
		return p, nil
	}
	return p.With(more...)
}
