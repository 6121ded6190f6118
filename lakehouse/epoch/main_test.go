package epoch

import (
	"context"
	"os"
	"runtime/debug"
	"testing"

	"go.uber.org/goleak"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

func TestMain(m *testing.M) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // little lives long
	}
	warmUp()
	goleak.VerifyTestMain(m)
}

// warmUp lets the compressor make its channels outside of every synctest
// bubble: one made inside could not be used by the next bubble.
func warmUp() {
	ctx, lake := context.Background(), objstore.NewMemory()
	log, err := Open(ctx, lake, "warm", "up")
	if err == nil {
		_, err = log.Record(ctx, Epoch{LSN: 1})
	}
	if err == nil {
		_, err = Open(ctx, lake, "warm", "")
	}
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1) //nolint:forbidigo // TestMain
	}
}

// allOf gives all epochs, in order.
func allOf(ctx context.Context, l *Log) ([]Epoch, error) {
	var out []Epoch
	for e, err := range l.From(ctx, 0) {
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}
