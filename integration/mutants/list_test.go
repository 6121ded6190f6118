package mutants

const (
	engine   = "./lakehouse"
	simulate = "TestSimulationRandomCrashes"
	store    = "./tablefmt/objstore"
	log      = "./tablefmt"
	changes  = "./integration/changes"
)

// mutations are the faults that matter most: each breaks one of the rules that "exactly once" stands on. Some that look as if they belonged
// here change nothing that can be seen, because another rule holds too: without the marks of deleted keys in the index, for one, the deletion
// vectors still tell that a row is gone.
var mutations = []mutation{
	{
		name: "acknowledge before commit", pkg: engine, test: simulate, sample: true,
		edits: []edit{{"lakehouse/flush.go", "	versions, err := f.commit(ctx, b.cut)\n", "	f.ack(b.cut)\n	versions, err := f.commit(ctx, b.cut)\n"}},
	},
	{
		name: "acknowledge more than is recorded", pkg: engine, test: simulate,
		edits: []edit{{"lakehouse/flush.go", "	f.ack(at)\n", "	f.ack(at + 4096)\n"}},
	},
	{
		name: "skip the dedupe after a restart", pkg: engine, test: simulate, sample: true,
		edits: []edit{{"lakehouse/table.go", "		if span.Txn.Commit >= t.past() {\n			return span.First\n", "		if span.Txn.Commit >= 0 {\n			return 0\n"}},
	},
	{
		name: "truncate again after the restart", pkg: engine, test: simulate,
		edits: []edit{{"lakehouse/mirrorwriter.go", "			if it.Truncate.Txn.Commit < m.past() {", "			if it.Truncate.Txn.Commit < 0 {"}},
	},
	{
		name: "commit before the data files are synced", pkg: engine, test: simulate, sample: true,
		edits: []edit{{
			"tablefmt/objstore/memory_crash.go", "&memPending{path: w.path, data: w.data}, !w.m.o.LoseUnsynced)",
			"&memPending{path: w.path, data: w.data}, false)",
		}},
	},
	{
		name: "local files are not synced", pkg: store, test: "TestLocalSyncs", sample: true,
		edits: []edit{{"tablefmt/objstore/local_write.go", "		if err := t.file.Sync(); err != nil {", "		if err := error(nil); err != nil {"}},
	},
	{
		name: "the folder of a local file is not synced", pkg: store, test: "TestLocalSyncs",
		edits: []edit{{"tablefmt/objstore/local_write.go", "	if err := t.l.syncFolder(t.folder); err != nil {\n		// Others", "	if err := error(nil); err != nil {\n		// Others"}},
	},
	{
		name: "put if absent overwrites", pkg: store, test: "TestConformance",
		edits: []edit{{"tablefmt/objstore/local_write.go", "	if !ifAbsent {\n		err := t.folder.Rename", "	if true {\n		err := t.folder.Rename"}},
	},
	{
		name: "our own commit is taken for another's", pkg: log, test: "TestUnknownOutcome",
		edits: []edit{{"tablefmt/commit.go", "info != nil && info.TxnID == t.info.TxnID", "info != nil && info.TxnID == \"\""}},
	},
	{
		name: "conflicts are not seen", pkg: log, test: "TestConflictsAreErrors",
		edits: []edit{{"tablefmt/commit.go", "conflict(mine, winner.actions); reason != \"\" {", "conflict(mine, winner.actions); false && reason != \"\" {"}},
	},
	{
		name: "epoch before the tables", pkg: engine, test: simulate,
		edits: []edit{{
			"lakehouse/flush.go", "	versions, err := f.commit(ctx, b.cut)\n",
			"	if _, err := f.record(ctx, b, true); err != nil {\n		return err\n	}\n	versions, err := f.commit(ctx, b.cut)\n",
		}},
	},
	{
		name: "epoch before a table that is ahead is reached", pkg: engine, test: simulate,
		edits: []edit{{"lakehouse/flush.go", "		if t.reached() > b.cut {", "		if false {"}},
	},
	{
		name: "commits without the position", pkg: engine, test: simulate,
		edits: []edit{{"lakehouse/table.go", "	x.SetTxn(t.spec.appID(), int64(max(cut, t.position))) // the table may be ahead of the stream\n", ""}},
	},
	{
		name: "deletion vectors forget the rows deleted before", pkg: engine, test: simulate, sample: true,
		edits: []edit{{"lakehouse/mirrorwriter.go", "			all = v.old.Clone()\n			all.Or(v.dead)\n", "			all = v.dead\n"}},
	},
	{
		name: "unchanged large values become what the stream left out", pkg: engine, test: simulate,
		edits: []edit{{"lakehouse/fill.go", "					source[c][i] = im\n", "					_, source[c][i] = im, final\n"}},
	},
	{
		name: "unchanged large values come from another row", pkg: engine, test: simulate,
		edits: []edit{{"lakehouse/fill.go", "			im, ok := lake[f.Key]\n", "			im, ok := lake[f.Key]\n			for _, other := range lake {\n				im = other\n			}\n"}},
	},
	{
		name: "a changed key leaves its old row", pkg: engine, test: simulate,
		edits: []edit{{"lakehouse/application.go", "red.Move(before, h[row], at, unchanged[at.Row])", "red.Insert(h[row], at)\n				_ = before"}},
	},
	{
		name: "truncate leaves the rows", pkg: engine, test: simulate,
		edits: []edit{{"lakehouse/mirrorwriter.go", "			x.Remove(*add.Remove(now, !m.moved))\n", "			_ = add\n"}},
	},
	{
		name: "columns of one name and type are taken for the same", pkg: engine, test: "TestColumnOfTheSameNameAndTypeComesWithinAFlush",
		edits: []edit{{"lakehouse/mirrorwriter.go", "batches[n].Relation.SameColumns(", "batches[n].Relation.SameShape("}},
	},
	{
		name: "a stopped table stands where its copy did", pkg: engine, test: "TestStoppedTableStandsWhereItShows",
		edits: []edit{{"lakehouse/fedtable.go", "		t.stoppedAt = max(t.stoppedAt, shown)\n", "		_ = shown\n"}},
	},
	{
		name: "a repair mixes rows of two ways of masking", pkg: engine, test: "TestRepairDoesNotMixMasks",
		edits: []edit{{"lakehouse/layout.go", "was.of(f) != is.of(f)", "was.of(f) != is.of(f) && f == nil"}},
	},
	{
		name: "a repair takes up what a mask has stopped", pkg: engine, test: "TestRepairDoesNotTakeUpWhatAMaskStopped",
		edits: []edit{
			{"lakehouse/repair.go", "	case st.Refused != nil:\n", "	case st.Refused != nil && o.Where != nil:\n"},
			{"lakehouse/repair.go", "|| e.state.table(oid).Refused != nil", ""},
		},
	},
	{
		name: "exact texts are dropped", pkg: engine, test: simulate,
		edits: []edit{{"lakehouse/record.go", "	if len(b.Exact) == 0 {\n		return array.MakeArrayOfNull(", "	if b != nil {\n		return array.MakeArrayOfNull("}},
	},
	{
		name: "the slot of a crashed attempt is kept", pkg: engine, test: "TestSimulationCrashesEverywhere/slot-created",
		edits: []edit{{"lakehouse/setup.go", "	if err := src.DropSlot(ctx); err != nil {", "	if err := error(nil); err != nil {"}},
	},
	{
		name: "a part of a transaction is committed when the rest is late", pkg: changes, test: "TestHugeTransactionKilled", real: true,
		edits: []edit{
			{"lakehouse/session.go", "s.next = &batch{open: s.next.open}", "s.next = &batch{cut: s.next.cut}"},
		},
	},
	{
		name: "the server may forget what a stopped table lacks", edge: 42, pkg: changes, test: "TestEdge42DDLInOrder", real: true,
		edits: []edit{{"lakehouse/fedtable.go", "			lower(t.stoppedAt)\n", "			_ = t.stoppedAt\n"}},
	},
	{
		name: "a resync takes the old copy for the new one", edge: 42, pkg: changes, test: "TestEdge42DDLInOrder", real: true,
		edits: []edit{{"lakehouse/tableoptions.go", "	t.Generation++\n	t.Phase, t.Reason, t.Remedy, t.NeedsCopy", "	t.Phase, t.Reason, t.Remedy, t.NeedsCopy"}},
	},
	{
		name: "a column with a default is simply added", edge: 43, pkg: changes, test: "TestEdge43AddedWithDefaults", real: true,
		edits: []edit{{"lakehouse/typemap/evolve.go", "	missing = c.Missing\n", "	_ = c.Missing\n"}},
	},
}
