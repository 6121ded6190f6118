package lakehouse

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What is offered, detached or a changelog alone takes nothing from the indexes
// of the others.
func TestIndexMemoryIsForTheMirrors(t *testing.T) {
	mirror := []Mode{ModeMirror}
	tables := []TableState{{Phase: PhaseLive, TableOptions: TableOptions{Modes: mirror}}}
	require.EqualValues(t, 128<<20, indexMemory(512<<20, tables))
	for range 60 {
		tables = append(tables, TableState{Phase: PhaseOffered, TableOptions: TableOptions{Modes: mirror}}, TableState{Phase: PhaseDetached, TableOptions: TableOptions{Modes: mirror}}, TableState{Phase: PhaseLive, TableOptions: TableOptions{Modes: []Mode{ModeChangelog}}})
	}
	require.EqualValues(t, 128<<20, indexMemory(512<<20, tables))
	tables = append(tables, TableState{Phase: PhaseCopying, TableOptions: TableOptions{Modes: []Mode{ModeChangelog, ModeMirror}}})
	require.EqualValues(t, 64<<20, indexMemory(512<<20, tables))
	require.EqualValues(t, 4<<20, indexMemory(16<<20, nil))
}
