package mutants

// slotMutations are faults around the slot, the server and the way to it, by the edge cases that they bring back.
var slotMutations = []mutation{
	{
		name: "slot: a gap before the slot is gone over", edge: 6, pkg: source, test: "TestEdge06StreamRefusesAGap",
		edits: []edit{{"cdc/postgres/start.go", "	case from < i.ConfirmedFlush:\n", "	case from < 0:\n"}},
	},
	{
		name: "slot: a lake that is ahead waits", edge: 6, pkg: source, test: "TestEdge06StreamRefusesAGap",
		edits: []edit{{"cdc/postgres/start.go", "	case i.Current != 0 && from > i.Current:\n", "	case false:\n"}},
	},
	{
		name: "slot: without a position the stream begins where the server is", edge: 7, pkg: source, test: "TestEdge07StreamNeedsAPosition",
		edits: []edit{{"cdc/postgres/start.go", "	if err == nil {\n		err = info.gives(from)\n	}\n	if err == nil && info.Active {", "	if err == nil && from == 0 {\n		from = info.Current\n	}\n	if err == nil {\n		err = info.gives(from)\n	}\n	if err == nil && info.Active {"}},
	},
	{
		name: "slot: one that was made anew is taken for the old one", edge: 8, pkg: engine, test: "TestEdge08SlotMadeAnew", sample: true,
		edits: []edit{
			{"lakehouse/identity.go", "	if at != 0 && slot.ConfirmedFlush > at {", "	if false {"},
			{"lakehouse/fedtable.go", "	if e.hold != 0 {\n		lower(e.hold)\n	}\n", "	if slot, err := e.opt.Source.Slot(context.Background()); err == nil {\n		at = max(at, slot.ConfirmedFlush)\n	}\n"},
		},
	},
	{
		name: "slot: what was received is acknowledged", edge: 9, pkg: source, test: "TestEdge09OnlyTheCallerAcknowledges",
		edits: []edit{{"cdc/postgres/feedback.go", "func (f *feedback) delivered(cut cdc.LSN) { raise(&f.given, uint64(cut)) }", "func (f *feedback) delivered(cut cdc.LSN) {\n	raise(&f.given, uint64(cut))\n	raise(&f.acked, uint64(cut))\n}"}},
	},
	{
		name: "slot: keepalives are acknowledgements", edge: 9, pkg: source, test: "TestEdge09OnlyTheCallerAcknowledges",
		edits: []edit{{"cdc/postgres/inbox.go", "				end = max(end, at)\n", "				end = max(end, at)\n				raise(&in.feedback.acked, at)\n"}},
	},
	{
		name: "slot: two that take over take it from each other for ever", edge: 11, pkg: source, test: "TestEdge11SlotInUse",
		edits: []edit{{"cdc/postgres/slot.go", "	if s.config.TakeOver && !s.streamed.Load() {", "	if s.config.TakeOver {"}},
	},
	{
		name: "slot: whoever holds it is ended unasked", edge: 11, pkg: source, test: "TestEdge11SlotInUse",
		edits: []edit{{"cdc/postgres/slot.go", "	return s.awaitFree(ctx, info, false, 0)\n", "	return s.awaitFree(ctx, info, true, dropWait)\n"}},
	},
	{
		name: "slot: an engine that waits takes the first one's records for a taking over", edge: 11, pkg: engine, test: "TestEdge11TheSecondEngineWaits",
		edits: []edit{{"lakehouse/engine.go", "	case !e.saved && newest.Session == e.state.Session:", "	case false:"}},
	},
	{
		name: "slot: one that wakes up takes its heir's commits for a stranger's", edge: 11, pkg: "./integration/slots", test: "TestEdge11Zombies", real: true,
		edits: []edit{{"lakehouse/changelog.go", "	case c.Reason == tablefmt.ConflictTxn:\n", "	case false:\n"}},
	},
	{
		name: "slot: an engine that was replaced goes on", edge: 11, pkg: engine, test: "TestEdge11TheOneThatWasReplacedEnds",
		edits: []edit{{"lakehouse/engine.go", "	case err != nil || newest.number == e.state.number:", "	case err != nil || newest.number >= e.state.number:"}},
	},
	{
		name: "slot: the second engine does not wait for the first", edge: 11, pkg: engine, test: "TestEdge11TheSecondEngineWaits",
		edits: []edit{{"lakehouse/resume.go", "err == nil && ok && slot.Active {", "err == nil && ok && false {"}},
	},
	{
		name: "slot: keepalives tell nothing", edge: 12, pkg: source, test: "TestEdge12And13IdleStreamMovesOn",
		edits: []edit{{"cdc/postgres/decode.go", "	if !d.open && !d.hasRows() && end > d.cut {", "	if false {"}},
	},
	{
		name: "slot: heartbeats are rows of a table that nobody publishes", edge: 13, pkg: source, test: "TestEdge12And13IdleStreamMovesOn",
		edits: []edit{{"cdc/postgres/heartbeat.go", "	return s.admin.with(ctx, func(conn *pgconn.PgConn) error {\n", "	return s.admin.with(ctx, func(conn *pgconn.PgConn) error {\n		if true {\n			return exec(ctx, conn, \"CREATE TABLE IF NOT EXISTS public.heartbeats (at timestamptz); INSERT INTO public.heartbeats VALUES (now())\")\n		}\n"}},
	},
	{
		name: "slot: messages are not asked for", edge: 13, pkg: source, test: "TestEdge12And13IdleStreamMovesOn",
		edits: []edit{{"cdc/postgres/stream_start.go", "publication_names '%s', messages 'true'\"", "publication_names '%s'\""}},
	},
	{
		name: "slot: one that is lost is read", edge: 16, pkg: source, test: "TestEdge16LostSlot",
		edits: []edit{{"cdc/postgres/start.go", "	case i.Lost:\n", "	case false:\n"}},
	},
	{
		name: "slot: one that is lost while it is read is tried for ever", edge: 16, pkg: source, test: "TestEdge16LostWhileStreaming",
		edits: []edit{{"cdc/postgres/slot.go", "	info.Lost = info.WALStatus == \"lost\" || info.Reason != \"\" || info.Restart == 0 && !info.Active\n", ""}},
	},
	{
		name: "slot: why it was lost is not told", edge: 16, pkg: source, test: "TestEdge16IdleTimeout",
		edits: []edit{{"cdc/postgres/slot.go", "		invalid, failover = \"s.invalidation_reason\", ", "		failover = "}},
	},
	{
		name: "slot: a missing one is a first run", edge: 17, pkg: source, test: "TestEdge17SlotLife",
		edits: []edit{{"cdc/postgres/start.go", "	if errors.Is(err, cdc.ErrNoSlot) {\n		return &cdc.Error{", "	if false {\n		return &cdc.Error{"}},
	},
	{
		name: "slot: any one of our name is ours", edge: 17, pkg: source, test: "TestEdge17SlotOfAnother",
		edits: []edit{{"cdc/postgres/slot.go", "	case !i.current:\n", "	case false:\n"}},
	},
	{
		name: "slot: one that is dropped while it is read is waited for", edge: 17, pkg: source, test: "TestEdge17SlotDroppedWhileStreaming",
		edits: []edit{{"cdc/postgres/start.go", "		return nil, failed(op, object, noSlot(err))\n	}\n	begun = true", "		return nil, failed(op, object, err)\n	}\n	begun = true"}, {"cdc/postgres/judge.go", "	if e = noSlot(e); cdc.NeedsResync(e) {", "	if cdc.NeedsResync(e) {"}},
	},
	{
		name: "slot: an idle position outlives the promotion that lacks it", edge: 18, pkg: engine, test: "TestEdge18IdlePositionIsCutBack", sample: true,
		edits: []edit{{"lakehouse/identity.go", "		next.Rebase = &Rebase{At: at, Timeline: e.identity.Timeline}\n", ""}},
	},
	{
		name: "slot: every other timeline is refused", edge: 18, pkg: engine, test: "TestEdge18PromotionIsFollowed",
		edits: []edit{{"lakehouse/lineage.go", "	return descent{at: now.history[i].At}, nil\n", "	return descent{}, fmt.Errorf(\"another timeline\")\n"}},
	},
	{
		name: "slot: a promotion without it makes another", edge: 18, pkg: engine, test: "TestEdge18PromotionWithoutTheSlot",
		edits: []edit{{"lakehouse/resume.go", "	if errors.Is(err, cdc.ErrNoSlot) {\n", "	if errors.Is(err, cdc.ErrNoSlot) {\n		snap, err := e.opt.Source.CreateSlot(ctx)\n		if err != nil {\n			return slot, err\n		}\n		if err := snap.Close(); err != nil {\n			return slot, err\n		}\n		return e.opt.Source.Slot(ctx)\n	}\n	if errors.Is(err, cdc.ErrNoSlot) {\n"}},
	},
	{
		name: "slot: a timeline is known by its number alone", edge: 19, pkg: engine, test: "TestEdge19Lineage",
		edits: []edit{{"lakehouse/lineage.go", "		if len(was.history) > 0 && !slices.Equal(was.history, now.history) {", "		if false {"}},
	},
	{
		name: "slot: ancestors are known by their numbers alone", edge: 19, pkg: engine, test: "TestEdge19Lineage",
		edits: []edit{{"lakehouse/lineage.go", "	if len(was.history) > 0 && !slices.Equal(was.history, now.history[:i]) {", "	if false {"}},
	},
	{
		name: "slot: one from before the lake's is taken for it", edge: 19, pkg: engine, test: "TestEdge19SlotFromBeforeItWasMade",
		edits: []edit{{"lakehouse/identity.go", "	case slot.ConfirmedFlush != 0 && slot.ConfirmedFlush < st.SlotPoint:\n", "	case false:\n"}},
	},
	{
		name: "slot: a server that has lost its end is waited for", edge: 19, pkg: engine, test: "TestEdge19ServerEndsBeforeTheLake",
		edits: []edit{{"lakehouse/halt.go", "	if h == nil || !h.Final {\n", "	if h != nil || h == nil {\n"}},
	},
	{
		name: "slot: a lake that shows more than the server goes on", edge: 20, pkg: engine, test: "TestEdge20LakeAheadOfTheSource",
		edits: []edit{{"lakehouse/identity.go", "	if r.at > at {\n		slices.Sort", "	if false {\n		slices.Sort"}},
	},
	{
		name: "slot: one that was made anew goes for one that was upgraded", edge: 21, pkg: engine, test: "TestEdge21WhatIsNotContinuous",
		edits: []edit{{"lakehouse/adopt.go", " && t.Is.ServerVersion/10000 > t.Was.ServerVersion/10000", ""}},
	},
	{
		name: "slot: an upgraded one keeps the old positions", edge: 21, pkg: engine, test: "TestEdge21UpgradeIsAdopted",
		edits: []edit{{"lakehouse/adopt.go", "		next.Rebase = &Rebase{At: t.Slot.ConfirmedFlush, Timeline: t.Is.Timeline}\n", ""}},
	},
	{
		name: "slot: a lake that is taken over to another cluster begins nothing anew", edge: 21, pkg: engine, test: "TestEdge21AnotherClusterIsAdopted",
		edits: []edit{{"lakehouse/adopt.go", "	next.SlotPoint, next.SlotRestart, next.Rebase = 0, 0, nil\n", "	next.Phase = PipelineReady\n"}},
	},
	{
		name: "slot: a standby is taken for a primary", edge: 22, pkg: source, test: "TestEdge22CheckStandbyAndFailover",
		edits: []edit{{"cdc/postgres/check_standby.go", "	if serverOf(c.conn).Standby {\n", "	if false {\n"}},
	},
	{
		name: "slot: rows that a standby has removed are not missed", edge: 22, pkg: source, test: "TestEdge22ReaderThatReplayDoesNotWaitFor",
		edits: []edit{{"cdc/postgres/standby.go", "	err := exec(ctx, g.conn, \"SELECT 1\")\n	if err == nil {", "	err := exec(ctx, g.conn, \"SELECT 1\")\n	if err == nil || true {"}},
	},
	{
		name: "slot: a promotion under the stream is not noticed", edge: 22, pkg: source, test: "TestEdge22PromotedUnderTheStream",
		edits: []edit{{"cdc/postgres/start.go", "	if serverOf(sender).Standby {\n		return s.watchPromotion(stream), nil\n	}\n", ""}},
	},
	{
		name: "source: passwords are read once", edge: 23, pkg: source, test: "TestEdge23PasswordOfEachConnection",
		edits: []edit{{"cdc/postgres/conn.go", "	cfg, err := c.parse(kind)\n	if err != nil {\n		return nil, err\n	}\n	if frames", "	cfg, err := c.base.Copy(), error(nil)\n	if frames"}},
	},
	{
		name: "source: a refused password ends everything", edge: 23, pkg: source, test: "TestEdge23PasswordOfEachConnection",
		edits: []edit{{"cdc/postgres/conn.go", "	if now.Sub(c.authSince) >= authGrace {", "	if true {"}},
	},
	{
		name: "source: a server that says nothing is waited for", edge: 23, pkg: source, test: "TestEdge23DeadPeer",
		edits: []edit{{"cdc/postgres/dial.go", "		if err != nil || kind.silence() == 0 {", "		if true {"}},
	},
	{
		name: "source: what the server cannot decode is tried for ever", edge: 24, pkg: source, test: "TestEdge24TroubleIsCounted",
		edits: []edit{{"cdc/postgres/judge.go", "	if moved || now.Sub(t.last) > troubleGap {", "	if true {"}},
	},
	{
		name: "source: a damaged spill file is final", edge: 24, pkg: source, test: "TestEdge24DamagedSpillFile",
		edits: []edit{{"cdc/postgres/judge.go", "v.doubtful {", "v.doubtful && false {"}},
	},
	{
		name: "source: minor versions that lose changes are welcome", edge: 25, pkg: source, test: "TestEdge25DecodingBugsOfMinorVersions",
		edits: []edit{{"cdc/postgres/check.go", "version%10000 < fixed {", "version%10000 < 0*fixed {"}},
	},
	{
		name: "source: a table that may not be published holds up the others", edge: 26, pkg: engine, test: "TestEdge26NewTableMayNotBePublished",
		edits: []edit{{"lakehouse/watch.go", "	if errors.Is(err, cdc.ErrDenied) { // perhaps not all of them", "	if false {"}},
	},
	{
		name: "source: rights on partitions are not looked at", edge: 26, pkg: source, test: "TestEdge26CheckRights",
		edits: []edit{{"cdc/postgres/check_tables.go", "(SELECT r.oid UNION SELECT t.relid FROM pg_partition_tree(r.oid::regclass) t) AS m (oid)", "(SELECT r.oid) AS m (oid)"}},
	},
	{
		name: "source: rows that row security hides are not missed", edge: 26, pkg: source, test: "TestEdge26CheckRights",
		edits: []edit{{"cdc/postgres/check_tables.go", "		if r.bool(6) {\n", "		if false {\n"}},
	},
	{
		name: "source: older writers are not waited for", edge: 35, pkg: source, test: "TestEdge35SettleWaitsForOlderWriters",
		edits: []edit{{"cdc/postgres/keyread.go", "			if first || waiting[r.str(0)] {", "			if !first && waiting[r.str(0)] {"}},
	},
	{
		name: "source: prepared transactions are not waited for", edge: 35, pkg: source, test: "TestEdge35SettleWaitsForOlderWriters",
		edits: []edit{{"cdc/postgres/keyread.go", "AND l.granted ORDER BY 1`", "AND l.granted AND l.pid IS NOT NULL ORDER BY 1`"}},
	},
	{
		name: "source: epochs have the times of their commits", edge: 36, pkg: engine, test: "TestEdge36ClockGoesBackAndForth",
		edits: []edit{{"lakehouse/epoch/log.go", "	if e.CommitTime.Before(l.time) {", "	if false {"}},
	},
	{
		name: "source: as of a time is the last epoch that fits", edge: 36, pkg: "./lakehouse/epoch", test: "TestEdge36AsOfUsesTheRunningMaximum", sample: true,
		edits: []edit{{
			"lakehouse/epoch/find.go", "func lastNotAfter(records []record, t time.Time) int64 {\n	for i := range records {\n",
			"func lastNotAfter(records []record, t time.Time) int64 {\n	for i := len(records) - 1; i >= 0; i-- {\n",
		}},
	},
	{
		name: "source: the lag may be negative", edge: 36, pkg: engine, test: "TestEdge36ClockGoesBackAndForth",
		edits: []edit{{"lakehouse/flush.go", "fresh = max(0, now.Sub(b.cutTime))", "fresh = now.Sub(b.cutTime)"}},
	},
	{
		name: "source: copies hold what a row filter leaves out", edge: 47, pkg: source, test: "TestEdge47NarrowedPublicationIsHonoured",
		edits: []edit{{"cdc/postgres/narrowed.go", "s := publishedShape{oid: r.oid(0), filter: r.str(1)}", "s := publishedShape{oid: r.oid(0)}"}},
	},
	{
		name: "source: copies by ranges hold what a row filter leaves out", edge: 47, pkg: source, test: "TestEdge47NarrowedPublicationByRanges",
		edits: []edit{{"cdc/postgres/keyread.go", "	if f := k.info.filter; f != \"\" { // the rows", "	if f := k.info.filter; false { // the rows"}},
	},
	{
		name: "source: a filter that changes under a copy is not noticed", edge: 47, pkg: source, test: "TestEdge47NarrowedPublicationByRanges",
		edits: []edit{{"cdc/postgres/keyread.go", "	if err == nil && info.filter != k.ranges.filter {", "	if false {"}},
	},
	{
		name: "source: row filters are accepted unasked", edge: 47, pkg: source, test: "TestEdge47PublishRefusesWhatIsNotOurs",
		edits: []edit{{"cdc/postgres/publication.go", "		case (p.filter || p.subset) && !w.narrowed:\n", "		case p.subset && !w.narrowed:\n"}},
	},
	{
		name: "source: publications may carry generated columns", edge: 48, pkg: source, test: "TestEdge48GeneratedColumns",
		edits: []edit{{"cdc/postgres/publication.go", "	if have.generated {\n", "	if false {\n"}},
	},
	{
		name: "source: generated columns are not told of", edge: 48, pkg: source, test: "TestEdge48GeneratedColumns",
		edits: []edit{{"cdc/postgres/check_tables.go", "AND a.attgenerated <> '' AND NOT a.attisdropped GROUP BY 1, 2", "AND a.attgenerated <> '' AND a.attisdropped GROUP BY 1, 2"}},
	},
	{
		name: "source: names that differ by case only are welcome", edge: 49, pkg: source, test: "TestEdge38And49CheckTables",
		edits: []edit{{"cdc/postgres/check_tables.go", "		low := strings.ToLower(col.Name)\n", "		low := col.Name\n"}},
	},
}

func init() { mutations = append(mutations, slotMutations...) }
