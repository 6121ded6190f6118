//go:build !unix

package pgserver

import (
	"errors"
	"io"
	"os"
	"os/exec"
)

const tempPrefix = "lakeload-pg-"

type account struct{}

func unprivileged() (*account, error) {
	return nil, failed("start a private PostgreSQL on", "this system", errors.ErrUnsupported, "run PostgreSQL yourself (a container will do) and give its connection string")
}

func (*account) run(*exec.Cmd)         {}
func (*account) give(string) error     { return nil }
func (*account) canEnter(string) error { return nil }

func holdDir(string) (io.Closer, error) { return nil, errors.ErrUnsupported }
func sweep()                            {}
func signal(*os.Process, ending)        {}
func tieToUs(*exec.Cmd)                 {}

func watch(*exec.Cmd) (release func(), err error) { return func() {}, nil }
