package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/postgres"
	"github.com/lakeload/lakeload/lakehouse"
)

// preflightError says that a source is not ready.
type preflightError struct{ findings []cdc.Finding }

func (e *preflightError) Error() string {
	names := []string{}
	for _, f := range e.findings {
		if f.Severity == cdc.Blocker {
			names = append(names, f.Check)
		}
	}
	what := "things stand"
	if len(names) == 1 {
		what = "thing stands"
	}
	return fmt.Sprintf("the source is not ready to be mirrored: %d %s in the way (%s); nothing was changed", len(names), what, strings.Join(names, ", "))
}

// Hint lists what mends each finding.
func (e *preflightError) Hint() string {
	var b strings.Builder
	b.WriteString("mend what is listed, then try again; `lakeload check` shows it at any time")
	for _, f := range e.findings {
		if f.Severity == cdc.Blocker {
			b.WriteString("\n" + findingText(f))
		}
	}
	return b.String()
}

func (e *preflightError) exitCode() exitCode { return exitPreflight }

// findingText is a finding in lines: what it is about, then what mends it.
func findingText(f cdc.Finding) string {
	s := f.Check
	if f.Object != "" {
		s += " (" + f.Object + ")"
	}
	switch {
	case f.Have != "" && f.Need != "":
		s += fmt.Sprintf(": it is %s; needed: %s", f.Have, f.Need)
	case f.Have != "" || f.Need != "":
		s += ": " + f.Have + f.Need
	}
	if f.Remedy != "" {
		s += "\n  " + strings.ReplaceAll(f.Remedy, "\n", "\n  ")
	}
	return s
}

// blocked makes an error of findings among which there are blockers.
func blocked(findings []cdc.Finding) error {
	for _, f := range findings {
		if f.Severity == cdc.Blocker {
			return &preflightError{findings}
		}
	}
	return nil
}

// walSample is how long check and status look at how fast the server writes.
const walSample = 2 * time.Second

func newCheckCommand(c *console) *cobra.Command {
	flags := sourceFlags{c: c}
	var lake string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look at a database, changing nothing, for what would stand in the way",
		Long: `Looks at the settings, the tables and the rights that a mirror needs, and changes
nothing. Each finding names what there is, what is needed and what mends it.
Without --tables it looks at all tables. With --lake it also says whether that lake
can go on with this source.

The exit code is 3 where something stands in the way.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(flags.tables) == 0 && flags.config == "" {
				flags.all = true
			}
			s, err := flags.resolve()
			if err != nil {
				return err
			}
			s.postgres.WALSample = walSample
			source, err := s.open(cmd.Context(), slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			defer func() { _ = source.Close() }() // it was only read
			findings, err := source.Check(cmd.Context())
			if err != nil {
				return err
			}
			tables, err := source.Tables(cmd.Context())
			if err != nil {
				return err
			}
			masks, err := maskFindings(s.conf, tables)
			if err != nil {
				return err
			}
			findings = append(findings, masks...)
			if location := first(lake, s.conf.Lake.URL); location != "" && blocked(findings) == nil {
				more, err := checkLake(cmd.Context(), location, s, source)
				if err != nil {
					return err
				}
				findings = append(findings, more...)
			}
			return printFindings(c, findings)
		},
	}
	flags.register(cmd.Flags())
	cmd.Flags().StringVar(&lake, "lake", "", "a lake's folder, to say whether it can go on with this source")
	return cmd
}

// checkLake says whether a lake can go on with the source.
func checkLake(ctx context.Context, location string, s *selection, source *postgres.Source) ([]cdc.Finding, error) {
	store, err := openStore(location)
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }() // it was only read
	return lakehouse.Preflight(ctx, lakehouse.Options{Name: s.name, Source: source, Lake: store, Slot: s.postgres.Slot, Publication: s.postgres.Publication})
}

func printFindings(c *console, findings []cdc.Finding) error {
	verdict := blocked(findings)
	if findings == nil {
		findings = []cdc.Finding{}
	}
	err := c.print(map[string]any{"findings": findings, "ready": verdict == nil}, func(w io.Writer) error {
		for _, f := range findings {
			mark := map[cdc.Severity]string{cdc.OK: "ok     ", cdc.Warning: "WARNING", cdc.Blocker: "BLOCKER"}[f.Severity]
			text := strings.ReplaceAll(findingText(f), "\n", "\n         ")
			if _, err := fmt.Fprintf(w, "%s  %s\n", mark, text); err != nil {
				return err
			}
		}
		if verdict == nil {
			_, err := fmt.Fprintln(w, "\nready: `lakeload run` with the same flags and --lake mirrors it")
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	if verdict != nil { // its findings were told already
		return &failure{code: exitPreflight, err: verdict, remedy: "mend what is listed as BLOCKER above, then check again"}
	}
	return nil
}
