package lakehouse

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

// A cut that is asked for while a flush is under way is not behind what that flush
// will show, although the lake does not show it yet.
func TestACutIsNotBehindWhatIsBeingFlushed(t *testing.T) {
	for at, past := range map[cdc.LSN]bool{50: true, 99: true, 100: false, 150: false} {
		r := &cutRequest{done: make(chan cutOutcome, 1), gone: make(chan struct{}), held: make(chan struct{})}
		s := &session{e: &Engine{shown: 40}, next: &batch{}, given: 100, busy: true}
		s.hold.begin(r)
		s.cutAt(at)
		if !past {
			require.Equal(t, at, s.hold.at)
			require.Equal(t, at == 100, s.hold.full, "nothing has to come any more")
			continue
		}
		require.Nil(t, s.hold.request)
		require.ErrorContains(t, (<-r.done).err, "in the past")
	}
}
