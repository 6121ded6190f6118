package harness

import "os"

// Long reports whether tests run at their full sizes, which takes long (LAKELOAD_LONG=1).
func Long() bool { return os.Getenv("LAKELOAD_LONG") != "" }
