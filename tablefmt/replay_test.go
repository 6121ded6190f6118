package tablefmt

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lakeload/lakeload/tablefmt/dv"
)

// TestReplay runs testdata/replay: commands
//
//	commit [version=N]   apply the commit in the input, print the new state or the error
//	reset                begin at nothing
//
// In the input, "ddl" stands for a protocol and metaData of one column id.
func TestReplay(t *testing.T) {
	datadriven.Walk(t, "testdata/replay", func(t *testing.T, path string) {
		st := noState()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "reset":
				st = noState()
				return "ok\n"
			case "commit":
				v := st.version + 1
				d.MaybeScanArgs(t, "version", &v)
				data := []byte(strings.Replace(d.Input, "ddl", ddl, 1))
				actions, err := collectActions(data, v)
				if err == nil {
					var next *state
					if next, err = st.next(v, actions, len(data)); err == nil {
						st = next
						return describe(st)
					}
				}
				return "error: " + err.Error() + "\n"
			}
			d.Fatalf(t, "unknown command %q", d.Cmd)
			return ""
		})
	})
}

const ddl = `{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors","domainMetadata"]}}
{"metaData":{"id":"t","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"id\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}}]}","partitionColumns":[],"configuration":{}}}`

// describe prints a state.
func describe(st *state) string {
	var b strings.Builder
	fmt.Fprintf(&b, "version %d, %d bytes, schema %s\n", st.version, st.size, st.schema)
	var lines []string
	for path, a := range st.files.all() {
		line := "file " + path
		if a.DeletionVector != nil {
			line += fmt.Sprintf(" without %d rows", a.DeletionVector.Cardinality)
		}
		lines = append(lines, line)
	}
	for app, x := range st.txns.all() {
		lines = append(lines, fmt.Sprintf("txn %s at %d", app, x.Version))
	}
	for d, c := range st.domains.all() {
		lines = append(lines, fmt.Sprintf("domain %s: %s", d, c.Configuration))
	}
	if st.info != nil {
		lines = append(lines, "by "+st.info.Operation+" "+st.info.TxnID)
	}
	slices.Sort(lines)
	for _, l := range lines {
		b.WriteString(l + "\n")
	}
	return b.String()
}

// TestConflict runs testdata/conflict: the command "conflict" with the lines
// of our commit, "----" being datadriven's, a line "winner" and the lines of
// the winner. Arguments: creates, reads=table.
func TestConflict(t *testing.T) {
	datadriven.Walk(t, "testdata/conflict", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			reads := ReadsNothing
			if d.HasArg("reads") {
				reads = ReadsTable
			}
			ours, theirs, ok := strings.Cut(d.Input, "\nwinner\n")
			require.True(t, ok, d.Pos)
			mine, err := collectActions([]byte(ours), 1)
			require.NoError(t, err, d.Pos)
			winner, err := collectActions([]byte(theirs), 1)
			require.NoError(t, err, d.Pos)
			reason, detail := conflict(footprintOf(mine, d.HasArg("creates"), reads), winner)
			if reason == "" {
				return "rebase\n"
			}
			return strings.TrimSuffix(fmt.Sprintf("conflict: %s: %s", reason, detail), ": ") + "\n"
		})
	})
}

// TestReplayModel compares replay with the simplest model of it, over random
// histories, and an early state with itself after later commits.
func TestReplayModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first, err := collectActions([]byte(ddl), 0)
		require.NoError(t, err)
		st, err := noState().next(0, first, 0)
		require.NoError(t, err)
		model := map[string]string{} // path -> vector id
		type past struct {
			st    *state
			model map[string]string
		}
		var kept []past
		for v := int64(1); v <= int64(rapid.IntRange(1, 30).Draw(t, "commits")); v++ {
			actions, after := randomCommit(t, model)
			next, err := st.next(v, actions, 0)
			require.NoError(t, err)
			kept = append(kept, past{st, model})
			st, model = next, after
		}
		for _, p := range append(kept, past{st, model}) {
			got := map[string]string{}
			size := int64(0)
			for path, a := range p.st.files.all() {
				got[path] = vectorID(a.DeletionVector)
				size += a.Size
			}
			require.Equal(t, p.model, got)
			require.Equal(t, len(p.model), p.st.files.len())
			require.Equal(t, size, p.st.size)
		}
	})
}

// randomCommit makes a valid commit on a model and gives the model after it.
func randomCommit(t *rapid.T, model map[string]string) ([]Action, map[string]string) {
	after := map[string]string{}
	for k, v := range model {
		after[k] = v
	}
	actions := []Action{{CommitInfo: &CommitInfo{}}}
	used := map[string]bool{}
	for range rapid.IntRange(1, 8).Draw(t, "actions") {
		path := fmt.Sprint("f", rapid.IntRange(0, 40).Draw(t, "path"))
		if used[path] {
			continue
		}
		used[path] = true
		old, live := model[path]
		var d *dv.Descriptor
		if rapid.Bool().Draw(t, "vector") {
			x := dv.Inline(dv.New(uint64(rapid.IntRange(0, 9).Draw(t, "row"))))
			d = &x
		}
		add := &AddFile{Path: path, Size: int64(len(path)), DeletionVector: d}
		switch {
		case !live:
			actions = append(actions, Action{Add: add})
			after[path] = vectorID(d)
		case vectorID(d) != old && rapid.Bool().Draw(t, "replace"):
			// The add stands first: order must not matter.
			actions = append(actions, Action{Add: add}, Action{Remove: &RemoveFile{Path: path, DeletionVector: vectorOf(old)}})
			after[path] = vectorID(d)
		default:
			actions = append(actions, Action{Remove: &RemoveFile{Path: path, DeletionVector: vectorOf(old)}})
			delete(after, path)
		}
	}
	return actions, after
}

func vectorOf(id string) *dv.Descriptor {
	if id == "" {
		return nil
	}
	return &dv.Descriptor{StorageType: dv.Inlined, PathOrInlineDV: id[1:]}
}
