package invariant

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheck(t *testing.T) {
	require.NotPanics(t, func() { Check(true, "never") })
	broken := func() { Check(1 > 2, "%d is not above %d", 1, 2) }
	if !Enabled {
		require.NotPanics(t, broken)
		require.Zero(t, testing.AllocsPerRun(100, func() { Check(false, "free") }))
		return
	}
	require.PanicsWithError(t, "invariant violated: 1 is not above 2", broken)
}
