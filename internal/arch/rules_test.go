package arch

// arrow says what packages of the module a package may import. Patterns are
// paths in the module; "/..." at the end stands for the package and all below.
type arrow struct {
	from string
	to   []string
}

// arrows is the design's list. The rule of a package is the one with the
// longest matching from; a package without one is an error, so that a new one
// has to be thought about.
//
// Besides, every package may import what is in leaves, and packages below its
// own rule's from.
var arrows = []arrow{
	{"cdc", nil},
	{"cdc/cdctest/...", []string{"cdc"}},
	{"cdc/postgres/...", []string{"cdc"}},

	{"tablefmt", []string{"tablefmt/colfile", "tablefmt/dv", "tablefmt/objstore", "tablefmt/predicate", "tablefmt/sqlexpr", "tablefmt/variant"}},
	{"tablefmt/colfile/...", []string{"tablefmt/variant"}},
	{"tablefmt/variant", nil},
	{"tablefmt/dv/...", nil},
	{"tablefmt/predicate/...", nil},
	{"tablefmt/sqlexpr/...", nil},
	{"tablefmt/objstore", nil},
	{"tablefmt/objstore/...", []string{"tablefmt/objstore"}},

	{"compaction/...", []string{"tablefmt/..."}},

	{"lakehouse", []string{"cdc", "tablefmt/...", "compaction/...", "lakehouse/..."}},
	// Small packages under the engine never import the engine.
	{"lakehouse/...", []string{"cdc", "tablefmt/...", "compaction", "lakehouse/keyindex"}},
	{"lakehouse/keyindex/...", nil}, // knows hashes and locations only
	{"lakehouse/typemap/...", []string{"cdc", "tablefmt"}},

	{"cmd/...", []string{"cdc/...", "tablefmt/...", "compaction/...", "lakehouse/...", "cmd/...", "internal/pgserver"}},
	{"internal/...", nil},
	{"internal/pgserver/...", nil},

	{"integration/...", []string{"..."}},
	{"bench/...", []string{"..."}},
}

// leaves may be imported by every package.
var leaves = []string{"internal/crashpoint", "internal/invariant", "internal/osfault"}

// nobody is what nothing imports, except for itself.
var nobody = []string{"integration/...", "bench/..."}

// loners are libraries with one importer, so that they can be exchanged, and
// are guarded in one place. Tests, integration and bench may import them too:
// a test that reads with a library what we wrote does not ask our own reader.
var loners = map[string][]string{
	"github.com/jackc/pglogrepl": {"cdc/postgres/..."},
	"github.com/jackc/pgx": {
		"cdc/postgres/...",
		"cmd/lakeload/demo/...", // plays the application that writes to the source; nothing of it reaches the lake
	},
	"github.com/parquet-go/parquet-go": {"tablefmt/colfile/..."},
	"github.com/minio/minio-go":        {"tablefmt/objstore/s3/..."},
	"github.com/RoaringBitmap/roaring": {"tablefmt/dv/..."},
}

// exits are the files that may end the process.
var exits = []string{
	"cmd/lakeload/main.go",
	"internal/testcount/main.go", // a tool of the test run, not of the program
}
