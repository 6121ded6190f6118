//go:build !unix

package postgres

import osexec "os/exec"

// endWhole does nothing: the command is ended, not its children.
func endWhole(*osexec.Cmd) {}
