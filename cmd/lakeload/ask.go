package main

import (
	"bufio"
	"fmt"
	"strings"
)

// ask asks a question that has to be answered with yes, unless yes was said
// beforehand. False means that nothing is to be done: the answer was no, or
// there is nobody to ask.
func (c *console) ask(question string, yes bool) (bool, error) {
	if yes {
		return true, nil
	}
	if c.in == nil || !c.inIsTerm {
		return false, nil
	}
	fmt.Fprintf(c.err, "%s (yes/no) ", question)
	line, err := bufio.NewReader(c.in).ReadString('\n')
	if err != nil && line == "" {
		return false, failedf("answer, or add -y", "reading the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}
