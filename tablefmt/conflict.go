package tablefmt

// ConflictReason says what two commits have in common that keeps the one from
// following the other.
type ConflictReason string

// The reasons.
const (
	ConflictCreated  ConflictReason = "it created the table that we wanted to create"
	ConflictProtocol ConflictReason = "it changed the table's protocol"
	ConflictMetadata ConflictReason = "it changed the table's schema or properties"
	ConflictSchema   ConflictReason = "it added files while we change the table's protocol, schema or properties"
	ConflictTxn      ConflictReason = "it recorded progress of the same application"
	ConflictDomain   ConflictReason = "it changed the same metadata domain"
	ConflictFile     ConflictReason = "it changed or removed a file that we change or remove"
	ConflictRows     ConflictReason = "it changed rows that our commit rests on"
	ConflictTooMany  ConflictReason = "other writers were faster too often"
)

// Reads says what of the table a transaction's content rests on, beyond the
// files that it removes (which it always rests on).
type Reads int

const (
	// ReadsNothing says that whatever rows others add or remove, the commit stays
	// right. Appends and rewrites of files are so.
	ReadsNothing Reads = iota
	// ReadsTable says that if others add or remove rows, the commit is wrong. An upsert
	// is so, whose keys were looked up in the table. Commits that only
	// rearrange rows do no harm.
	ReadsTable
	// ReadsRows is ReadsTable but for blind appends of others, which could as well
	// have come after the commit: Spark's WriteSerializable, and fit for a deletion
	// by a condition. In a table whose delta.isolationLevel is Serializable the two
	// are the same.
	ReadsRows
)

// footprint is what of a transaction another commit can collide with.
type footprint struct {
	creates bool // it makes version 0
	schema  bool // it sets protocol or metaData
	reads   Reads
	// rests says whether the commit rests on rows of a file, which the winner added
	// or removed; nil: on those of all.
	rests   func(path string, added *AddFile) bool
	paths   map[string]bool // of its adds and removes
	apps    map[string]bool
	domains map[string]bool
}

func footprintOf(actions []Action, creates bool, reads Reads) *footprint {
	f := &footprint{creates: creates, reads: reads, paths: map[string]bool{}, apps: map[string]bool{}, domains: map[string]bool{}}
	for i := range actions {
		switch a := &actions[i]; {
		case a.Protocol != nil, a.Metadata != nil:
			f.schema = true
		case a.Add != nil:
			f.paths[canonicalPath(a.Add.Path)] = true
		case a.Remove != nil:
			f.paths[canonicalPath(a.Remove.Path)] = true
		case a.Txn != nil:
			f.apps[a.Txn.AppID] = true
		case a.Domain != nil:
			f.domains[a.Domain.Domain] = true
		}
	}
	return f
}

// conflict says whether a transaction can follow a commit that won its
// version: an empty reason says yes. It is pure. If it says yes, the
// transaction's actions applied after the winner's mean what they meant
// before: this package resolves at the granularity of files and leaves finer
// mending (rows that moved, late deletes) to whoever made the transaction.
func conflict(mine *footprint, winner []Action) (reason ConflictReason, detail string) {
	if mine.creates {
		return ConflictCreated, ""
	}
	found := make(map[ConflictReason]string)
	reads := mine.reads != ReadsNothing && (mine.reads != ReadsRows || !appendsBlindly(winner))
	note := func(r ConflictReason, detail string) {
		if _, ok := found[r]; !ok {
			found[r] = detail
		}
	}
	for i := range winner {
		w := &winner[i]
		path, changes := "", false
		switch {
		case w.Protocol != nil:
			note(ConflictProtocol, "")
		case w.Metadata != nil:
			note(ConflictMetadata, "")
		case w.Txn != nil && mine.apps[w.Txn.AppID]:
			note(ConflictTxn, w.Txn.AppID)
		case w.Domain != nil && mine.domains[w.Domain.Domain]:
			note(ConflictDomain, w.Domain.Domain)
		case w.Add != nil:
			path, changes = w.Add.Path, w.Add.DataChange
			if mine.schema {
				note(ConflictSchema, path)
			}
		case w.Remove != nil:
			path, changes = w.Remove.Path, w.Remove.DataChange
		}
		if path != "" && mine.paths[canonicalPath(path)] {
			note(ConflictFile, path)
		}
		if changes && reads && (mine.rests == nil || mine.rests(path, w.Add)) {
			note(ConflictRows, path)
		}
	}
	// The gravest is told, wherever in the commit it stood.
	for _, r := range []ConflictReason{
		ConflictProtocol, ConflictMetadata, ConflictTxn, ConflictDomain, ConflictSchema, ConflictFile, ConflictRows,
	} {
		if d, ok := found[r]; ok {
			return r, d
		}
	}
	return "", ""
}

// appendsBlindly reports whether a commit adds files and has looked at nothing, as
// far as it says.
func appendsBlindly(actions []Action) bool {
	for i := range actions {
		if r := actions[i].Remove; r != nil && r.DataChange {
			return false
		}
	}
	info := infoOf(actions)
	return info != nil && info.IsBlindAppend != nil && *info.IsBlindAppend
}
