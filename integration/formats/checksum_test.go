package formats_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// validate has Spark hold the newest version against its checksum file, and tells whether there was one and it was right; and damages the file
// for comparison.
const validate = `
import os, re
path, version = args
def sound():
    spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()
    snapshot = spark._jvm.org.apache.spark.sql.delta.DeltaLog.forTable(spark._jsparkSession, path).unsafeVolatileSnapshot()
    assert snapshot.version() == version, snapshot.version()
    read = snapshot.checksumOpt()
    try:
        return read.isDefined() and snapshot.validateChecksum(getattr(getattr(spark._jvm.scala.collection.immutable, "Map$"), "MODULE$").empty())
    except Exception as e:
        return "FAILED_INTEGRITY" in str(e) and "mismatch" or str(e)
name = os.path.join(path, "_delta_log", "%020d.crc" % version)
whole = open(name).read()
result = [[str(sound())]]
open(name, "w").write(re.sub('"numFiles":', '"numFiles":1', whole))
result.append([str(sound())])
open(name, "w").write(whole)
spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()  # Spark's next checksum is made from what it has read
`

// TestChecksumsForSpark has Spark take the checksum files that our commits write.
func TestChecksumsForSpark(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t")
	store, err := objstore.NewLocal(path)
	require.NoError(t, err)
	loc := tablefmt.Location{Data: store}
	schema := &tablefmt.Schema{Fields: []tablefmt.Field{{Name: "id", Type: tablefmt.Long, Nullable: true}}}
	m := &tablefmt.Metadata{Name: "n", Description: "d", Configuration: map[string]string{tablefmt.PropDeletionVectors: "true", tablefmt.PropInCommitTimestamps: "true", tablefmt.PropChecksums: "true"}}
	require.NoError(t, m.SetSchema(schema))
	tx := tablefmt.Begin(loc, nil)
	p, err := tablefmt.MirrorProtocol(tablefmt.ProtocolOptions{DomainMetadata: true}).With("inCommitTimestamp")
	require.NoError(t, err)
	tx.SetProtocol(p)
	tx.SetMetadata(m)
	tx.SetTxn("x", 5)
	tx.SetDomain("d", `{"a":1}`)
	s := commit(t, tx)
	s = write(t, s, `[{"id":1},{"id":2},{"id":3}]`)
	s = write(t, s, `[{"id":4},{"id":5}]`)
	s = deleteFirstRows(t, s)
	for range 2 {
		got, err := readers.Get(t, readers.Spark).Python(t.Context(), validate, []any{path, s.Version()})
		require.NoError(t, err)
		require.Equal(t, [][]string{{"True"}, {"mismatch"}}, got)
		sameAsSpark(t, path, s.Version())
		// Spark goes on from ours, and we from Spark's.
		exec(t, path, "INSERT INTO {t} VALUES (6)", "DELETE FROM {t} WHERE id = 5")
		s = write(t, load(t, path), `[{"id":7}]`)
	}
	report, err := tablefmt.Check(t.Context(), loc, tablefmt.CheckOptions{}, func(f tablefmt.Fault) error { return f.Err })
	require.NoError(t, err)
	require.Equal(t, report.Commits, report.Checksums)
}
