// Package invariant checks what must always hold, in builds for tests only
// (build tag "invariants"). In production builds the checks are compiled
// away:
//
//	if invariant.Enabled {
//		invariant.Check(cut >= last, "the cut went back from %s to %s", last, cut)
//	}
//
// The if is what makes the arguments free too; leave it out where they cost
// nothing.
//
// A check is for mistakes of our own code. What comes from outside (the
// source, the disk, the user) is answered by errors, in every build.
package invariant
