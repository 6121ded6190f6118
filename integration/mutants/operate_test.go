package mutants

// operateMutations are faults in what an operator asks for, and in the guard of the source's log.
var operateMutations = []mutation{
	{
		name: "operate: a store that refuses ends the engine", pkg: engine, test: "TestAStoreErrorThatPassesDoesNotEndTheEngine",
		edits: []edit{{"lakehouse/errors.go", "objstore.Blocked(err) ||", "false && objstore.Blocked(err) ||"}},
	},
	{
		name: "operate: a store's error in passing ends copying for good", pkg: engine, test: "TestACopyOutlastsAStoreErrorThatPasses",
		edits: []edit{{"lakehouse/copier.go", "	if ctx.Err() != nil || !passes(err) {\n", "	if ctx.Err() != nil || !cdc.Retryable(err) {\n"}},
	},
	{
		name: "operate: a paused table lets the source forget", pkg: engine, test: "TestPauseAndResume", sample: true,
		edits: []edit{{"lakehouse/fedtable.go", "		case t.stopped && t.state.NeedsCopy: //", "		case t.stopped && (t.state.NeedsCopy || t.state.Phase == PhasePaused): //"}},
	},
	{
		name: "operate: a pause before the stream has gone back forgets where the table is", pkg: engine, test: "TestPauseAndResume",
		edits: []edit{{"lakehouse/operate.go", "	case t != nil && t.stopped: //", "	case t != nil && t.stopped && t.state.Phase == PhaseStopped: //"}},
	},
	{
		name: "operate: a pause without an engine records no position", pkg: engine, test: "TestPauseAndResume",
		edits: []edit{{"lakehouse/tableaction.go", "	if t.Phase == PhasePaused && !t.NeedsCopy && t.StoppedAt == 0 {", "	if false {"}},
	},
	{
		name: "operate: a look is held against what came again", pkg: engine, test: "TestALookOlderThanATable",
		edits: []edit{{"lakehouse/watch.go", "	if last.Commit >= t.reached() {\n", "	if true {\n"}},
	},
	{
		name: "operate: a copy that was given up is a failure", pkg: engine, test: "TestActionsOnATableThatIsBeingCopied",
		edits: []edit{{"lakehouse/copy.go", "	if errors.Is(cause, errCopyEnded) {\n		return false, nil\n	}\n", ""}},
	},
	{
		name: "guard: the table that is held back least is let go of", pkg: engine, test: "TestWALGuardChooses",
		edits: []edit{{"lakehouse/walguard.go", "cmp.Compare(a.at, b.at), cmp.Compare(a.oid, b.oid)", "cmp.Compare(b.at, a.at), cmp.Compare(a.oid, b.oid)"}},
	},
	{
		name: "guard: a table is let go of for somebody else's transaction", pkg: engine, test: "TestWALGuardChooses",
		edits: []edit{{"lakehouse/walguard.go", "	if s.unacked < s.held/2 {\n		return nil\n	}\n", ""}},
	},
	{
		name: "guard: the server's own limit does not count", pkg: engine, test: "TestWALGuardJudges",
		edits: []edit{{"lakehouse/walguard.go", "	if s.safe == nil {", "	if true {"}},
	},
}

func init() { mutations = append(mutations, operateMutations...) }
