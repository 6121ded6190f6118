// Command lakeload copies a PostgreSQL database into a lakehouse and keeps it
// there, current to the second, exactly once; and reads what is in a lake.
//
// One command a file; flags become options of the packages below. Every
// command returns its error: exit.go turns it into the exit code, and main is
// the only caller of os.Exit.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// The first signal ends the work in order (run flushes what it holds);
	// from then on signals have their default effect again, so that the
	// second one ends the process at once. That is safe at any point.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	code := execute(ctx, systemConsole(), os.Args[1:])
	stop()
	os.Exit(int(code))
}
