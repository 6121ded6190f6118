// Package pgserver runs a private PostgreSQL for the demo and the tests: one found on the machine, or one fetched from Maven Central.
//
// The server belongs to the process that started it. It listens on 127.0.0.1 and on a Unix socket in its own folder, runs under an
// unprivileged user when we are root (PostgreSQL refuses to run as root), and ends when the process ends, however that ends:
// on Linux the kernel tells it (Pdeathsig), elsewhere a watching shell does. What a killed process leaves in the temporary folder is
// removed by the next Start. It is made to be thrown away: fsync is off unless Options.Durable says otherwise.
package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Superuser is the name of the role that every server has.
const Superuser = "postgres"

// Options says which server to start. The zero value gives the newest server of the machine, in a temporary folder, open to local users.
type Options struct {
	// Version is the major version wanted, such as 15. 0 takes the newest one of the machine, and fetches one only if there is none.
	Version int
	// Offline forbids fetching: Start fails with ErrNotFound instead.
	Offline bool
	// Dir is the folder for the data and the socket. "" makes a temporary one, which Stop removes.
	// A folder that holds data already is started again, by a server of the version that made it. When root starts the server, other
	// users must be able to enter the folders above Dir.
	Dir string
	// Port is the TCP port on 127.0.0.1. 0 chooses a free one; it stays the same over Restart.
	Port int
	// Settings are added to postgresql.conf and override the defaults (wal_level=logical, 20 slots and senders, 100 connections).
	Settings map[string]string
	// HBA are lines that come before those of pg_hba.conf, so that they win, such as "hostssl all all 127.0.0.1/32 scram-sha-256".
	HBA []string
	// Files are put into the data folder whenever the server starts, by name: keys and certificates. Nobody but the server may read them.
	Files map[string][]byte
	// Password, if not "", is the superuser's: connections over TCP then need SCRAM authentication. "" trusts every local connection.
	Password string
	// Durable leaves fsync on, so that data in Dir survives a power cut.
	Durable bool
	// Log receives what the server logs. nil drops all but the last lines, which errors quote.
	Log io.Writer
}

// Server is a running (or stopped) private PostgreSQL. Its methods may be called from several goroutines.
type Server struct {
	install   Installation
	opts      Options
	dir       string // holds data/ and, if the path is short enough, s/
	socketDir string
	temporary []string // folders that Stop removes
	owner     *account // whom the server runs as; nil: ourselves
	lock      io.Closer
	logged    *tail

	mu   sync.Mutex // guards what follows
	port int
	proc *process // nil when stopped
	gone bool     // Stop has run
}

// Start makes a database cluster if there is none yet, starts a server on it and waits until it takes connections.
func Start(ctx context.Context, opts Options) (*Server, error) {
	if opts.Dir == "" {
		sweep()
	}
	if v, err := dataVersion(opts.Dir); err != nil {
		return nil, err
	} else if v != 0 {
		if opts.Version != 0 && opts.Version != v {
			return nil, failed("start PostgreSQL in", opts.Dir, fmt.Errorf("its data are of version %d, not %d", v, opts.Version), "ask for that version, or name another folder")
		}
		opts.Version = v
	}
	in, err := Locate(ctx, opts.Version, !opts.Offline)
	if err != nil {
		return nil, err
	}
	s := &Server{install: in, opts: opts, port: opts.Port, logged: &tail{to: opts.Log}}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.remove())
	}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.remove())
	}
	return s, nil
}

// dataVersion is the major version of the data in dir, 0 where there are none.
func dataVersion(dir string) (int, error) {
	if dir == "" {
		return 0, nil
	}
	path := filepath.Join(dir, "data", "PG_VERSION")
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err == nil {
		var v int
		if v, err = strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			return v, nil
		}
	}
	return 0, failed("read the version of the data in", path, err, "name an empty folder")
}

// prepare makes the folders and the cluster.
func (s *Server) prepare(ctx context.Context) error {
	if err := s.makeFolders(); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.data(), "PG_VERSION")); errors.Is(err, os.ErrNotExist) {
		return s.initdb(ctx)
	}
	return nil
}

func (s *Server) makeFolders() (err error) {
	if s.owner, err = unprivileged(); err != nil {
		return err
	}
	if s.dir = s.opts.Dir; s.dir == "" {
		if s.dir, err = s.mkTemp(tempPrefix); err != nil {
			return err
		}
		if s.lock, err = holdDir(s.dir); err != nil {
			return failed("lock the temporary folder", s.dir, err, "try again")
		}
	}
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return failed("find the folder", s.opts.Dir, err, "name it by its full path")
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return failed("make the folder", s.dir, err, "name a folder that can be written")
	}
	// A socket's path may have 103 bytes on some systems, with the file's name.
	if s.socketDir = filepath.Join(s.dir, "s"); len(s.socketDir)+len("/.s.PGSQL.65535.lock") > 103 {
		if s.socketDir, err = s.mkTemp(tempPrefix + "s-"); err != nil {
			return err
		}
	}
	for _, dir := range []string{s.data(), s.socketDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return failed("make the folder", dir, err, "name a folder that can be written")
		}
		mode := os.FileMode(0o700)
		if dir == s.socketDir {
			mode = 0o755
		}
		if err := os.Chmod(dir, mode); err != nil {
			return failed("set the mode of", dir, err, "name a folder of one's own")
		}
		if err := s.owner.give(dir); err != nil {
			return failed("give the folder to the user of the server:", dir, err, "name a folder on a local file system")
		}
		if err := s.owner.canEnter(dir); err != nil {
			return err
		}
	}
	return s.owner.canEnter(s.install.Bin)
}

func (s *Server) mkTemp(prefix string) (string, error) {
	dir, err := os.MkdirTemp("", prefix)
	if err == nil {
		s.temporary = append(s.temporary, dir)
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		return "", failed("make a temporary folder in", os.TempDir(), err, "set TMPDIR to a folder that can be written")
	}
	return dir, nil
}

func (s *Server) initdb(ctx context.Context) (err error) {
	args := []string{"-D", s.data(), "-U", Superuser, "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions", "--auth-local=trust"}
	if s.opts.Password == "" {
		args = append(args, "--auth-host=trust")
	} else {
		// In the data folder nobody but the server's user could read it, but initdb wants that folder empty.
		file := filepath.Join(s.socketDir, ".pw")
		if err := os.WriteFile(file, []byte(s.opts.Password+"\n"), 0o600); err != nil {
			return failed("write the password to", file, err, "name a folder that can be written")
		}
		defer func() { err = errors.Join(err, os.Remove(file)) }()
		if err := s.owner.give(file); err != nil {
			return failed("give the file to the user of the server:", file, err, "name a folder on a local file system")
		}
		args = append(args, "--auth-host=scram-sha-256", "--pwfile="+file)
	}
	cmd := exec.CommandContext(ctx, s.Bin("initdb"), args...)
	cmd.Dir = s.dir
	cmd.Env = serverEnv()
	s.owner.run(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		return failed("make a database cluster with initdb in", s.data(), fmt.Errorf("%w\n%s", err, out), "its message above says what it lacks; a full disk and a folder of another user are the usual causes")
	}
	conf := filepath.Join(s.data(), "postgresql.conf")
	f, err := os.OpenFile(conf, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return failed("add settings to", conf, err, "name another folder")
	}
	_, err = fmt.Fprintf(f, "\ninclude_if_exists = '%s'\n", settingsFile)
	if err = errors.Join(err, f.Close()); err != nil {
		return failed("add settings to", conf, err, "free some space on the disk")
	}
	return nil
}

const settingsFile = "lakeload.conf"

// writeSettings writes what the server starts with. ALTER SYSTEM overrides it, as it overrides postgresql.conf.
func (s *Server) writeSettings() error {
	set := map[string]string{
		"wal_level":             "logical",
		"max_wal_senders":       "20",
		"max_replication_slots": "20",
		"max_connections":       "100",
		"listen_addresses":      "127.0.0.1",
		"logging_collector":     "off",
		"log_destination":       "stderr",
		"password_encryption":   "scram-sha-256",
	}
	if !s.opts.Durable {
		set["fsync"] = "off"
		set["full_page_writes"] = "off"
	}
	if err := s.writeExtras(set); err != nil {
		return err
	}
	maps.Copy(set, s.opts.Settings)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(set)) {
		fmt.Fprintf(&b, "%s = '%s'\n", name, strings.NewReplacer("'", "''", `\`, `\\`, "\n", " ").Replace(set[name]))
	}
	return s.writeOwned(settingsFile, []byte(b.String()))
}

// start starts the server process on the prepared cluster. Called by Start and with s.mu held by Restart.
func (s *Server) start(ctx context.Context) error {
	if err := s.writeSettings(); err != nil {
		return err
	}
	const attempts = 5 // a free port may be taken between our look and the server's
	for i := 1; ; i++ {
		port, err := s.choosePort(ctx)
		if err != nil {
			return err
		}
		s.logged.reset()
		err = s.startOn(ctx, port)
		if err == nil {
			s.port = port
			return nil
		}
		if s.port != 0 || i == attempts || !strings.Contains(s.logged.String(), "Address already in use") {
			return err
		}
	}
}

func (s *Server) choosePort(ctx context.Context) (int, error) {
	if s.port != 0 {
		return s.port, nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, failed("find a free port on", "127.0.0.1", err, "see whether the loopback interface is up, or name a port")
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

func (s *Server) startOn(ctx context.Context, port int) error {
	const op = "start PostgreSQL in"
	cmd := exec.Command(s.Bin("postgres"), "-D", s.data(), "-p", strconv.Itoa(port), "-k", s.socketDir)
	cmd.Dir = s.dir
	cmd.Env = serverEnv()
	cmd.Stdout, cmd.Stderr = s.logged, s.logged
	cmd.WaitDelay = 5 * time.Second
	s.owner.run(cmd)
	proc, err := spawn(cmd)
	if err != nil {
		return failed(op, s.dir, err, "see whether "+s.Bin("postgres")+" can be run by the server's user")
	}
	if err := s.awaitReady(ctx, proc); err != nil {
		proc.end(context.WithoutCancel(ctx), immediate)
		return failed(op, s.dir, fmt.Errorf("%w\n%s", err, s.logged), "its log above says why")
	}
	s.proc = proc
	return nil
}

// awaitReady waits until the server's lock file says that it takes connections, as pg_ctl does.
func (s *Server) awaitReady(ctx context.Context, proc *process) error {
	pidFile := filepath.Join(s.data(), "postmaster.pid")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-proc.done:
			return fmt.Errorf("it ended at once: %w", proc.err)
		case <-ctx.Done():
			return fmt.Errorf("it did not come up in time: %w", ctx.Err())
		case <-tick.C:
		}
		b, err := os.ReadFile(pidFile)
		if err != nil {
			continue
		}
		lines := strings.Split(string(b), "\n")
		if len(lines) < 8 || strings.TrimSpace(lines[0]) != strconv.Itoa(proc.pid) {
			continue
		}
		if state := strings.TrimSpace(lines[7]); state == "ready" || state == "standby" {
			return nil
		}
	}
}

// Restart stops the server if it runs (fast: sessions are ended, transactions rolled back) and starts it again on the same port.
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return failed("restart PostgreSQL in", s.dir, errors.New("it was stopped and its folder let go"), "start a new one")
	}
	if s.proc != nil {
		s.proc.end(ctx, fast)
		s.proc = nil
	}
	return s.start(ctx)
}

// Halt ends the server (fast) and keeps its folder, so that Restart and Clone find its data. It says how it went if ctx ends first: then the
// server was ended at once.
func (s *Server) Halt(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil {
		s.proc.end(ctx, fast)
		s.proc = nil
	}
	return ctx.Err()
}

// Stop ends the server (fast) and removes its temporary folder. If ctx ends first the server is ended at once, as by Kill.
// A second Stop does nothing.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return nil
	}
	if s.proc != nil {
		s.proc.end(ctx, fast)
		s.proc = nil
	}
	s.gone = true
	return s.remove()
}

// Kill ends the server at once, as a crash would: the next Restart recovers from the write-ahead log. The folder stays until Stop.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil {
		s.proc.end(context.Background(), immediate)
		s.proc = nil
	}
}

// Running tells whether the server process is alive.
func (s *Server) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return false
	}
	select {
	case <-s.proc.done:
		return false
	default:
		return true
	}
}

// remove takes away what the server leaves behind.
func (s *Server) remove() error {
	var errs []error
	for _, dir := range s.temporary {
		if err := os.RemoveAll(dir); err != nil {
			errs = append(errs, failed("remove the temporary folder", dir, err, "remove it by hand"))
		}
	}
	s.temporary = nil
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
		s.lock = nil
	}
	return errors.Join(errs...)
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// Port is the TCP port on 127.0.0.1.
func (s *Server) Port() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.port
}

// Version is the major version of the server.
func (s *Server) Version() int { return s.install.Version }

// Installation says which programs the server runs from.
func (s *Server) Installation() Installation { return s.install }

// DataDir is the folder of the database cluster.
func (s *Server) DataDir() string { return s.data() }

// SocketDir is the folder of the Unix socket.
func (s *Server) SocketDir() string { return s.socketDir }

// Pid is the process id of the server, 0 when it is stopped.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return 0
	}
	return s.proc.pid
}

// DSN is the superuser's connection string for the database postgres, over TCP.
func (s *Server) DSN() string { return s.DSNFor("postgres", Superuser) }

// DSNFor is a connection string for a database and a user, over TCP. It holds Options.Password if the user is the superuser.
func (s *Server) DSNFor(db, user string) string {
	who := url.User(user)
	if user == Superuser && s.opts.Password != "" {
		who = url.UserPassword(user, s.opts.Password)
	}
	u := url.URL{Scheme: "postgres", User: who, Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port())), Path: "/" + db, RawQuery: "sslmode=disable"}
	return u.String()
}

// SocketDSN is the superuser's connection string for a database over the Unix socket, which always trusts.
func (s *Server) SocketDSN(db string) string {
	q := url.Values{"host": {s.socketDir}, "port": {strconv.Itoa(s.Port())}, "user": {Superuser}}
	return (&url.URL{Scheme: "postgres", Path: "/" + db, RawQuery: q.Encode()}).String()
}

// Bin is the path of one of the server's own programs, else of the PATH's, else "". A fetched server has no psql and no pgbench;
// those of another installation serve it as well.
func (s *Server) Bin(name string) string {
	own := filepath.Join(s.install.Bin, name)
	if _, err := os.Stat(own); err == nil {
		return own
	}
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/", "/opt/homebrew/opt/*/bin/", "/usr/local/opt/*/bin/"} {
		if found, _ := filepath.Glob(pattern + name); len(found) > 0 {
			return found[len(found)-1]
		}
	}
	return ""
}

// serverEnv is our environment without what would make the server or initdb behave otherwise.
func serverEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "PG") || strings.HasPrefix(kv, "LC_") || strings.HasPrefix(kv, "LANG") || strings.HasPrefix(kv, "HOME=")
	})
}

// tail passes on what is written to it and keeps the last of it.
type tail struct {
	mu   sync.Mutex
	to   io.Writer
	last []byte
}

const tailBytes = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.to != nil {
		_, _ = t.to.Write(p) // a log that fails must not take the server with it
	}
	t.last = append(t.last, p...)
	if n := len(t.last) - tailBytes; n > 0 {
		t.last = append(t.last[:0], t.last[n:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.last)
}

func (t *tail) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = t.last[:0]
}
