package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"strings"
	"time"
)

// passwordWait bounds the command that gives the password.
const passwordWait = 30 * time.Second

// password gives the password for a new connection; not ok leaves what the
// connection string, PGPASSWORD or ~/.pgpass say.
func (c *Config) password(ctx context.Context) (pw string, ok bool, err error) {
	switch {
	case c.Password != nil:
		pw, err = c.Password(ctx)
	case c.PasswordFile != "":
		var b []byte
		b, err = os.ReadFile(c.PasswordFile)
		pw = strings.TrimRight(string(b), "\r\n")
	case len(c.PasswordCommand) > 0:
		pw, err = runPasswordCommand(ctx, c.PasswordCommand)
	default:
		return "", false, nil
	}
	if err == nil && strings.ContainsRune(pw, 0) {
		err = errors.New("it has a zero byte in it")
	}
	return pw, err == nil, err
}

// runPasswordCommand runs a command, without a shell, and gives what it
// printed. Of what it printed nothing is ever told, of what it complained
// about the end.
func runPasswordCommand(ctx context.Context, argv []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, passwordWait)
	defer cancel()
	cmd := osexec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = time.Second // a child of it may hold its output open
	endWhole(cmd)
	var out bytes.Buffer
	var complaint lastOf
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("it did not end within %s: %w", passwordWait, ctx.Err())
	}
	pw := strings.TrimRight(out.String(), "\r\n")
	if err == nil && pw == "" {
		err = errors.New("it printed no password")
	}
	if text := strings.TrimSpace(string(complaint.end)); err != nil && text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return pw, err
}

// lastOf keeps the end of what is written to it.
type lastOf struct{ end []byte }

func (l *lastOf) Write(p []byte) (int, error) {
	const most = 1 << 10
	l.end = append(l.end, p...)
	if over := len(l.end) - most; over > 0 {
		l.end = append(l.end[:0], l.end[over:]...)
	}
	return len(p), nil
}

// passwordSource is where the password comes from, for messages.
func (c *Config) passwordSource() string {
	switch {
	case c.PasswordFile != "":
		return c.PasswordFile
	case len(c.PasswordCommand) > 0:
		return "command " + c.PasswordCommand[0] // its arguments may be secret
	}
	return ""
}
