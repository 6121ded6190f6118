package tablefmt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
)

// parseCommit gives the actions of a commit file, in order, up to the first
// error. Lines whose action is unknown are left out. The actions refer to
// none of data.
func parseCommit(data []byte) iter.Seq2[Action, error] {
	return func(yield func(Action, error) bool) {
		for n := 1; len(data) > 0; n++ {
			line := data
			if i := bytes.IndexByte(data, '\n'); i >= 0 {
				line, data = data[:i], data[i+1:]
			} else {
				data = nil
			}
			if line = bytes.TrimSpace(line); len(line) == 0 {
				continue
			}
			a, err := parseAction(line)
			if err != nil {
				yield(Action{}, fmt.Errorf("line %d: %w", n, err))
				return
			}
			if a != (Action{}) && !yield(a, nil) {
				return
			}
		}
	}
}

// collectActions gives all actions of a commit, or its error as an ErrCorrupt
// that names file and version.
func collectActions(data []byte, version int64) ([]Action, error) {
	actions, err := collectLines(data)
	if err != nil {
		return nil, corrupt(commitName(version), version, err)
	}
	if len(actions) == 0 {
		// A commit holds a commitInfo at the least; an empty file is the mark
		// of a crash in a store without atomic writes.
		return nil, corrupt(commitName(version), version, errors.New("it holds no action"))
	}
	return actions, nil
}

// collectLines gives all actions of a file of them, or the first error.
func collectLines(data []byte) ([]Action, error) {
	var actions []Action
	for a, err := range parseCommit(data) {
		if err != nil {
			return nil, err
		}
		actions = append(actions, a)
	}
	return actions, nil
}

// parseAction reads one line of a commit. Of commitInfo it takes what it knows
// and lets pass what has another shape: the protocol leaves its content free.
func parseAction(line []byte) (Action, error) {
	var a Action
	err := error(nil)
	if plainKeys(line) {
		err = json.Unmarshal(line, &a)
	}
	if _, shape := errors.AsType[*json.UnmarshalTypeError](err); shape && a.CommitInfo == nil || err == nil && a == (Action{}) {
		a, err = strictAction(line)
	}
	if err != nil {
		// What has its shape has been taken all the same.
		_, shape := errors.AsType[*json.UnmarshalTypeError](err)
		if free := shape && a.CommitInfo != nil; !free {
			return Action{}, fmt.Errorf("reading an action: %w", err)
		}
	}
	if n := a.count(); n > 1 {
		return Action{}, fmt.Errorf("a line holds %d actions", n)
	}
	return a, a.validate()
}

func (a *Action) count() int {
	n := 0
	for _, set := range []bool{
		a.CommitInfo != nil, a.Protocol != nil, a.Metadata != nil, a.Txn != nil,
		a.Domain != nil, a.Remove != nil, a.Add != nil, a.CDC != nil,
	} {
		if set {
			n++
		}
	}
	return n
}

// validate refuses an action without what the protocol requires of it.
func (a *Action) validate() error {
	switch {
	case a.Protocol != nil:
		return a.Protocol.validate()
	case a.Txn != nil:
		if a.Txn.AppID == "" {
			return errors.New("txn has no appId")
		}
	case a.Domain != nil:
		if a.Domain.Domain == "" {
			return errors.New("domainMetadata has no domain")
		}
	case a.Remove != nil:
		if a.Remove.Path == "" {
			return errors.New("remove has no path")
		}
	case a.Add != nil:
		if a.Add.Size < 0 {
			return fmt.Errorf("add %q has size %d", a.Add.Path, a.Add.Size)
		}
		_, err := parsePath(a.Add.Path)
		return err
	case a.CDC != nil:
		if a.CDC.Path == "" {
			return errors.New("cdc has no path")
		}
	}
	return nil
}

// encodeActions writes actions as a commit file.
func encodeActions(actions []Action) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	for i := range actions {
		if err := enc.Encode(&actions[i]); err != nil {
			return nil, fmt.Errorf("encoding a commit: %w", err)
		}
	}
	return buf.Bytes(), nil
}
