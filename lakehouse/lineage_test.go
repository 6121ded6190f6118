package lakehouse

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

// What a server's timeline means to a lake, as a table.
func TestEdge19Lineage(t *testing.T) {
	at := func(pairs ...uint64) []cdc.Switch {
		var h []cdc.Switch
		for i := 0; i < len(pairs); i += 2 {
			h = append(h, cdc.Switch{Timeline: uint32(pairs[i]), At: cdc.LSN(pairs[i+1])})
		}
		return h
	}
	for _, c := range []struct {
		name     string
		was, now lineage
		want     descent
		refused  string
	}{
		{"nothing happened", lineage{1, nil}, lineage{1, nil}, descent{same: true}, ""},
		{"the same later one", lineage{3, at(1, 100, 2, 200)}, lineage{3, at(1, 100, 2, 200)}, descent{same: true}, ""},
		{"promoted", lineage{1, nil}, lineage{2, at(1, 100)}, descent{at: 100}, ""},
		{"promoted twice", lineage{1, nil}, lineage{3, at(1, 100, 2, 200)}, descent{at: 100}, ""},
		{"promoted again", lineage{2, at(1, 100)}, lineage{3, at(1, 100, 2, 200)}, descent{at: 200}, ""},
		{"numbers were skipped", lineage{1, nil}, lineage{5, at(1, 100)}, descent{at: 100}, ""},
		{"an old primary came back", lineage{2, at(1, 100)}, lineage{1, nil}, descent{}, "does not descend"},
		{"a branch beside the lake's", lineage{2, at(1, 100)}, lineage{3, at(1, 90)}, descent{}, "does not descend"},
		{"the same number, taken twice", lineage{2, at(1, 100)}, lineage{2, at(1, 90)}, descent{}, "branched off elsewhere"},
		{"it descends from the number taken twice", lineage{2, at(1, 100)}, lineage{3, at(1, 90, 2, 300)}, descent{}, "another timeline 2"},
		{"a lake from before histories were recorded", lineage{2, nil}, lineage{2, at(1, 90)}, descent{same: true}, ""},
		{"and promoted since", lineage{2, nil}, lineage{3, at(1, 90, 2, 300)}, descent{at: 300}, ""},
	} {
		got, err := c.now.from(c.was)
		if c.refused != "" {
			require.ErrorContains(t, err, c.refused, c.name)
			continue
		}
		require.NoError(t, err, c.name)
		require.Equal(t, c.want, got, c.name)
	}
}
