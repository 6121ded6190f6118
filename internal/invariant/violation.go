package invariant

// Violation is what a failed Check panics with, so that a test harness can
// tell it from other panics.
type Violation string

func (v Violation) Error() string { return "invariant violated: " + string(v) }
