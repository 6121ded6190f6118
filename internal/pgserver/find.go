package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MinVersion is the oldest major version that is used: older ones cannot stream transactions in progress.
const MinVersion = 14

// Installation is a folder with the programs of one PostgreSQL.
type Installation struct {
	// Bin is the folder with initdb and postgres.
	Bin string
	// Version is the major version.
	Version int
	// Fetched is true where it came from Maven Central: then it has no psql and no pgbench.
	Fetched bool
}

// Find lists the servers of version MinVersion or newer that are on the machine, newest first, fetched ones last.
// It starts `postgres --version` of each and changes nothing.
func Find(ctx context.Context) []Installation {
	var found []Installation
	seen := map[string]bool{}
	for _, dir := range candidates(ctx) {
		real, err := filepath.EvalSymlinks(dir)
		if err != nil || seen[real] {
			continue
		}
		seen[real] = true
		if in, err := inspect(ctx, real); err == nil && in.Version >= MinVersion {
			found = append(found, in)
		}
	}
	slices.SortStableFunc(found, func(a, b Installation) int { return b.Version - a.Version })
	fetched, _ := filepath.Glob(filepath.Join(cacheDir(), "postgresql-*", "bin"))
	slices.Sort(fetched)
	slices.Reverse(fetched)
	for _, dir := range fetched {
		if in, err := inspect(ctx, dir); err == nil {
			in.Fetched = true
			found = append(found, in)
		}
	}
	return found
}

// candidates are the folders where a server may be, best first.
func candidates(ctx context.Context) []string {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		dirs = append(dirs, filepath.Dir(path))
	}
	if path, err := exec.LookPath("pg_config"); err == nil {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if out, err := exec.CommandContext(ctx, path, "--bindir").Output(); err == nil {
			dirs = append(dirs, strings.TrimSpace(string(out)))
		}
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",         // Debian, Ubuntu
		"/usr/pgsql-*/bin",                  // Red Hat, from PGDG
		"/usr/libexec/postgresql*",          // Alpine
		"/opt/homebrew/opt/postgresql*/bin", // Homebrew on ARM
		"/usr/local/opt/postgresql*/bin",    // Homebrew on Intel
		"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
		"/Library/PostgreSQL/*/bin", // EDB's installer
		"/usr/local/pgsql/bin",
	} {
		matches, _ := filepath.Glob(pattern)
		slices.Reverse(matches)
		dirs = append(dirs, matches...)
	}
	return dirs
}

var versionLine = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// inspect asks the server in a folder for its version. A folder without initdb (a bare postgres) is refused.
func inspect(ctx context.Context, bin string) (Installation, error) {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			return Installation{}, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "--version").Output()
	if err != nil {
		return Installation{}, err
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return Installation{}, fmt.Errorf("its version is not understood: %q", out)
	}
	major, err := strconv.Atoi(string(m[1]))
	return Installation{Bin: bin, Version: major}, err
}

// Locate gives a server of the wanted major version (0: the newest one of the machine), fetching one if there is none and fetch is true.
func Locate(ctx context.Context, version int, fetch bool) (Installation, error) {
	const op = "find PostgreSQL"
	if version != 0 && version < MinVersion {
		return Installation{}, failed(op, strconv.Itoa(version), errors.New("too old to stream transactions in progress"),
			fmt.Sprintf("ask for %d or newer", MinVersion))
	}
	found := Find(ctx)
	for _, in := range found {
		if version == 0 || in.Version == version {
			return in, nil
		}
	}
	if err := ctx.Err(); err != nil {
		return Installation{}, failed(op, strconv.Itoa(version), err, "try again")
	}
	name := "any version"
	if version != 0 {
		name = strconv.Itoa(version)
	}
	if !fetch {
		return Installation{}, failed(op, name, ErrNotFound, "install it (Debian: apt-get install postgresql, macOS: brew install postgresql@17), or allow it to be fetched")
	}
	if version == 0 {
		version = fetchDefault
	}
	return fetchVersion(ctx, version)
}

// cacheDir is where fetched servers are kept. It must be open to the user that the server runs as, which root's home is not.
func cacheDir() string {
	if dir := os.Getenv("LAKELOAD_PG_CACHE"); dir != "" {
		return dir
	}
	if os.Geteuid() == 0 {
		return "/var/cache/lakeload"
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = filepath.Join(os.TempDir(), "lakeload-cache-"+strconv.Itoa(os.Getuid()))
	}
	return filepath.Join(dir, "lakeload")
}

// platform is how the fetched binaries name this machine, or "" where there are none.
func platform() string {
	arch := map[string]string{"amd64": "amd64", "arm64": "arm64v8"}[runtime.GOARCH]
	if arch == "" || (runtime.GOOS != "linux" && runtime.GOOS != "darwin") {
		return ""
	}
	if _, err := os.Stat("/etc/alpine-release"); err == nil {
		arch += "-alpine"
	} else if !errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return runtime.GOOS + "-" + arch
}
