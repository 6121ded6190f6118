package mutants

const columns = "./lakehouse/typemap"

// changeMutations are faults in following changes of columns, tables and partitions, by the edge cases that they bring back.
var changeMutations = []mutation{
	{
		name: "change: a column is the one of its name, whatever came since", edge: 44, pkg: engine, test: "TestEdge44AColumnThatWasMadeAnewAndRenamed",
		edits: []edit{{"lakehouse/typemap/evolve.go", "if id != 0 && p.Rel.Later.MayReplace(", "if id < 0 && p.Rel.Later.MayReplace("}},
	},
	{
		name: "change: every column that is renamed later is in doubt", edge: 44, pkg: engine, test: "TestEdge44AColumnThatWasRenamedWhileItLagged",
		edits: []edit{{"cdc/relation.go", "return !l.Has(id) && (", "return true && ("}},
	},
	{
		name: "change: files are taken for those of columns that came before", edge: 43, pkg: changes, test: "TestEdge43AddedWhileTheEngineWasBehind", real: true,
		edits: []edit{{"lakehouse/shape.go", "rel.Files != nil && !rel.Ahead && identified(rel)", "rel.Files != nil && identified(rel)"}},
	},
	{
		name: "change: who waits gets nothing while the catalogue is asked", edge: 42, pkg: source, test: "TestEdge42AStreamThatIsBehindDoesNotWaitForColumnsThatAreGone",
		edits: []edit{{"cdc/postgres/stream_read.go", "behind || d.looked, false", "behind, false"}},
	},
	{
		name: "change: columns that are gone are waited for", edge: 42, pkg: source, test: "TestEdge42AStreamThatIsBehindDoesNotWaitForColumnsThatAreGone",
		edits: []edit{{"cdc/postgres/resolver.go", "	if txn.XID == 0 {\n", "	if txn.XID >= 0 {\n"}},
	},
	{
		name: "change: a look that is older than a change takes its columns back", edge: 42, pkg: engine, test: "TestEdge42ALookThatIsOlderThanAChange", sample: true,
		edits: []edit{{"lakehouse/watch.go", "		return s.view.Holds(t.last)\n", "		return true\n"}},
	},
	{
		name: "change: rows that an ALTER TABLE wrote anew are not seen", edge: 43, pkg: source, test: "TestEdge43And46Watched",
		edits: []edit{{"cdc/postgres/watch.go", "			found = alteredSame\n", "			_ = alteredSame\n"}},
	},
	{
		name: "change: columns and files of a table are of two moments", edge: 43, pkg: source, test: "TestEdge43TheCatalogueIsReadInOneView",
		edits: []edit{{"cdc/postgres/query.go", "	if err := exec(ctx, conn, \"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY\"); err != nil {\n", "	if err := exec(ctx, conn, \"SELECT 1\"); err != nil {\n"}},
	},
	{
		name: "change: a column with a value for each row is simply added", edge: 43, pkg: source, test: "TestEdge43And46Watched",
		edits: []edit{{"cdc/postgres/watch.go", "	if shape && s.anew(now) {\n", "	if false && shape {\n"}},
	},
	{
		name: "change: a copy whose table is altered ends the engine", edge: 43, pkg: engine, test: "TestEdge43AColumnAddedWhileRangesAreRead",
		edits: []edit{{"lakehouse/copier.go", "	if errors.Is(err, errEmptied) || errors.Is(err, cdc.ErrTableChanged) {\n", "	if errors.Is(err, errEmptied) {\n"}},
	},
	{
		name: "change: a column that went and one that came are a rename", edge: 44, pkg: changes, test: "TestEdge44Renamed", real: true,
		edits: []edit{{"lakehouse/typemap/evolve.go", "		i, ok := fields[key]\n", "		i, ok := fields[key]\n		if k := len(p.pairs); !ok && k < len(live) {\n			i, ok = live[k], true\n		}\n"}},
	},
	{
		name: "change: a renamed table is another one", edge: 45, pkg: engine, test: "TestEdge45ARenamedTableIsFollowed",
		edits: []edit{{"lakehouse/resume.go", "		selected[rel.OID] = true\n", "		selected[rel.OID] = s.table(rel.OID) == nil || s.table(rel.OID).SourceName() == rel.String()\n"}},
	},
	{
		name: "change: a renamed table is followed unasked", edge: 45, pkg: engine, test: "TestEdge45ARenamedTableStopsIfThePolicySaysSo", sample: true,
		edits: []edit{{"lakehouse/resume.go", "	if rel.String() == t.SourceName() || t.Phase != PhaseLive || ", "	if true || "}},
	},
	{
		name: "change: a dropped table seems to be followed", edge: 45, pkg: changes, test: "TestEdge45DroppedAndMadeAnew", real: true,
		edits: []edit{{"lakehouse/watch.go", "		return e.detach(ctx, known.OID, \"the source has dropped it\")\n", "		return nil\n"}},
	},
	{
		name: "change: partitions that come with rows are not seen", edge: 46, pkg: source, test: "TestEdge43And46Watched",
		edits: []edit{{"cdc/postgres/watch.go", "		case before == nil, before.Attached != l.Attached:\n", "		case before == nil:\n		case before.Attached != l.Attached:\n"}},
	},
	{
		name: "change: partitions that go are not seen", edge: 46, pkg: source, test: "TestEdge43And46Watched",
		edits: []edit{{"cdc/postgres/watch.go", "b.leaf(l.OID) == nil && l.Attached != \"\" {", "b.leaf(l.OID) == nil && false {"}},
	},
	{
		name: "change: a partition that is emptied is not seen", edge: 46, pkg: source, test: "TestEdge43And46Watched",
		edits: []edit{{"cdc/postgres/watch.go", "		case altered == alteredSame, altered == alteredNothing && l.Attached != \"\":\n", "		case altered == alteredSame:\n"}},
	},
	{
		name: "change: a partition without a log is welcome", edge: 46, pkg: source, test: "TestEdge46CheckFamilies",
		edits: []edit{{"cdc/postgres/check_tables.go", "		if unlogged[sh.oid] {\n", "		if false {\n"}},
	},
	{
		name: "change: partitions arrive under their own names", edge: 46, pkg: changes, test: "TestEdge46Partitions", real: true,
		edits: []edit{
			{"cdc/postgres/publication.go", "WITH (publish = '%s', publish_via_partition_root = true);\", name, for_", "WITH (publish = '%s', publish_via_partition_root = false);\", name, for_"},
			{"cdc/postgres/publication.go", "	if !have.viaRoot {\n", "	if false {\n"},
		},
	},
}

func init() { mutations = append(mutations, changeMutations...) }
