// Package testbed knows the real parts that install.sh puts on a machine: where they are, and whether they are the wanted ones.
package testbed

import (
	"crypto/sha256"
	_ "embed" // for the files below
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// ReadersScript is the Python program that answers for the readers.
//
//go:embed readers.py
var ReadersScript string

//go:embed requirements.txt
var requirements []byte

//go:embed spark/pom.xml
var pom []byte

// Install is the command that installs everything, for messages.
const Install = "integration/testbed/install.sh"

// ErrMissing is the cause where a real part is not on the machine.
var ErrMissing = errors.New("not installed")

// Tools is the folder that install.sh fills.
func Tools() string {
	if dir := os.Getenv("LAKELOAD_TOOLS"); dir != "" {
		return dir
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "lakeload")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(os.TempDir(), "lakeload")
	}
	return filepath.Join(home, ".cache", "lakeload")
}

// Python is the interpreter that has the readers.
func Python() string { return filepath.Join(Tools(), "venv", "bin", "python") }

// Venv tells whether the Python readers are there, in the versions of requirements.txt.
func Venv() error { return stamped("venv", "the Python readers", requirements) }

// Spark tells whether Spark can be started: the readers, the jars of Delta, and Java.
func Spark() error {
	if err := errors.Join(Venv(), stamped("jars", "the jars of Delta for Spark", pom)); err != nil {
		return err
	}
	if _, err := exec.LookPath("java"); err != nil {
		return fmt.Errorf("java is %w (run %s): %w", ErrMissing, Install, err)
	}
	return nil
}

// MinIOBinary is the program that install.sh builds.
func MinIOBinary() string { return filepath.Join(Tools(), "bin", "minio") }

// MinIO tells whether it is there.
func MinIO() error {
	if _, err := os.Stat(MinIOBinary()); err != nil {
		return fmt.Errorf("MinIO is %w in %s (run %s)", ErrMissing, Tools(), Install)
	}
	return nil
}

//go:embed pgupgrade.txt
var pgUpgrade []byte

// PGUpgrade gives the folders of the programs of the PostgreSQLs from and to which pg_upgrade is tried. errors.ErrUnsupported where there
// are none for this machine.
func PGUpgrade() (from, to string, err error) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", "", fmt.Errorf("pg_upgrade on %s/%s: %w", runtime.GOOS, runtime.GOARCH, errors.ErrUnsupported)
	}
	dir := os.Getenv("LAKELOAD_PG_CACHE")
	switch {
	case dir != "":
	case os.Geteuid() == 0:
		dir = "/var/cache/lakeload"
	default:
		if dir, err = os.UserCacheDir(); err != nil {
			return "", "", fmt.Errorf("finding the cache: %w", err)
		}
		dir = filepath.Join(dir, "lakeload")
	}
	dir = filepath.Join(dir, "pgupgrade")
	return filepath.Join(dir, "17", "bin"), filepath.Join(dir, "18", "bin"), stamped("pgupgrade", "PostgreSQL 17 and 18 with pg_upgrade", pgUpgrade)
}

// stamped holds the stamp of a part against the hash of what it is made from.
func stamped(part, what string, inputs []byte) error {
	path := filepath.Join(Tools(), "stamps", part)
	stamp, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%s are %w in %s (run %s)", what, ErrMissing, Tools(), Install)
	}
	sum := sha256.Sum256(inputs)
	if have, _, _ := strings.Cut(strings.TrimSpace(string(stamp)), " "); have != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("%s in %s are of other versions than wanted: %w (run %s)", what, Tools(), ErrMissing, Install)
	}
	return nil
}
