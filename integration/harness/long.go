package harness

import "os"

// Long reports whether tests run at their full sizes, which takes long. `make test-matrix` asks for it.
func Long() bool { return os.Getenv("LAKELOAD_LONG") != "" }
