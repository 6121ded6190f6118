package mutants

// logMutations are faults in reading the logs of other writers.
var logMutations = []mutation{
	{
		name: "log: a compaction counts however late it was written", pkg: log, test: "TestCompactionsWithoutExpiredTombstones",
		edits: []edit{{"tablefmt/compacted.go", "	if c.span >= keep {", "	if c.span < 0 {"}},
	},
	{
		name: "log: a damaged compaction is the end", pkg: log, test: "TestDamagedCompactions",
		edits: []edit{{"tablefmt/compacted.go", "if next, err := st.compacted(c, data); err == nil {\n			st = next\n		}", "if st, err = st.compacted(c, data); err != nil {\n			return nil, err\n		}"}},
	},
	{
		name: "log: paths are one if they are spelled alike", pkg: log, test: "TestReplay",
		edits: []edit{{"tablefmt/outside.go", "	if isCanonical(p) {", "	if true {"}},
	},
	{
		name: "log: a path leaves the table's folder", pkg: log, test: "TestPaths",
		edits: []edit{{"tablefmt/path.go", "case part != \"\" && part != \".\" && part != \"..\":", "case part != \"\":"}},
	},
	{
		name: "log: cleaning takes what is another table's", pkg: log, test: "TestClonedTable",
		edits: []edit{{"tablefmt/cleanup.go", "			if errors.As(err, &outside) {\n				return nil // another table's\n			}\n			if err == nil {", "			if errors.As(err, &outside) {\n				var store objstore.Store\n				if store, path, err = s.loc.find(r.Path); err == nil {\n					err = store.Delete(ctx, path)\n				}\n				return err\n			}\n			if err == nil {"}},
	},
	{
		name: "log: keys count in any case", pkg: log, test: "TestOddLines",
		edits: []edit{{"tablefmt/jsonlog.go", "	if plainKeys(line) {", "	if true {"}},
	},
}

func init() { mutations = append(mutations, logMutations...) }
