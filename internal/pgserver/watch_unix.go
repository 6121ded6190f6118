//go:build unix

package pgserver

import (
	"os/exec"
	"strconv"
	"syscall"
)

const watchScript = `read -r line || kill -QUIT "$1"`

func pidOf(cmd *exec.Cmd) string { return strconv.Itoa(cmd.Process.Pid) }

// watchByShell starts a shell that waits for a line from us. When none comes, because we have died, it ends the server.
func watchByShell(cmd *exec.Cmd) (release func(), err error) {
	sh := exec.Command("/bin/sh", "-c", watchScript, "sh", pidOf(cmd))
	sh.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := sh.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := sh.Start(); err != nil {
		return nil, err
	}
	return func() {
		_, _ = in.Write([]byte("done\n"))
		_ = in.Close()
		_ = sh.Wait()
	}, nil
}
