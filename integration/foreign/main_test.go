// Package foreign has tests in which this project and other programs read and
// write the same Delta tables in turn.
package foreign

import (
	"os"
	"testing"

	"github.com/lakeload/lakeload/integration/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
