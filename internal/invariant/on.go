//go:build invariants

package invariant

import "fmt"

// Enabled says whether this build checks.
const Enabled = true

// Check panics with a Violation unless cond holds.
func Check(cond bool, format string, args ...any) {
	if !cond {
		panic(Violation(fmt.Sprintf(format, args...)))
	}
}
