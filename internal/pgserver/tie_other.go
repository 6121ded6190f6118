//go:build unix && !linux

package pgserver

import (
	"os/exec"
	"syscall"
)

func tieToUs(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
}

// watch ends the server (as by Kill) when we die, by a shell that reads from us.
func watch(cmd *exec.Cmd) (release func(), err error) { return watchByShell(cmd) }
