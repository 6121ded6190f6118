package mutants

const source = "./cdc/postgres"

// streamMutations are faults of the replication stream: each brings back one that others have had, by the number of its edge case.
var streamMutations = []mutation{
	{
		name: "stream: a commit at the start is skipped", edge: 1, pkg: source, test: "TestEdge01SharedPositions",
		edits: []edit{{"cdc/postgres/decode.go", "d.skip = txn.Commit < d.from", "d.skip = txn.Commit <= d.from"}},
	},
	{
		name: "stream: rows are skipped by their own position", edge: 2, pkg: source, test: "TestEdge02LongTransaction",
		edits: []edit{{
			"cdc/postgres/stream_read.go", "		msg := body[walDataHeader:]\n",
			"		if cdc.LSN(binary.BigEndian.Uint64(body[1:])) < s.cfg.from {\n			return nil\n		}\n		msg := body[walDataHeader:]\n",
		}},
	},
	{
		name: "stream: status only when something is acknowledged", edge: 14, pkg: source, test: "TestEdge14SlowCaller",
		edits: []edit{{"cdc/postgres/feedback.go", "f.interval = max(min(senderTimeout/3, maxFeedbackInterval), 10*time.Millisecond)", "f.interval = time.Hour"}},
	},
	{
		name: "stream: the server's requests are not heard", edge: 14, pkg: source, test: "TestEdge14ShutdownDuringAReplay",
		edits: []edit{{"cdc/postgres/inbox.go", "					in.feedback.ping(cdc.LSN(at))\n", ""}},
	},
	{
		name: "stream: a server that cannot hear us is left deaf", edge: 14, pkg: source, test: "TestEdge14DeafServer",
		edits: []edit{{"cdc/postgres/inbox.go", "			in.r.step()\n", ""}},
	},
	{
		name: "stream: what is read for a deaf server is read without bound", edge: 14, pkg: source, test: "TestEdge14DeafServer",
		edits: []edit{
			{"cdc/postgres/relief.go", " && l.size < reliefMost", ""},
			{"cdc/postgres/relief.go", "min(reliefStep, reliefMost-l.size)", "reliefStep"},
		},
	},
	{
		name: "stream: silence is waited out", edge: 15, pkg: source, test: "TestEdge15SilentServer",
		edits: []edit{{"cdc/postgres/feedback.go", "		if waited > f.silence {", "		if false {"}},
	},
	{
		name: "stream: an aborted savepoint takes the transaction along", edge: 27, pkg: source, test: "TestEdge27Subtransactions", sample: true,
		edits: []edit{{"cdc/postgres/decode_stream.go", "	return t.spool.abort(sub)\n", "	d.drop(t)\n	return nil\n"}},
	},
	{
		name: "stream: an aborted savepoint stays", edge: 27, pkg: source, test: "TestEdge27SavepointsOnAServer",
		edits: []edit{{"cdc/postgres/decode_stream.go", "	return t.spool.abort(sub)\n", "	return nil\n"}},
	},
	{
		name: "stream: what was aborted is read back from the disk", pkg: source, test: "TestSpool",
		edits: []edit{{"cdc/postgres/spool_file.go", "		if !s.aborted.has(xid) {", "		if !s.aborted.has(xid) || true {"}},
	},
	{
		name: "stream: aborted savepoints are not cut off", edge: 27, pkg: source, test: "TestEdge27AbortedSavepointsTakeNoRoom",
		edits: []edit{{"cdc/postgres/spool_file.go", "n > 0 && s.aborted.has(s.runs[n-1].xid); n--", "n > 0 && false; n--"}},
	},
	{
		name: "stream: the catalogue is asked for each announcement", edge: 27, pkg: source, test: "TestEdge27RepeatedAnnouncements",
		edits: []edit{{"cdc/postgres/relcache.go", "known != nil && bytes.Equal(known.told, body) {", "known != nil && false {"}},
	},
	{
		name: "stream: large transactions stay in memory", edge: 28, pkg: source, test: "TestEdge28OnDiskUntilTheCommit", sample: true,
		edits: []edit{{"cdc/postgres/spool.go", "	if !s.disk && s.in.length()", "	if false && s.in.length()"}},
	},
	{
		name: "stream: a full spool is tried again", edge: 28, pkg: source, test: "TestEdge28SpoolIsFull",
		edits: []edit{{"cdc/postgres/start.go", "s.config.Streaming == StreamingOn && !off", "s.config.Streaming == StreamingOn && (!off || off)"}},
	},
	{
		name: "stream: a full spool is never tried again", edge: 28, pkg: source, test: "TestEdge28SpoolIsFull",
		edits: []edit{{"cdc/postgres/pressure.go", "	delete(p.xids, xid)\n}\n\n// off", "	_ = xid\n}\n\n// off"}},
	},
	{
		name: "stream: transactions in progress share the tables of others", edge: 29, pkg: source, test: "TestEdge29RelationsInProgress",
		edits: []edit{{"cdc/postgres/decode_stream.go", "d.playing, d.view, d.last = t, t.own, nil", "d.playing, d.view, d.last = t, d.relations, nil"}},
	},
	{
		name: "stream: Origin is read with an xid", edge: 34, pkg: source, test: "TestEdge34Origins",
		edits: []edit{{"cdc/postgres/decode_stream.go", "	case msgOrigin: // the only one without an xid\n		return known(kind, c)\n", ""}},
	},
	{
		name: "stream: a stray abort ends the stream", edge: 30, pkg: source, test: "TestEdge30Kinds",
		edits: []edit{{"cdc/postgres/decode_stream.go", "		// sent need not be taken back.\n		return nil\n", "		// sent need not be taken back.\n		return errors.New(\"stray\")\n"}},
	},
	{
		name: "stream: unknown messages are ignored", edge: 30, pkg: source, test: "TestEdge30Kinds",
		edits: []edit{{"cdc/postgres/decode.go", "	return errors.New(\"unknown kind; nothing of the stream after it could be trusted\")\n", "	return nil\n"}},
	},
	{
		name: "stream: only commits move the cut", edge: 31, pkg: source, test: "TestEdge31NoCommitsOfOurs",
		edits: []edit{{"cdc/postgres/decode.go", "	if !d.open && !d.hasRows() && end > d.cut {", "	if false {"}},
	},
	{
		name: "stream: a transaction in progress holds the cut", edge: 31, pkg: source, test: "TestEdge31NoCommitsOfOurs",
		edits: []edit{{"cdc/postgres/decode.go", "	if !d.open && !d.hasRows() && end > d.cut {", "	if !d.open && len(d.progress) == 0 && !d.hasRows() && end > d.cut {"}},
	},
	{
		name: "stream: prepared transactions are asked for", edge: 32, pkg: source, test: "TestEdge32PreparedOnAServer",
		edits: []edit{{"cdc/postgres/stream_start.go", "\", streaming 'on'\"", "\", streaming 'on', two_phase 'on'\""}},
	},
	{
		name: "stream: free messages need a transaction", edge: 33, pkg: source, test: "TestEdge33Messages",
		edits: []edit{{"cdc/postgres/decode.go", "	if transactional && !d.open && d.block == nil {", "	if (transactional || true) && !d.open && d.block == nil {"}},
	},
	{
		name: "stream: a message in a block has no xid", edge: 33, pkg: source, test: "TestEdge33Messages",
		edits: []edit{{"cdc/postgres/decode_stream.go", "		return d.logical(c)\n", "		return d.logical(cursor{b: body})\n"}},
	},
	{
		name: "stream: the origin is not asked for, nor refused", edge: 34, pkg: source, test: "TestEdge34OriginsOnAServer",
		edits: []edit{
			{"cdc/postgres/stream_start.go", "		options += \", origin 'none'\"\n", ""},
			{"cdc/postgres/stream_start.go", "	if cfg.originNone && cfg.serverVersion < 160000 {", "	if false {"},
		},
	},
	{
		name: "stream: a missing publication is gone over", edge: 35, pkg: source, test: "TestEdge35PublicationOfThePast",
		edits: []edit{
			{"cdc/postgres/stream_read.go", "	if m.Routine == \"LoadPublications\" {", "	if false {"},
			{"cdc/postgres/stream_read.go", "	if m.Code == codeUndefinedObject && ", "	if false && "},
		},
	},
	{
		name: "stream: what an old key leaves out is NULL", edge: 37, pkg: source, test: "TestEdge37Unchanged", sample: true,
		edits: []edit{{"cdc/postgres/rowwalk.go", "before != nil && before[col].data != nil {", "before != nil {"}},
	},
	{
		name: "stream: old values are not used", edge: 37, pkg: source, test: "TestEdge37UnchangedOnAServer",
		edits: []edit{{"cdc/postgres/rowwalk.go", "	if v.form == valueUnchanged && before != nil", "	if false && before != nil"}},
	},
	{
		name: "stream: a row may leave out anything", edge: 37, pkg: source, test: "TestEdge37Unchanged",
		edits: []edit{{"cdc/postgres/rowwalk.go", "		if op != cdc.OpUpdate {", "		if false {"}},
	},
	{
		name: "stream: the first identity stays", edge: 38, pkg: source, test: "TestEdge38Identities",
		edits: []edit{{"cdc/postgres/relcache.go", "		if known.same(r) {", "		if known.columns == r.columns {"}},
	},
	{
		name: "stream: a changed key is a deletion", edge: 39, pkg: source, test: "TestEdge39ChangedKeys",
		edits: []edit{{"cdc/postgres/decode_row.go", "d.row(r, cdc.OpBefore, p, nil)", "d.row(r, cdc.OpDelete, p, nil)"}},
	},
	{
		name: "stream: the old key is left out", edge: 39, pkg: source, test: "TestEdge39ChangedKeyOnAServer",
		edits: []edit{{"cdc/postgres/decode_row.go", "		before, p, err = d.oldTuple(r, p[1:])\n", "		p, err = func(p []byte) ([]byte, error) {\n			p = p[2:]\n			for range r.columns {\n				_, p, _ = nextValue(p)\n			}\n			return p, nil\n		}(p[1:])\n"}},
	},
	{
		name: "stream: a truncate overtakes the rows before it", edge: 41, pkg: source, test: "TestEdge41Truncate", sample: true,
		edits: []edit{{"cdc/postgres/decode_row.go", "		if r.rows.in != nil {\n", "		if false {\n"}},
	},
	{
		name: "stream: only the first table is truncated", edge: 41, pkg: source, test: "TestEdge41TruncateOnAServer",
		edits: []edit{{"cdc/postgres/decode_row.go", "		d.bytes += 64\n", "		d.bytes += 64\n		return nil\n"}},
	},
	{
		name: "stream: the shape that commits last counts", edge: 42, pkg: source, test: "TestEdge42Shapes",
		edits: []edit{{"cdc/postgres/decode_stream.go", "known == nil || known.arrived < r.arrived {", "known == nil || true {"}},
	},
	{
		name: "stream: the table of the last row is kept too long", edge: 42, pkg: source, test: "TestEdge42Shapes",
		edits: []edit{{"cdc/postgres/relcache.go", "	d.last = nil\n", ""}},
	},
	{
		name: "stream: the table of the last row is kept over a commit", edge: 29, pkg: source, test: "TestEdge29RelationsInProgress",
		edits: []edit{{"cdc/postgres/decode_stream.go", "d.playing, d.view, d.last = t, t.own, nil", "d.playing, d.view = t, t.own"}},
	},
	{
		name: "stream: the modifier is no part of the type", edge: 42, pkg: source, test: "TestEdge42Shapes",
		edits: []edit{{"cdc/relation.go", " || a.TypeMod != b.TypeMod", ""}},
	},
	{
		name: "stream: a table's shapes are handed out in a row", edge: 42, pkg: source, test: "TestEdge42Shapes",
		edits: []edit{{"cdc/postgres/decode_row.go", "			d.flush(last)\n", "			_ = last\n"}},
	},
	{
		name: "stream: values lie on the disk in clear", pkg: source, test: "TestSpoolHidesValues",
		edits: []edit{{"cdc/postgres/spool_file.go", "	st.stored = st.aead.Seal(st.stored[:0], st.nonce(nonce), st.packed, s.place(len(s.pages)))\n", "	st.stored = append(st.stored[:0], s.tail...)\n	_ = nonce\n"}},
	},
	{
		name: "stream: a nonce is used again after a failure", pkg: source, test: "TestSpoolDiskFails",
		edits: []edit{
			{"cdc/postgres/spool_file.go", "	st.sealed++ // whatever becomes of the page: no nonce is used twice\n", ""},
			{"cdc/postgres/spool_file.go", "	s.end += n\n", "	s.end += n\n	st.sealed++\n"},
		},
	},
	{
		name: "stream: a spool that ends too early is complete", pkg: source, test: "TestSpoolDamage",
		edits: []edit{{"cdc/postgres/spool_file.go", "		if errors.Is(err, io.EOF) { // which is no end of the spool\n", "		if false {\n"}},
	},
	{
		name: "stream: pages may change places", pkg: source, test: "TestSpoolDamage",
		edits: []edit{{"cdc/postgres/spool_file.go", "binary.BigEndian.AppendUint32(make([]byte, 0, 8), s.id), uint32(page))", "binary.BigEndian.AppendUint32(make([]byte, 0, 8), s.id), uint32(page-page))"}},
	},
	{
		name: "stream: any heartbeat is ours", pkg: source, test: "TestHeartbeatIsOurs",
		edits: []edit{{"cdc/postgres/heartbeat.go", "h.waiting == \"\" || string(content) != h.waiting {", "h.waiting == \"\" {"}},
	},
	{
		name: "stream: usual numbers lose their scale", pkg: source, test: "TestTupleIsAppend",
		edits: []edit{{"cdc/postgres/usual.go", "		if u%cut != 0 {\n", "		if false {\n"}},
	},
}

func init() { mutations = append(mutations, streamMutations...) }
