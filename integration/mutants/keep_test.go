package mutants

// keepMutations are faults in how tables are kept: partitions, rows that stay when the source deletes them, files that are written anew.
var keepMutations = []mutation{
	{
		name: "keep: what is derived of a value that was not sent is derived of nothing", pkg: engine, test: "TestPartitions",
		edits: []edit{{"lakehouse/fill.go", "	if err := a.m.derive(cols); err != nil {\n		return nil, err\n	}\n", ""}},
	},
	{
		name: "keep: what came and went is looked for again", pkg: engine, test: "TestARowThatCameAndWentAroundASnapshot",
		edits: []edit{{"lakehouse/session.go", "	e.recall()\n", ""}},
	},
	{
		name: "keep: a row that lost a value is taken for one that never had it", pkg: engine, test: "TestChangeFeedOfLostValues",
		edits: []edit{{"lakehouse/feeddiff.go", "	h[0] ^= 0xff\n", ""}},
	},
	{
		name: "keep: a row that is kept as deleted is one that is there", pkg: engine, test: "TestSoftDeletes",
		edits: []edit{{"lakehouse/softdelete.go", "		return there && !a.soft[i]\n", "		return there\n"}},
	},
	{
		name: "keep: a row that came and went in one batch is not kept", pkg: engine, test: "TestSoftDeletes",
		edits: []edit{{"lakehouse/softdelete.go", "a.m.keep == DeleteSoft && (e.Image || there && !a.soft[i]):", "a.m.keep == DeleteSoft && there && !a.soft[i]:"}},
	},
	{
		name: "keep: a copy drops the rows that were kept", pkg: engine, test: "TestSoftDeletes", sample: true,
		edits: []edit{{"lakehouse/carry.go", "	return base != nil && md.Property(propDelete) != \"\"\n", "	return false\n"}},
	},
	{
		name: "keep: the index does not know where rows went that were written anew", pkg: engine, test: "TestRowsOfFilesWrittenAnewAreFoundAgain",
		edits: []edit{{"lakehouse/writeanew.go", "			return m.change.Put(ctx, appendEntries(nil, m.index, keyRun{at, chosen(hashes, part)}))\n", "			return m.change.Put(ctx, appendEntries(nil, m.index, keyRun{at, chosen(hashes, part)[:0]}))\n"}},
	},
	{
		name: "keep: rows that wait for their partition are written as others of them", pkg: engine, test: "TestManyPartitionsStayBounded",
		edits: []edit{{"lakehouse/stager.go", "		out[i] = list[p]\n", "		out[i] = list[min(i, p)]\n"}},
	},
	{
		name: "keep: a table stops when somebody says how it is kept", pkg: engine, test: "TestTablesThatSomebodyKeepsOtherwise",
		edits: []edit{{"lakehouse/keptotherwise.go", "	return sameContent(before.Metadata(), now), nil\n", "	return sameContent(before.Metadata(), now) && false, nil\n"}},
	},
	{
		name: "keep: a copy forgets what somebody has said", pkg: engine, test: "TestTablesThatSomebodyKeepsOtherwise",
		edits: []edit{{"lakehouse/keptotherwise.go", "		if !copyDecides(k) || k == tablefmt.PropDeletionVectors && (", "		if k == tablefmt.PropDeletionVectors && ("}},
	},
	{
		name: "keep: a copy forgets the features of its table", pkg: engine, test: "TestTablesThatSomebodyKeepsOtherwise",
		edits: []edit{{"lakehouse/keptotherwise.go", "	if len(more) == 0 {\n", "	if true {\n"}},
	},
	{
		name: "keep: a row that breaks a rule ends the engine", pkg: engine, test: "TestARuleOfTheLakesTable",
		edits: []edit{{"lakehouse/flush.go", "flushFault(t.behind(gctx, do(gctx, t)))", "t.behind(gctx, do(gctx, t))"}},
	},
	{
		name: "keep: rows of a copy are not held against the rules", pkg: engine, test: "TestARuleOfTheLakesTable",
		edits: []edit{{"tablefmt/rulescheck.go", "from.hold(ctx, r); err != nil {", "from.hold(ctx, r); err != nil && false {"}},
	},
	{
		name: "keep: files are cut as the engine was told, not the table", pkg: engine, test: "TestFilesAreCutAsTheTableAsks",
		edits: []edit{{"lakehouse/stager.go", "most: s.t.targetSize()}", "most: s.t.spec.targetSize}"}},
	},
	{
		name: "keep: a file that somebody has removed since is damage", pkg: engine, test: "TestFilesThatAreGoneFromTheVersionThatIsKnown",
		edits: []edit{{"lakehouse/flush.go", "flushFault(t.behind(gctx, do(gctx, t)))", "flushFault(do(gctx, t))"}},
	},
	{
		name: "keep: a copy is lost to who was faster", pkg: engine, test: "TestACopyIsPublishedOverWhatOthersDoMeanwhile",
		edits: []edit{{"lakehouse/copylog.go", "		if n == swapTries || ", "		if n > 0 || "}},
	},
	{
		name: "keep: rows with ids have moved without them", pkg: engine, test: "TestAChangeOfNothingWhereRowsHaveIDs",
		edits: []edit{{"lakehouse/feeddiff.go", "	if err != nil || !tracked || len(files) > 0 {\n", "	if err != nil || tracked || len(files) > 0 {\n"}},
	},
	{
		name: "keep: what another program did is not undone", pkg: engine, test: "TestForeignChangesAreUndone",
		edits: []edit{{"lakehouse/verifyopen.go", "	if !s.heal || s.loc.Log != nil {\n", "	if !s.heal || s.loc.Log == nil {\n"}},
	},
	{
		name: "keep: a table that was changed at rest is opened as it is", pkg: engine, test: "TestForeignChangesAreUndone",
		edits: []edit{{"lakehouse/fedtable.go", "		case errors.As(err, &stop) && stop.again:\n", "		case errors.As(err, &stop) && stop.again && stop.mismatch:\n"}},
	},
	{
		name: "keep: files stay open for every partition", pkg: engine, test: "TestManyPartitionsStayBounded",
		edits: []edit{{"lakehouse/partitioned.go", "(all || h.open > partitionFiles)", "all"}},
	},
	{
		name: "keep: a repair leaves rows that are kept as deleted beside the source's", pkg: engine, test: "TestRepairOfTablesThatAreKeptOtherwise", sample: true,
		edits: []edit{{"lakehouse/auditread.go", "	if h.filtered && o.gone != nil {", "	if o.gone != nil {"}},
	},
	{
		name: "keep: a repair drops rows that the source does not have", pkg: engine, test: "TestRepairOfTablesThatAreKeptOtherwise",
		edits: []edit{{"lakehouse/mend.go", "	if x.keep == DeleteSoft {\n		if err := x.bury(h, gone)", "	if false {\n		if err := x.bury(h, gone)"}},
	},
	{
		name: "keep: rows that a repair keeps as deleted stay in the partition that they were found in", pkg: engine, test: "TestRepairOfTablesThatAreKeptOtherwise",
		edits: []edit{{"lakehouse/softdelete.go", "	if err := t.derive(cols); err != nil {\n		return nil, err\n	}\n", ""}},
	},
	{
		name: "keep: a repair takes out what is not to be deleted", pkg: engine, test: "TestRepairOfSomeRowsThatAreKept",
		edits: []edit{{"lakehouse/mend.go", "		keys = x.there // the other rows stay\n", ""}},
	},
	{
		name: "keep: a doubled row is one more that is kept", pkg: engine, test: "TestRepairOfTablesThatAreKeptOtherwise",
		edits: []edit{{"lakehouse/verify/verify.go", "return f.left[key] }", "return slices.Max(append(slices.Collect(maps.Values(f.keys[key])), 0)) > 0 }"}, {"lakehouse/verify/verify.go", "	\"math/bits\"\n", "	\"maps\"\n	\"math/bits\"\n"}},
	},
	{
		name: "keep: a repair marks rows in a table that does without", pkg: engine, test: "TestRepairOfTablesThatAreKeptOtherwise",
		edits: []edit{{"lakehouse/mend.go", "err != nil || !x.m.anew {", "err != nil || true {"}},
	},
	{
		name: "keep: a row that lies in another partition is where it belongs", pkg: engine, test: "TestRepairOfTablesThatAreKeptOtherwise",
		edits: []edit{{"lakehouse/auditread.go", "			a.derived[f.Name] = by\n", "			continue\n"}},
	},
	{
		name: "keep: an exact text of a value that is there does not count", pkg: engine, test: "TestRepairOfTablesThatAreKeptOtherwise",
		edits: []edit{{"lakehouse/auditread.go", "	h.all.stale = true\n", ""}},
	},
	{
		name: "keep: a table with other ways than its options say is mended", pkg: engine, test: "TestRepairCopiesWhatIsKeptInOtherWays",
		edits: []edit{{"lakehouse/mend.go", "	if !madeBy(&spec.state.TableOptions, rel, base) {", "	if false {"}},
	},
	{
		name: "keep: the changelog's marks of what is gone are in no partition", pkg: engine, test: "TestRepairOfKeptTablesIsInTheChangelog",
		edits: []edit{{"lakehouse/marking.go", "	if err := k.derive(cols); err != nil {\n		return err\n	}\n", ""}},
	},
	{
		name: "keep: rows that a repair holds are taken for others of their file", pkg: engine, test: "TestRepairOfTablesThatAreKeptOtherwise",
		edits: []edit{{"lakehouse/fewrows.go", "int64(h.place(i))\n", "int64(n)\n"}},
	},
	{
		name: "keep: rows that a repair cannot hold are not read again", pkg: engine, test: "TestRepairReadsOnceMoreWhatItCannotHold",
		edits: []edit{{"lakehouse/fewrows.go", "	if f.over {\n		return read()\n	}\n", ""}},
	},
}

func init() { mutations = append(mutations, keepMutations...) }
