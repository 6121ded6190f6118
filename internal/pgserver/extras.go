package pgserver

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
)

// standbys counts the standbys that this process has made, for their names.
var standbys atomic.Int64

const hbaFile = "lakeload_hba.conf"

// writeExtras puts Options.Files and Options.HBA into the data folder, and what has to be set for them into set.
func (s *Server) writeExtras(set map[string]string) error {
	for name, data := range s.opts.Files {
		if err := s.writeOwned(name, data); err != nil {
			return err
		}
	}
	if len(s.opts.HBA) == 0 {
		return nil
	}
	path := filepath.Join(s.data(), "pg_hba.conf")
	rest, err := os.ReadFile(path)
	if err != nil {
		return failed("read", path, err, "name another folder")
	}
	set["hba_file"] = filepath.Join(s.data(), hbaFile)
	return s.writeOwned(hbaFile, []byte(strings.Join(s.opts.HBA, "\n")+"\n"+string(rest)))
}

// Reload puts new files into the data folder, as Options.Files does, and has the server read its configuration again.
func (s *Server) Reload(ctx context.Context, files map[string][]byte) error {
	for name, data := range files {
		if err := s.writeOwned(name, data); err != nil {
			return err
		}
	}
	_, err := s.SQL(ctx, "SELECT pg_reload_conf()")
	return err
}
