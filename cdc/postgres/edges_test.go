package postgres

import "testing"

// These play scripts of messages, each file an edge case by its number.
// edges_server_test.go has what a real server makes of them.

func TestEdge01SharedPositions(t *testing.T) { playScript(t, "testdata/edges/01_shared_positions") }
func TestEdge02CommitOrder(t *testing.T)     { playScript(t, "testdata/edges/02_commit_order") }
func TestEdge27Subtransactions(t *testing.T) { playScript(t, "testdata/edges/27_subtransactions") }
func TestEdge29RelationsInProgress(t *testing.T) {
	playScript(t, "testdata/edges/29_relations_in_progress")
}
func TestEdge30Kinds(t *testing.T)             { playScript(t, "testdata/edges/30_kinds") }
func TestEdge32PreparedIsRefused(t *testing.T) { playScript(t, "testdata/edges/32_prepared") }
func TestEdge33Messages(t *testing.T)          { playScript(t, "testdata/edges/33_messages") }
func TestEdge34Origins(t *testing.T)           { playScript(t, "testdata/edges/34_origins") }
func TestEdge37Unchanged(t *testing.T)         { playScript(t, "testdata/edges/37_unchanged") }
func TestEdge38Identities(t *testing.T)        { playScript(t, "testdata/edges/38_identities") }
func TestEdge39ChangedKeys(t *testing.T)       { playScript(t, "testdata/edges/39_changed_keys") }
func TestEdge41Truncate(t *testing.T)          { playScript(t, "testdata/edges/41_truncate") }
func TestEdge42Shapes(t *testing.T)            { playScript(t, "testdata/edges/42_shapes") }
