// Package admin lets one lakeload talk to another that runs an engine on the
// same machine: HTTP over a Unix socket beside the engine's cache. Whoever may
// open the socket's folder may talk.
package admin

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"

	"github.com/lakeload/lakeload/cdc"
)

// pathMax is the length of a path that every system allows for a socket.
const pathMax = 100

// SocketPath is where the engine that keeps its cache in a folder listens: in
// that folder, or, where its path is too long for a socket, in a folder of this
// user's among the temporary files.
func SocketPath(cache string) string {
	if abs, err := filepath.Abs(cache); err == nil {
		cache = abs
	}
	path := filepath.Join(cache, "admin.sock")
	if len(path) <= pathMax {
		return path
	}
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(os.TempDir(), "lakeload-"+strconv.Itoa(os.Getuid()), hex.EncodeToString(sum[:8])+".sock")
}

// failure is the body of an answer that is no success.
type failure struct {
	Error  string `json:"error"`
	Remedy string `json:"remedy,omitempty"`
}

// held is the answer to the question for a cut: the stream rests.
type held struct {
	ID string `json:"id"`
}

// point says where a cut is to be.
type point struct {
	LSN cdc.LSN `json:"lsn"`
}
