// Package arch holds no code of the program: its test reads the imports of
// every package of the module, and fails where an arrow between packages
// points in a direction that the design does not have, where a library is
// imported by another package than the one that keeps it away from the rest,
// and where something else than main ends the process.
package arch
