package main

import (
	"errors"

	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt"
)

// exitCodeOfPackages gives the exit codes of the errors of our packages.
func exitCodeOfPackages(err error) exitCode {
	switch lakehouse.KindOf(err) {
	case lakehouse.KindPreflight:
		return exitPreflight
	case lakehouse.KindConflict:
		return exitConflict
	case lakehouse.KindDamaged:
		return exitDamaged
	}
	switch {
	case errors.Is(err, tablefmt.ErrConflict):
		return exitConflict
	case errors.Is(err, tablefmt.ErrCorrupt):
		return exitDamaged
	}
	return exitFailed
}
