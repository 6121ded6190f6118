//go:build unix

package postgres

import (
	osexec "os/exec"
	"syscall"
)

// endWhole makes the end of a command that takes too long the end of its
// children, too.
func endWhole(cmd *osexec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
