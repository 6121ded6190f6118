package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lakeload/lakeload/cmd/lakeload/demo"
	"github.com/lakeload/lakeload/internal/pgserver"
)

func newDemoCommand(c *console) *cobra.Command {
	var o demo.Options
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole thing on this machine, in about a minute",
		Long: `Starts a private PostgreSQL (one found on this machine, else a fetched one) with
a small shop in it, mirrors it to a local folder while it changes, kills the
engine in the middle of a large transaction, starts it again, and compares
source and lake row by row. Only the lake is left behind.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Executable, err = c.executable(); err != nil {
				return fmt.Errorf("finding our own program, to start the engine with: %w", err)
			}
			if o.Live <= 0 {
				return usageErrorf("give a length of time such as 8s", "--live %v is not positive", o.Live)
			}
			o.Out, o.Terminal = c.out, c.outIsTerm
			if c.output == formatJSON { // the result alone goes to standard output
				o.Out, o.Terminal = c.err, c.errIsTerm
			}
			if c.quiet {
				o.Out, o.Terminal = io.Discard, false
			}
			o.Color = c.env("NO_COLOR") == "" && c.env("TERM") != "dumb"
			result, err := demo.Run(cmd.Context(), o)
			if err != nil {
				return explainDemo(err)
			}
			return c.print(result, func(w io.Writer) error { return result.Summary(w, calledAs(o.Executable)) })
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Lake, "lake", "", "the folder of the lake, which must be empty (default ./lakeload-demo-TIME)")
	flags.DurationVar(&o.Live, "live", 8*time.Second, "how long the shop is watched before the crash")
	flags.IntVar(&o.Postgres, "postgres", 0, "the major version of PostgreSQL to run, 14 or newer; 0 is the newest one found here")
	return cmd
}

func explainDemo(err error) error {
	var server *pgserver.Error
	switch {
	case hintOf(err) != "":
		return err
	case errors.As(err, &server):
		return err // it says in itself what to do
	case errors.Is(err, demo.ErrDiffers):
		return failedf("this should never be: please report it, with the lake's folder, which was kept", "%w", err)
	}
	return failedf("try again; if it fails again, please report it with what is said above", "%w", err)
}

// calledAs is how a user calls this program: `go run` builds it somewhere else.
func calledAs(executable string) string {
	if strings.Contains(filepath.ToSlash(executable), "/go-build") {
		return "go run ./cmd/lakeload"
	}
	return "lakeload"
}
