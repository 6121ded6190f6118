package mutants

// copyMutations are faults of what is written into the lake and of the copies of tables, by the edge cases that they bring back.
var copyMutations = []mutation{
	{
		name: "copy: what is not committed is acknowledged", edge: 3, pkg: engine, test: "TestEdge03OnlyWhatIsDurableIsAcknowledged",
		edits: []edit{{"lakehouse/flush.go", "	versions, err := f.commit(ctx, b.cut)\n", "	f.ack(b.cut)\n	versions, err := f.commit(ctx, b.cut)\n"}},
	},
	{
		name: "copy: what no epoch tells of is acknowledged", edge: 3, pkg: engine, test: "TestEdge03OnlyWhatIsDurableIsAcknowledged",
		edits: []edit{{"lakehouse/flush.go", "	number := int64(0)\n	if !idle", "	number := int64(0)\n	f.ack(b.cut)\n	if !idle"}},
	},
	{
		name: "copy: a part of a transaction is committed when the rest is late", edge: 4, pkg: engine, test: "TestEdge04NothingOfAnUnfinishedTransactionIsCommitted",
		edits: []edit{{"lakehouse/session.go", "s.next = &batch{open: s.next.open}", "s.next = &batch{cut: s.next.cut}"}},
	},
	{
		name: "copy: what comes again is taken again", edge: 5, pkg: engine, test: "TestEdge05ChangesThatComeAgain",
		edits: []edit{{"lakehouse/table.go", "		if span.Txn.Commit >= t.past() {\n			return span.First\n", "		if span.Txn.Commit >= 0 {\n			return 0\n"}},
	},
	{
		name: "copy: our own commit is taken for another's", edge: 10, pkg: engine, test: "TestEdge10TheAnswerToACommitIsLost",
		edits: []edit{{"tablefmt/commit.go", "info != nil && info.TxnID == t.info.TxnID", "info != nil && info.TxnID == \"\""}},
	},
	{
		name: "copy: a read of a quiet server waits for others to flush", edge: 20, pkg: source, test: "TestEdge20ReadsOfAQuietServerEnd",
		edits: []edit{{"cdc/postgres/keyread.go", "		if look == 1 {", "		if look < 0 {"}},
	},
	{
		name: "copy: what the server's disk does not have is read", edge: 20, pkg: source, test: "TestEdge20ReadsWaitForTheDisk",
		edits: []edit{{"cdc/postgres/keyread.go", "		if err != nil || rows[0].lsn(0) >= k.view.Horizon {", "		if err != nil || rows[0].lsn(0) >= 0 {"}},
	},
	{
		name: "copy: the index of a published copy is read from its table again", pkg: engine, test: "TestIndexOfACopyIsTheTables",
		edits: []edit{{"lakehouse/copylog.go", "return info != nil && at.Table == snap.Metadata().ID && ", "return false && "}},
	},
	{
		name: "copy: the index of any copy is taken for the table's", pkg: engine, test: "TestIndexOfAnotherCopyIsNotTheTables",
		edits: []edit{{"lakehouse/copylog.go", "info.OperationParameters[paramCopied] == copiedText(at, snap.NumFiles())", "info.OperationParameters[paramCopied] != nil"}},
	},
	{
		name: "copy: a changelog does not say where its table was copied again", pkg: engine, test: "TestAChangelogSaysWhereACopyBegins",
		edits: []edit{{"lakehouse/copylog.go", "	if base != nil && base.NumFiles() > 0 && spec.mode != ModeMirror {\n", "	if false {\n"}},
	},
	{
		name: "copy: a table is copied that is not in the stream", pkg: engine, test: "TestAResyncPutsATableBackIntoThePublication",
		edits: []edit{{"lakehouse/member.go", "		if copied && members[oid] == 0 {\n", "		if false {\n"}},
	},
	{
		name: "copy: of two at one position nobody can tell which came first", pkg: engine, test: "TestAChangelogSaysWhereACopyBegins",
		edits: []edit{{"lakehouse/copyboundary.go", "return -1_000_000_000 + 2*int64(t.Generation)", "return -1"}},
	},
	{
		name: "copy: it begins before its changelog", pkg: engine, test: "TestACopyBeginsWhereItsChangelogIs",
		edits: []edit{{"lakehouse/copyattach.go", "if until > e.shown {", "if until > e.shown+1<<60 {"}},
	},
	{
		name: "copy: one of before goes on when its table is put back into the stream", pkg: engine, test: "TestACopyOfATableTakenOutOfThePublicationBeginsAgain",
		edits: []edit{{"lakehouse/member.go", "		t.Generation++\n", ""}},
	},
	{
		name: "copy: a key that moves in is an update of nothing", edge: 39, pkg: engine, test: "TestEdge39AKeyMovesBetweenRanges",
		edits: []edit{{"lakehouse/rangegate.go", "				set(row+1, cdc.OpInsert)\n", ""}},
	},
	{
		name: "copy: a key that moves out stays", edge: 39, pkg: engine, test: "TestEdge39AKeyMovesBetweenRanges",
		edits: []edit{{"lakehouse/rangegate.go", "				set(row, cdc.OpDelete)\n", "				set(row, opSkipped)\n"}},
	},
	{
		name: "copy: a key that moves in comes without its large values", edge: 39, pkg: engine, test: "TestEdge39AKeyMovesBetweenRanges",
		edits: []edit{{"lakehouse/rangecopy.go", "		if b == nil {\n			return out, more, nil\n", "		if b == nil || true {\n			return out, more, nil\n"}},
	},
	{
		name: "copy: a delete takes another copy's place", edge: 40, pkg: engine, test: "TestEdge40DuplicatesGoOneAtATime",
		edits: []edit{{"lakehouse/bag.go", "a.rows.copyHash(c.Hash, a.have.Count(i)-1-n)", "a.rows.copyHash(c.Hash, min(n, a.have.Count(i)))"}},
	},
	{
		name: "copy: deletions of equal rows are one", edge: 40, pkg: engine, test: "TestEdge40DuplicatesGoOneAtATime",
		edits: []edit{{"lakehouse/mirror/multiset.go", "	c.Taken++\n", "	c.Taken = 1\n"}},
	},
	{
		name: "copy: copied duplicates are filed once", edge: 40, pkg: engine, test: "TestEdge40DuplicatesGoOneAtATime",
		edits: []edit{{"lakehouse/bag.go", "			more[k]++\n", ""}},
	},
	{
		name: "copy: rows outlive a truncate", edge: 41, pkg: engine, test: "TestEdge41ATruncateWhileRangesAreRead",
		edits: []edit{{"lakehouse/rangegate.go", "		if s != rangeTodo && (s == rangeOpened || !g.views[r].Holds(*t)) {", "		if s == rangeOpened && !g.views[r].Holds(*t) {"}},
	},
	{
		name: "copy: a truncate is no change of a range", edge: 41, pkg: engine, test: "TestEdge41ATruncateWhileRangesAreRead",
		edits: []edit{{"lakehouse/rangegate.go", "		if s != rangeTodo && (s == rangeOpened", "		if s == rangeReading && (s == rangeOpened"}},
	},
	{
		name: "copy: a table may be emptied between its view and its rows", edge: 41, pkg: source, test: "TestEdge41And43LockedWhileItIsRead",
		edits: []edit{{"cdc/postgres/keyread.go", "	if err == nil {\n		err = exec(ctx, r.conn, \"LOCK TABLE ", "	if false {\n		err = exec(ctx, r.conn, \"LOCK TABLE "}},
	},
	{
		name: "copy: the snapshot is another than the slot's", edge: 57, pkg: source, test: "TestEdge57SnapshotHoldsExactlyWhatIsBeforeItsPoint",
		edits: []edit{{"cdc/postgres/snapshot.go", "	if err := r.enter(ctx, snapshot); err != nil {", "	if err := exec(ctx, r.conn, \"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY\"); err != nil {"}},
	},
	{
		name: "copy: the stream begins at the end of the log", edge: 57, pkg: source, test: "TestEdge57SnapshotHoldsExactlyWhatIsBeforeItsPoint",
		edits: []edit{{"cdc/postgres/snapshot.go", "	exported, err := keeper.takeOver(ctx, name)\n", "	exported, err := keeper.takeOver(ctx, name)\n	if at, e := s.admin.query(ctx, \"SELECT pg_current_wal_lsn()\"); e == nil {\n		point = at[0].lsn(0)\n	}\n"}},
	},
	{
		name: "copy: readers take the slot's own snapshot", edge: 58, pkg: source, test: "TestEdge58SnapshotSurvives",
		edits: []edit{{"cdc/postgres/snapshot.go", "	exported, err := keeper.takeOver(ctx, name)\n", "	exported := name\n	_, err = keeper.takeOver(ctx, name)\n"}},
	},
	{
		name: "copy: what was read before a crash is forgotten", edge: 59, pkg: engine, test: "TestEdge59ACopyGoesOnWhereItWasCutOff",
		edits: []edit{{"lakehouse/rangecopy.go", "		c.gate.done(i, v)\n		return nil\n", "		_, _ = i, v\n		return nil\n"}},
	},
	{
		name: "copy: two tables of a copy may tell different ranges", edge: 59, pkg: engine, test: "TestEdge59ACopyInTwoModes",
		edits: []edit{{"lakehouse/rangecopy.go", "return n != c.gate.marks() }) {", "return false }) {"}},
	},
	{
		name: "copy: one that was cut off goes on with other columns", edge: 43, pkg: engine, test: "TestEdge43AColumnAddedBeforeACopyIsCutOff",
		edits: []edit{
			{"lakehouse/copyattach.go", "			if t.fits(rel) {\n", "			if t.fits(rel) || true {\n"},
			{"lakehouse/include.go", "t.schema.Index(f.Name) < 0 {", "t.schema.Index(f.Name) < -1 {"},
		},
	},
	{
		name: "copy: one that was given up keeps its generation", edge: 59, pkg: engine, test: "TestEdge59ACopyThatWasGivenUpDoesNotComeBack",
		edits: []edit{{"lakehouse/copyattach.go", "		if t := s.table(st.OID); t != nil {\n			t.Generation++\n", "		if t := s.table(st.OID); t != nil {\n			t.Generation += 0\n"}},
	},
	{
		name: "copy: a log that is removed in part is damage", edge: 59, pkg: engine, test: "TestEdge59ACopysLogThatIsRemovedInPart",
		edits: []edit{{"lakehouse/copylog.go", "errors.Is(err, tablefmt.ErrNoTable) || errors.Is(err, tablefmt.ErrCorrupt) {", "errors.Is(err, tablefmt.ErrNoTable) {"}},
	},
	{
		name: "copy: marks of before the lake was taken over are taken for ours", edge: 59, pkg: engine, test: "TestEdge59WhatIsBackOfACopysLog",
		edits: []edit{{"lakehouse/copylog.go", "		if t.AppID != c.spec.appID() && ", "		if false && "}},
	},
	{
		name: "copy: a log that is gone since it was listed is damage", edge: 59, pkg: engine, test: "TestEdge59StatusWhileACopyIsPublished",
		edits: []edit{{"tablefmt/steady.go", "		if err == nil || ", "		if err != nil || "}, {"lakehouse/copylog.go", "errors.Is(err, tablefmt.ErrNoTable) || errors.Is(err, tablefmt.ErrCorrupt) {", "errors.Is(err, tablefmt.ErrNoTable) {"}},
	},
	{
		name: "copy: changes that a view holds are applied", edge: 60, pkg: engine, test: "TestEdge60ChangesWhileARangeIsRead",
		edits: []edit{{"lakehouse/rangegate.go", "	case g.views[r].Holds(*t):\n		return verdictDrop\n", ""}},
	},
	{
		name: "copy: changes of a range that is being read are dropped", edge: 60, pkg: engine, test: "TestEdge60ChangesWhileARangeIsRead",
		edits: []edit{{"lakehouse/rangegate.go", "	case s == rangeReading:\n		return verdictHold\n", "	case s == rangeReading:\n		return verdictDrop\n"}},
	},
	{
		name: "copy: a view is taken that lacks a commit", edge: 60, pkg: engine, test: "TestEdge60ACommitThatIsNotVisibleYet", sample: true,
		edits: []edit{{"lakehouse/rangegate.go", "			all = false\n", ""}},
	},
	{
		name: "copy: a commit is forgotten that a view on its way lacks", edge: 60, pkg: engine, test: "TestEdge60ViewsAcceptedInAnotherOrder",
		edits: []edit{{"lakehouse/rangegate.go", "		if d.held < oldest {\n", "		if d.held > 0 {\n"}},
	},
	{
		name: "copy: when the last range is read, nothing is left to be dropped", edge: 60, pkg: engine, test: "TestEdge60TheStreamIsBehindTheViews",
		edits: []edit{{"lakehouse/rangegate.go", "		if g.left == 0 && t.Commit >= g.horizon {\n", "		if g.left == 0 {\n"}},
	},
	{
		name: "copy: a copy is published before the stream has passed its views", edge: 60, pkg: engine, test: "TestEdge60TheStreamIsBehindTheViews",
		edits: []edit{{"lakehouse/rangegate.go", "return g.left == 0 && cut >= g.horizon }", "return g.left == 0 && cut >= 0 }"}},
	},
	{
		name: "copy: positions tell what a view holds", edge: 60, pkg: source, test: "TestEdge60ViewsAndASynchronousStandby",
		edits: []edit{{"cdc/view.go", "	id := v.Xmax - ", "	if v.Horizon != 0 {\n		return true\n	}\n	id := v.Xmax - "}},
	},
	{
		name: "copy: a table without rows is not made", edge: 61, pkg: engine, test: "TestEdge61AnEmptyTableIsThere",
		edits: []edit{{"lakehouse/copy.go", "	version := int64(0)\n	// A changelog", "	version := int64(0)\n	if rows == 0 {\n		return nil\n	}\n	// A changelog"}},
	},
	{
		name: "copy: an epoch names a table that is being copied", edge: 62, pkg: engine, test: "TestEdge62OthersGoOnWhileATableIsCopied",
		edits: []edit{{"lakehouse/flush.go", "		if t.stopped || t.copy != nil {\n			continue\n", "		if t.stopped {\n			continue\n"}},
	},
}

func init() { mutations = append(mutations, copyMutations...) }
