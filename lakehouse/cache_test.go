package lakehouse

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What is offered, detached or a changelog alone takes nothing from the indexes
// of the others.
func TestIndexMemoryIsForTheMirrors(t *testing.T) {
	mirror := []Mode{ModeMirror}
	tables := []TableState{{Phase: PhaseLive, Modes: mirror}}
	require.EqualValues(t, 128<<20, indexMemory(512<<20, tables))
	for range 60 {
		tables = append(tables, TableState{Phase: PhaseOffered, Modes: mirror}, TableState{Phase: PhaseDetached, Modes: mirror}, TableState{Phase: PhaseLive, Modes: []Mode{ModeChangelog}})
	}
	require.EqualValues(t, 128<<20, indexMemory(512<<20, tables))
	tables = append(tables, TableState{Phase: PhaseCopying, Modes: []Mode{ModeChangelog, ModeMirror}})
	require.EqualValues(t, 64<<20, indexMemory(512<<20, tables))
	require.EqualValues(t, 4<<20, indexMemory(16<<20, nil))
}
