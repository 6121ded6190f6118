package lakehouse

import (
	"fmt"
	"os"
	"path/filepath"
)

// indexFolder is where the pipeline's key indexes lie, each in a folder that
// is named by table and generation.
func (e *Engine) indexFolder() string {
	return filepath.Join(e.opt.CacheDir, e.opt.Name, "keyindex")
}

func indexName(t *TableState) string { return fmt.Sprintf("%d-%d", t.OID, t.Generation) }

// removeOldIndexes removes the indexes of generations that are gone. One that
// cannot be removed only takes room.
func (e *Engine) removeOldIndexes() {
	if e.opt.CacheDir == "" {
		return
	}
	used := map[string]bool{}
	for i := range e.state.Tables {
		used[indexName(&e.state.Tables[i])] = true
	}
	entries, err := os.ReadDir(e.indexFolder())
	if err != nil {
		return // there is none yet
	}
	for _, entry := range entries {
		if used[entry.Name()] {
			continue
		}
		if err := os.RemoveAll(filepath.Join(e.indexFolder(), entry.Name())); err != nil {
			e.opt.Log.Warn("an old key index could not be removed", "error", err)
		}
	}
}
