// Package foreign has tests in which this project and other programs read and
// write the same Delta tables in turn.
package foreign

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/lakeload/lakeload/integration/readers"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := readers.Close(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "close the readers:", err)
		code = 1
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
