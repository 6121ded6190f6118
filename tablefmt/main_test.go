package tablefmt

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// idSchema is one column id.
var idSchema = &Schema{Fields: []Field{{Name: "id", Type: Long, Nullable: true}}}

// create makes a table with a schema and gives its first snapshot.
func create(t testing.TB, loc Location, s *Schema, partition ...string) *Snapshot {
	t.Helper()
	tx := Begin(loc, nil)
	tx.SetProtocol(MirrorProtocol(OptionsFor(s)))
	tx.SetMetadata(&Metadata{SchemaString: s.JSON(), PartitionColumns: partition, Configuration: map[string]string{PropDeletionVectors: "true"}})
	snap, err := tx.Commit(context.Background())
	require.NoError(t, err)
	require.Equal(t, int64(0), snap.Version())
	return snap
}

func memoryTable() Location { return Location{Data: objstore.NewMemory()} }

// fakeAdd is an add of a file that does not exist.
func fakeAdd(path string, rows int) AddFile {
	return AddFile{Path: path, Size: 100, DataChange: true, ModificationTime: 1, Stats: fmt.Sprintf(`{"numRecords":%d,"tightBounds":true}`, rows)}
}

// paths gives the paths of a snapshot's files, sorted.
func paths(s *Snapshot) []string {
	m := map[string]bool{}
	for a := range s.Files() {
		m[a.Path] = true
	}
	return sortedKeys(m)
}
