package cdc

import "testing"

// A fault in a row that is applied already means nothing; the next one counts.
func TestFaultFrom(t *testing.T) {
	b := &Batch{Faults: []Fault{{Row: 2, Reason: "a"}, {Row: 2, Reason: "b"}, {Row: 5, Reason: "c"}}}
	for from, want := range map[int]string{0: "a", 2: "a", 3: "c", 5: "c", 6: ""} {
		got := ""
		if f := b.Fault(from); f != nil {
			got = f.Reason
		}
		if got != want {
			t.Errorf("from %d: %q, want %q", from, got, want)
		}
	}
}
