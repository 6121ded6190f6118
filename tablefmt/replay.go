package tablefmt

import (
	"errors"
	"fmt"
)

// state is what the log's replay up to a version gives. (Action
// Reconciliation) It is immutable. Tombstones are not part of it: their
// number is bounded by time alone, and only checkpoints and vacuum want them;
// see Snapshot.Tombstones.
type state struct {
	version  int64
	protocol *Protocol
	metadata *Metadata
	schema   *Schema
	mapping  MappingMode
	files    fileSet
	txns     pmap[*Txn]
	domains  pmap[*DomainMetadata]
	size     int64 // of files, in bytes
	info     *CommitInfo
	tail     tail
}

// noState is the state before version 0.
func noState() *state { return &state{version: -1, tail: newTail()} }

// next applies the commit that makes version, which must be the one after
// st's. It refuses a commit that breaks the protocol's rules, and one that
// leads to a table which cannot be read here. The order of the actions does
// not matter, as the protocol says.
// size is that of the commit's file in bytes.
func (st *state) next(version int64, actions []Action, size int) (*state, error) {
	if version != st.version+1 {
		return nil, fmt.Errorf("version %d cannot follow version %d", version, st.version)
	}
	b := st.build()
	if err := b.commit(actions); err != nil {
		return nil, corrupt(commitName(version), version, err)
	}
	b.st.tail = st.tail.grow(size)
	return b.finish(version, commitName(version))
}

// builder makes a state out of another one and actions.
type builder struct {
	st       state
	files    *fileEditor
	txns     *peditor[*Txn]
	domains  *peditor[*DomainMetadata]
	protocol bool // changed
	metadata bool
}

func (st *state) build() *builder {
	b := &builder{st: *st, files: st.files.edit(), txns: st.txns.edit(), domains: st.domains.edit()}
	b.st.info = nil
	return b
}

// commit applies the actions of one commit: what it removes first, then what
// it adds, since both may name one path with different deletion vectors.
func (b *builder) commit(actions []Action) error {
	if err := checkCommitShape(actions); err != nil {
		return err
	}
	return b.apply(actions)
}

// apply applies what is removed first, then what is added.
func (b *builder) apply(actions []Action) error {
	for i := range actions {
		if r := actions[i].Remove; r != nil {
			b.remove(r)
		}
	}
	for i := range actions {
		a := &actions[i]
		if a.Add == nil {
			b.other(a)
		} else if err := b.replace(a.Add); err != nil {
			return err
		}
	}
	return nil
}

// singular names what an action sets that can be set but once: in one commit, and
// in what several come to; "" for files and what is said of a commit.
func (a *Action) singular() string {
	switch {
	case a.Protocol != nil:
		return "a protocol"
	case a.Metadata != nil:
		return "metaData"
	case a.Txn != nil:
		return "txn " + a.Txn.AppID
	case a.Domain != nil:
		return "domainMetadata " + a.Domain.Domain
	}
	return ""
}

// checkCommitShape refuses a commit in which two actions would have to be
// taken in order. (Delta Log Entries, under Requirements for Writers)
func checkCommitShape(actions []Action) error {
	adds, removes := make(map[string]*AddFile), make(map[string]*RemoveFile)
	once := make(map[string]bool)
	for i := range actions {
		switch a := &actions[i]; {
		case a.Add != nil:
			path := canonicalPath(a.Add.Path)
			if adds[path] != nil {
				return fmt.Errorf("it adds %q twice", a.Add.Path)
			}
			adds[path] = a.Add
		case a.Remove != nil:
			path := canonicalPath(a.Remove.Path)
			if removes[path] != nil {
				return fmt.Errorf("it removes %q twice", a.Remove.Path)
			}
			removes[path] = a.Remove
		default:
			what := a.singular()
			if what != "" && once[what] {
				return fmt.Errorf("it has %s twice", what)
			}
			once[what] = true
		}
	}
	for path, r := range removes {
		if a := adds[path]; a != nil && vectorID(a.DeletionVector) == vectorID(r.DeletionVector) {
			return fmt.Errorf("it adds and removes %q with the same deletion vector", path)
		}
	}
	return nil
}

// replace adds a file, or describes one that is there anew.
func (b *builder) replace(a *AddFile) error {
	if old, ok := b.files.get(a.Path); ok && vectorID(old.DeletionVector) != vectorID(a.DeletionVector) {
		return fmt.Errorf("it adds %q with another deletion vector and does not remove it first", a.Path)
	}
	b.st.size += a.Size - b.files.put(a)
	return nil
}

// remove takes out a logical file. One that is not there, or is there with
// another deletion vector, stays as it is: the removal is of older state.
func (b *builder) remove(r *RemoveFile) {
	size, _ := b.files.del(r.Path, vectorID(r.DeletionVector))
	b.st.size -= size
}

// other applies what is no file.
func (b *builder) other(a *Action) {
	switch {
	case a.CommitInfo != nil:
		b.st.info = a.CommitInfo
	case a.Protocol != nil:
		b.st.protocol, b.protocol = a.Protocol, true
	case a.Metadata != nil:
		b.st.metadata, b.metadata = a.Metadata, true
	case a.Txn != nil:
		b.txns.set(a.Txn.AppID, a.Txn)
	case a.Domain != nil && a.Domain.Removed:
		b.domains.del(a.Domain.Domain)
	case a.Domain != nil:
		b.domains.set(a.Domain.Domain, a.Domain)
	}
}

// checkpoint applies an action of a checkpoint, where everything stands once
// and there are no removals to reckon with. Whether a file came twice is told
// at the end, by b.files.loaded.
func (b *builder) checkpoint(a *Action) error {
	if a.Add == nil {
		b.other(a)
		return nil
	}
	b.files.load(a.Add)
	b.st.size += a.Add.Size
	return nil
}

// finish gives the state at version, after file was applied last.
func (b *builder) finish(version int64, file string) (*state, error) {
	st := &b.st
	st.version = version
	st.files, st.txns, st.domains = b.files.done(), b.txns.done(), b.domains.done()
	if st.protocol == nil || st.metadata == nil {
		return nil, corrupt(file, version, fmt.Errorf("the table has no protocol or no metaData up to here"))
	}
	if !b.protocol && !b.metadata {
		return st, nil
	}
	if b.metadata {
		var err error
		if st.schema, err = schemaOf(st.metadata); err != nil {
			return nil, corrupt(file, version, err)
		}
	}
	if err := checkRead(st.protocol, st.metadata, st.schema); err != nil {
		return nil, fmt.Errorf("%s (version %d): %w", file, version, err)
	}
	var err error
	if st.mapping, err = mappingOf(st.protocol, st.metadata); err == nil {
		err = errors.Join(st.mapping.checkMapped(st.schema), checkTypeChanges(st.protocol, st.schema))
	}
	if err != nil {
		return nil, corrupt(file, version, err)
	}
	return st, nil
}

// schemaOf parses and checks a table's schema and partition columns.
func schemaOf(m *Metadata) (*Schema, error) {
	s, err := ParseSchema(m.schemaText())
	if err != nil {
		return nil, err
	}
	// A table that exists may have names that we would refuse to create.
	if err := s.CheckNames(true); err != nil {
		return nil, err
	}
	seen := make(map[string]bool)
	for _, name := range m.PartitionColumns {
		f, ok := s.Field(name)
		if !ok || seen[name] {
			return nil, fmt.Errorf("partition column %q is not in the schema, or twice in the list", name)
		}
		seen[name] = true
		switch f.Type.(type) {
		case *Struct, *Array, *Map:
			return nil, fmt.Errorf("partition column %q is of type %s", name, f.Type)
		}
	}
	return s, nil
}
