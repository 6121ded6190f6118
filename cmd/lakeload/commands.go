package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// commands are all commands, in the order of their names.
func commands(c *console) []*cobra.Command {
	all := []*cobra.Command{
		newAdoptCommand(c),
		newCatCommand(c),
		newChangesCommand(c),
		newCheckCommand(c),
		newDemoCommand(c),
		newDescribeCommand(c),
		newDropCommand(c),
		newEpochsCommand(c),
		newFsckCommand(c),
		newHistoryCommand(c),
		newPauseCommand(c),
		newPlanCommand(c),
		newPublicationCommand(c),
		newRepairCommand(c),
		newRestoreCommand(c),
		newResumeCommand(c),
		newResyncCommand(c),
		newRunCommand(c),
		newSlotCommand(c),
		newStatusCommand(c),
		newTablesCommand(c),
		newVerifyCommand(c),
		newVersionCommand(c),
		newViewsCommand(c),
	}
	explain(all)
	return all
}

// explain lets the help of a command begin with what it does.
func explain(all []*cobra.Command) {
	for _, cmd := range all {
		if cmd.Long != "" {
			cmd.Long = cmd.Short + ".\n\n" + cmd.Long
		}
		explain(cmd.Commands())
	}
}

// family is a command that is nothing but those below it.
func family(use, short, long string, members ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long,
		Args: func(cmd *cobra.Command, args []string) error {
			var names []string
			for _, m := range members {
				names = append(names, m.Name())
			}
			remedy := "say which: " + cmd.CommandPath() + " " + strings.Join(names, "|")
			if len(args) > 0 {
				return usageErrorf(remedy, "%s knows no %q", cmd.CommandPath(), args[0])
			}
			return usageErrorf(remedy, "what to do with the %s is not said", use)
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(members...)
	return cmd
}
