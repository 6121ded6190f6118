package main

import "github.com/spf13/cobra"

// commands are all commands, in the order of the help text.
func commands(c *console) []*cobra.Command {
	return []*cobra.Command{
		newVersionCommand(c),
	}
}
