//go:build unix

package pgserver

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// account is a user that the server runs as, because we are root and PostgreSQL refuses to be. A nil account is ourselves.
type account struct {
	name     string
	uid, gid uint32
}

// unprivileged chooses the user to run as. LAKELOAD_PG_USER names one; else postgres, else nobody.
func unprivileged() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	names := []string{"postgres", "nobody"}
	if name := os.Getenv("LAKELOAD_PG_USER"); name != "" {
		names = []string{name}
	}
	var errs []error
	for _, name := range names {
		u, err := user.Lookup(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil || uid == 0 {
			errs = append(errs, fmt.Errorf("user %s: uid %s, gid %s", name, u.Uid, u.Gid))
			continue
		}
		return &account{name: name, uid: uint32(uid), gid: uint32(gid)}, nil
	}
	return nil, failed("find an unprivileged user for PostgreSQL among", strings.Join(names, ", "), errors.Join(errs...),
		"PostgreSQL does not run as root: run this as another user, or name one in LAKELOAD_PG_USER")
}

// run makes a command run as the account.
func (a *account) run(cmd *exec.Cmd) {
	if a == nil {
		return
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
}

// give makes the account the owner of a file or folder.
func (a *account) give(path string) error {
	if a == nil {
		return nil
	}
	return os.Chown(path, int(a.uid), int(a.gid))
}

// canEnter tells whether the account may go through every folder above path.
func (a *account) canEnter(path string) error {
	if a == nil {
		return nil
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return failed("look at the folder", dir, err, "name another folder")
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && !a.mayEnter(info.Mode(), st) {
			return failed("run PostgreSQL in", path, fmt.Errorf("user %s may not enter %s (%s)", a.name, dir, info.Mode()),
				"name a folder that others may enter, leave it to be made in the temporary folder, or run this as a user other than root")
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

func (a *account) mayEnter(mode fs.FileMode, st *syscall.Stat_t) bool {
	switch {
	case st.Uid == a.uid:
		return mode&0o100 != 0
	case st.Gid == a.gid:
		return mode&0o010 != 0
	default:
		return mode&0o001 != 0
	}
}

const (
	tempPrefix = "lakeload-pg-"
	lockName   = "owner.lock"
)

// holdDir marks a temporary folder as in use for as long as we live.
func holdDir(dir string) (io.Closer, error) {
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		err = os.Rename(path+".new", path) // it appears locked: a sweep never sees it otherwise
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// sweep removes temporary folders of processes that died without Stop. It never touches one whose owner lives, or whose server does.
func sweep() {
	locks, _ := filepath.Glob(filepath.Join(os.TempDir(), tempPrefix+"*", lockName))
	for _, path := range locks {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil && !serverAlive(filepath.Dir(path)) {
			_ = os.RemoveAll(filepath.Dir(path))
		}
		_ = f.Close()
	}
}

// serverAlive tells whether the lock file of the cluster in dir names a process that exists.
func serverAlive(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if err != nil {
		return false
	}
	line, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	return err == nil && pid > 1 && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}
