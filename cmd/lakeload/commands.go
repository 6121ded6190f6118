package main

import "github.com/spf13/cobra"

// commands are all commands, in the order of their names.
func commands(c *console) []*cobra.Command {
	all := []*cobra.Command{
		newCatCommand(c),
		newCheckCommand(c),
		newDemoCommand(c),
		newDescribeCommand(c),
		newEpochsCommand(c),
		newHistoryCommand(c),
		newResyncCommand(c),
		newRunCommand(c),
		newStatusCommand(c),
		newTablesCommand(c),
		newVersionCommand(c),
	}
	for _, cmd := range all { // the help of a command begins with what it does
		if cmd.Long != "" {
			cmd.Long = cmd.Short + ".\n\n" + cmd.Long
		}
	}
	return all
}
