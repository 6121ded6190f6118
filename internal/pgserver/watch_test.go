//go:build unix

package pgserver

import (
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// The watching shell is what ends the server on systems without Pdeathsig; it is the same shell everywhere, so it is tried everywhere.
func TestWatchByShell(t *testing.T) {
	victim := func() *exec.Cmd {
		cmd := exec.Command("sleep", "60")
		require.NoError(t, cmd.Start())
		return cmd
	}
	spared := victim()
	release, err := watchByShell(spared)
	require.NoError(t, err)
	release()
	require.NoError(t, spared.Process.Signal(syscall.Signal(0)))
	require.NoError(t, spared.Process.Kill())
	_ = spared.Wait()

	// What our death looks like to the shell: end of input, and no line before it.
	ended := victim()
	sh := exec.Command("/bin/sh", "-c", watchScript, "sh", pidOf(ended))
	require.NoError(t, sh.Run())
	err = ended.Wait()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, syscall.SIGQUIT, exit.Sys().(syscall.WaitStatus).Signal())
}
