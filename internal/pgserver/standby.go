package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Standby makes a streaming standby of a running server and starts it: a copy of its data, taken while it runs, which follows its log. A
// physical slot on the server keeps the log that it needs. Of opts, Version, Offline and Password mean nothing. The caller stops the standby
// before the server.
func (s *Server) Standby(ctx context.Context, opts Options) (*Server, error) {
	slot := "standby_" + strconv.Itoa(os.Getpid()) + "_" + strconv.Itoa(int(standbys.Add(1)))
	if _, err := s.SQL(ctx, fmt.Sprintf("SELECT pg_create_physical_replication_slot('%s', true)", slot)); err != nil {
		return nil, err
	}
	opts.Password = s.opts.Password
	set := map[string]string{
		"primary_conninfo": fmt.Sprintf("host=%s port=%d user=%s dbname=postgres application_name=%s", s.socketDir, s.Port(), Superuser, slot),
		// Answers at once: tests wait for the standby.
		"primary_slot_name": slot, "wal_receiver_status_interval": "1s", "wal_retrieve_retry_interval": "200ms",
	}
	maps.Copy(set, s.opts.Settings)
	maps.Copy(set, opts.Settings)
	opts.Settings = set
	return s.clone(ctx, opts, func(to *Server) error {
		if err := s.backup(ctx, to); err != nil {
			return err
		}
		return to.writeOwned("standby.signal", nil)
	})
}

// Clone starts another server on a copy of the data of one that is halted: what a restored file-system snapshot is, slots included.
func (s *Server) Clone(ctx context.Context, opts Options) (*Server, error) {
	if s.Running() {
		return nil, failed("copy the data of", s.data(), errors.New("the server runs"), "halt it first")
	}
	opts.Password = s.opts.Password
	set := maps.Clone(s.opts.Settings)
	if set == nil {
		set = map[string]string{}
	}
	maps.Copy(set, opts.Settings)
	opts.Settings = set
	return s.clone(ctx, opts, func(to *Server) error { return copyData(s.data(), to, nil) })
}

// clone makes a server of the same installation whose data fill gives.
func (s *Server) clone(ctx context.Context, opts Options, fill func(to *Server) error) (*Server, error) {
	to := &Server{install: s.install, opts: opts, port: opts.Port, logged: &tail{to: opts.Log}}
	if err := to.makeFolders(); err != nil {
		return nil, errors.Join(err, to.remove())
	}
	if err := fill(to); err != nil {
		return nil, errors.Join(err, to.remove())
	}
	if err := to.start(ctx); err != nil {
		return nil, errors.Join(err, to.remove())
	}
	return to, nil
}

// backup copies the data of the running server between the two calls that make such a copy whole.
func (s *Server) backup(ctx context.Context, to *Server) (err error) {
	begin, end := "SELECT pg_backup_start('standby', true)", "SELECT labelfile FROM pg_backup_stop(false)"
	if s.Version() < 15 {
		begin, end = "SELECT pg_start_backup('standby', true, false)", "SELECT labelfile FROM pg_stop_backup(false, false)"
	}
	w, err := s.dialWire(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if _, err := w.query(ctx, begin); err != nil {
		return err
	}
	if err := copyData(s.data(), to, ofTheRunning); err != nil {
		return err
	}
	rows, err := w.query(ctx, end)
	if err != nil {
		return err
	}
	return to.writeOwned("backup_label", []byte(rows[0][0]))
}

// ofTheRunning tells of what belongs to the running server, and is not copied.
func ofTheRunning(path string) bool {
	dir, name := filepath.Split(path)
	switch strings.TrimSuffix(dir, "/") {
	case "pg_wal", "pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans":
		return name != "archive_status" && name != "summaries"
	case "pg_wal/archive_status", "pg_wal/summaries":
		return true
	}
	return strings.HasPrefix(path, "pg_replslot/") || strings.HasPrefix(name, "pgsql_tmp") || name == "pg_internal.init"
}

// copyData copies a data folder. A file that goes away meanwhile is none of ours.
func copyData(from string, to *Server, skip func(path string) bool) error {
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		rel, relErr := filepath.Rel(from, path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil || relErr != nil:
			return errors.Join(err, relErr)
		case rel == ".":
			return nil
		case rel == "postmaster.pid" || rel == "postmaster.opts" || skip != nil && skip(rel):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return to.mkdirOwned(rel)
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return to.writeOwned(rel, data)
	})
	if err != nil {
		return failed("copy the data of", from, err, "free some space on the disk")
	}
	return nil
}

func (s *Server) mkdirOwned(name string) error {
	path := filepath.Join(s.data(), name)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return s.owner.give(path)
}

// writeOwned writes a file of the data folder that the server's user owns, and no other user may read.
func (s *Server) writeOwned(name string, data []byte) error {
	path := filepath.Join(s.data(), name)
	err := os.WriteFile(path, data, 0o600)
	if err == nil {
		err = errors.Join(os.Chmod(path, 0o600), s.owner.give(path))
	}
	if err != nil {
		return failed("write", path, err, "free some space on the disk, or name another folder")
	}
	return nil
}

// Promote makes a standby a primary, on a new timeline, and waits until it is one.
func (s *Server) Promote(ctx context.Context) error {
	rows, err := s.SQL(ctx, "SELECT pg_promote(true, 60)")
	if err == nil && rows[0][0] != "t" {
		err = failed("promote the standby in", s.dir, errors.New("it did not end its recovery in time"), "see its log")
	}
	return err
}

// Disconnect ends the standby's following: what the server writes from now on does not reach it.
func (s *Server) Disconnect(ctx context.Context) error {
	_, err := s.SQL(ctx, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
	return err
}
