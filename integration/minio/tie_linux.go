package minio

import (
	"os/exec"
	"syscall"
)

// tie makes the kernel end the process when we die.
func tie(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
