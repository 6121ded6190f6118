package mutants

// keepMutations are faults in how tables are kept: partitions, rows that stay when the source deletes them, files that are written anew.
var keepMutations = []mutation{
	{
		name: "keep: what is derived of a value that was not sent is derived of nothing", pkg: engine, test: "TestPartitions",
		edits: []edit{{"lakehouse/fill.go", "	if err := a.m.derive(cols); err != nil {\n		return nil, err\n	}\n", ""}},
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
		name: "keep: files stay open for every partition", pkg: engine, test: "TestManyPartitionsStayBounded",
		edits: []edit{{"lakehouse/partitioned.go", "(all || h.open > partitionFiles)", "all"}},
	},
}

func init() { mutations = append(mutations, keepMutations...) }
