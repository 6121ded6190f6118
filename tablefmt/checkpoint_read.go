package tablefmt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/lakeload/lakeload/tablefmt/colfile"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// readCheckpoint gives the state that a checkpoint holds, of whichever kind:
// classic, in several parts, or of the V2 Spec with its sidecars.
func readCheckpoint(ctx context.Context, log objstore.Store, parts []logFile) (*state, error) {
	b := noState().build()
	defer b.files.wait()
	all := []int{colTxn, colAdd, colMetadata, colProtocol, colDomain}
	if err := checkpointRows(ctx, log, parts, all, b.checkpoint); err != nil {
		return nil, err
	}
	if err := b.files.loaded(); err != nil {
		return nil, corrupt(parts[0].name, parts[0].version, err)
	}
	st, err := b.finish(parts[0].version, parts[0].name)
	if err != nil {
		return nil, err
	}
	var size int64
	for _, p := range parts {
		size += p.size
	}
	st.tail.set(st.version, size)
	return st, nil
}

// checkpointRows gives the actions of some kinds that a checkpoint holds.
func checkpointRows(ctx context.Context, log objstore.Store, parts []logFile, cols []int, emit func(*Action) error) error {
	var sides []sidecar
	for _, p := range parts {
		read := readCheckpointFile
		if strings.HasSuffix(p.name, ".json") {
			read = readCheckpointJSON
		}
		err := read(ctx, log, p.name, cols, emit, func(s sidecar) error {
			sides = append(sides, s)
			return nil
		})
		if err != nil {
			return checkpointError(p.name, p.version, err)
		}
	}
	// Sidecars hold file actions and nothing else.
	cols = slices.DeleteFunc(slices.Clone(cols), func(c int) bool { return c != colAdd && c != colRemove })
	if len(cols) == 0 {
		return nil
	}
	for _, s := range sides {
		name, err := decodePath(s.Path)
		if err != nil || strings.Contains(name, "/") {
			return corrupt(parts[0].name, parts[0].version, fmt.Errorf("the sidecar's path %q is not a file's name", s.Path))
		}
		name = "_sidecars/" + name
		err = readCheckpointFile(ctx, log, name, cols, emit, func(sidecar) error {
			return errors.New("a sidecar names a sidecar")
		})
		if err != nil {
			return checkpointError(name, parts[0].version, err)
		}
	}
	return nil
}

// checkpointError tells a damaged checkpoint from a store that failed and
// from a caller that gave up.
func checkpointError(name string, version int64, err error) error {
	var e *emitError
	if errors.As(err, &e) {
		return e.err
	}
	// One of other types than the protocol's, or compressed by what nobody uses, is
	// no better than a damaged one: an older one may do.
	if errors.Is(err, colfile.ErrUnsupported) || errors.Is(err, errBadParquet) || errors.Is(err, errBadAction) || errors.Is(err, objstore.ErrNotFound) {
		return corrupt(name, version, err)
	}
	return fmt.Errorf("reading %s: %w", name, err)
}

// errBadAction marks a row of a checkpoint that is no valid action.
var errBadAction = errors.New("a row of the checkpoint is no valid action")

// emitError carries what the receiver of actions returned.
type emitError struct{ err error }

func (e *emitError) Error() string { return e.err.Error() }
func (e *emitError) Unwrap() error { return e.err }

// readBatch is how many rows are read at a time: their statistics are most of
// what opening a table has in memory at a time.
const readBatch = 512

func readCheckpointFile(ctx context.Context, log objstore.Store, name string, cols []int, emit func(*Action) error, side func(sidecar) error) error {
	fields := []arrow.Field{nullable("sidecar", arrow.StructOf(nullable("path", arrow.BinaryTypes.String)))}
	for _, c := range cols {
		fields = append(fields, checkpointColumns[c])
	}
	r := parquetRead{want: arrow.NewSchema(fields, nil), batchRows: readBatch, adapt: withParsedStats}
	return readParquet(ctx, log, name, r, func(rec arrow.RecordBatch, _ int64) error {
		return actionsOf(rec, func(a *Action) error {
			if err := emit(a); err != nil {
				return &emitError{err}
			}
			return nil
		}, side)
	})
}

// withParsedStats asks for typed statistics where a file of a checkpoint has no
// others.
func withParsedStats(f *colfile.File, want *arrow.Schema) *arrow.Schema {
	at := want.FieldIndices("add")
	parsed, ok := onlyParsed(f)
	if len(at) == 0 || !ok {
		return want
	}
	fields := slices.Clone(want.Fields())
	add := fields[at[0]].Type.(*arrow.StructType)
	fields[at[0]].Type = arrow.StructOf(append(slices.Clone(add.Fields()), parsed)...)
	return arrow.NewSchema(fields, nil)
}

// readCheckpointJSON reads the top file of a V2 checkpoint in JSON.
func readCheckpointJSON(ctx context.Context, log objstore.Store, name string, cols []int, emit func(*Action) error, side func(sidecar) error) error {
	data, err := log.Get(ctx, name)
	if err != nil {
		return err
	}
	for line := range bytes.Lines(data) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		var s struct {
			Sidecar *sidecar `json:"sidecar"`
		}
		if err := json.Unmarshal(line, &s); err != nil {
			return fmt.Errorf("%w: %w", errBadAction, err)
		}
		if s.Sidecar != nil {
			if err := side(*s.Sidecar); err != nil {
				return err
			}
			continue
		}
		a, err := parseAction(line)
		if err != nil {
			return fmt.Errorf("%w: %w", errBadAction, err)
		}
		if slices.Contains(cols, columnOf(&a)) {
			if err := emit(&a); err != nil {
				return &emitError{err}
			}
		}
	}
	return nil
}

// columnOf is the checkpoint column of an action, -1 for none.
func columnOf(a *Action) int {
	switch {
	case a.Txn != nil:
		return colTxn
	case a.Add != nil:
		return colAdd
	case a.Remove != nil:
		return colRemove
	case a.Metadata != nil:
		return colMetadata
	case a.Protocol != nil:
		return colProtocol
	case a.Domain != nil:
		return colDomain
	}
	return -1
}
