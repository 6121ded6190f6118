package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// execute runs one command line and gives its exit code. Everything that is
// to be said about a failure has been said when it returns.
func execute(ctx context.Context, c *console, args []string) exitCode {
	c.output, c.logFormat, c.signals = formatTable, formatAuto, ctx
	root := newRoot(c)
	root.SetArgs(args)
	root.SetOut(c.out)
	root.SetErr(c.err)
	ran, err := root.ExecuteContextC(ctx)
	name := strings.TrimPrefix(strings.TrimPrefix(ran.CommandPath(), root.Name()), " ")
	c.report(err, name)
	return exitCodeOf(err)
}

func newRoot(c *console) *cobra.Command {
	root := &cobra.Command{
		Use:   "lakeload",
		Short: "Keeps a PostgreSQL database in a lakehouse, exactly once",
		Long: `lakeload copies a PostgreSQL database into Delta Lake tables and keeps them
current by logical replication: one program, no other service, exactly once.

  lakeload demo                                       see it work on this machine
  lakeload check --source postgres://user@host/db     what would stand in the way
  lakeload run --source ... --lake ./lake --all       mirror it

` + exitCodeHelp(),
		SuggestionsMinimumDistance: 2,
		SilenceErrors:              true,
		SilenceUsage:               true,
		Args:                       noSuchCommand,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageErrorf(fmt.Sprintf("`%s --help` lists the flags", cmd.CommandPath()), "%w", err)
	})
	flags := root.PersistentFlags()
	flags.VarP(newChoice(&c.output, formatTable, formatJSON), "output", "o", "how results are written: table or json")
	flags.Var(newChoice(&c.logFormat, formatAuto, formatText, formatJSON), "log-format", "how events and errors are written: text, json, or auto: events as text on a terminal and as JSON elsewhere")
	flags.BoolVarP(&c.quiet, "quiet", "q", false, "tell nothing but results and errors")
	root.AddCommand(commands(c)...)
	return root
}

// noSuchCommand refuses a word that is no command, and names the nearest.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	remedy := "`lakeload --help` lists the commands"
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		remedy = fmt.Sprintf("did you mean `lakeload %s`? %s", near[0], remedy)
	}
	return usageErrorf(remedy, "there is no command %q", args[0])
}

// exactly makes a usage error of a wrong number of arguments.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		remedy := fmt.Sprintf("write `%s`; `%s --help` explains it", cmd.UseLine(), cmd.CommandPath())
		if len(names) == 0 {
			return usageErrorf(remedy, "unexpected argument %q: this command takes none", args[0])
		}
		return usageErrorf(remedy, "it takes %s, and %s given", strings.Join(names, " and "), map[bool]string{true: "nothing is", false: "more is"}[len(args) < len(names)])
	}
}

// choice is a flag that takes one of a few words.
type choice struct {
	to      *format
	allowed []format
}

func newChoice(to *format, allowed ...format) *choice { return &choice{to, allowed} }

// String is the present value.
func (v *choice) String() string {
	if v.to == nil {
		return ""
	}
	return string(*v.to)
}

// Type names the kind of value in the help text.
func (v *choice) Type() string {
	words := make([]string, len(v.allowed))
	for i, a := range v.allowed {
		words[i] = string(a)
	}
	return strings.Join(words, "|")
}

// Set takes a word of the list.
func (v *choice) Set(s string) error {
	for _, a := range v.allowed {
		if s == string(a) {
			*v.to = a
			return nil
		}
	}
	return errors.New("use one of " + strings.ReplaceAll(v.Type(), "|", ", "))
}
