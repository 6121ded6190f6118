//go:build !unix

package keyindex

import (
	"fmt"
	"os"
	"path/filepath"
)

// lockDir marks the folder as in use. It does not keep others away here.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the key index's folder: %w", err)
	}
	return f, nil
}
