package postgres

import (
	"context"
	"errors"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, schema, table string
		want                   bool
	}{
		{"public.*", "public", "orders", true},
		{"public.*", "public2", "orders", false},
		{"*.orders", "a.b", "orders", true},
		{"public.o*r?", "public", "order", false},
		{"public.o*r?", "public", "orders", true},
		{"public.*a*b*c", "public", "xxaxbxxbxc", true},
		{"public.*a*b*c", "public", "xxaxbxxbx", false},
		{"public.Orders", "public", "orders", false},
		{`"a.b".c`, "a.b", "c", true},
		{`"a.b".c`, "a", "b.c", false},
		{`public."st*r"`, "public", "st*r", true},
		{`public."st*r"`, "public", "star", false},
		{`public."say ""hi"""`, "public", `say "hi"`, true},
		{"öffentlich.t?belle", "öffentlich", "täbelle", true},
	} {
		p, err := parsePattern(c.pattern)
		require.NoError(t, err, c.pattern)
		require.Equal(t, c.want, p.matches(c.schema, c.table), "%s on %s.%s", c.pattern, c.schema, c.table)
	}
	for _, bad := range []string{"", "orders", "a.b.c", ".x", "x.", `"a.b`, `""."".`} {
		_, err := parsePattern(bad)
		require.Error(t, err, bad)
	}
}

func TestConfigListsAllFaults(t *testing.T) {
	_, err := Open(context.Background(), Config{
		DSN: "postgres://localhost", Slot: "Not-A-Slot", Tables: []string{"orders"}, Connections: -1,
		Password: func(context.Context) (string, error) { return "", nil }, PasswordFile: "x",
	})
	for _, part := range []string{"Not-A-Slot", "publication", `"orders"`, "negative", "password"} {
		require.ErrorContains(t, err, part)
	}
	_, err = Open(context.Background(), Config{DSN: "postgres://localhost", Slot: "s", Publication: "p"})
	require.ErrorContains(t, err, "no table is selected")
}

// No text of an error may hold a password, wherever the malformed string has it.
func TestDSNErrorsHideThePassword(t *testing.T) {
	const secret = "hunter2secret"
	for _, dsn := range []string{
		"postgres://u:" + secret + "/x@host/db",
		"postgres://u:a@" + secret + "@host/db",
		"postgres://u:" + secret + "@host:port/db",
		"postgres://u:" + secret + "%zz@host/db",
		"postgres://u@h/db?sslmode=nonsense&password=" + secret,
		"postgres://u:x?" + secret + "@host/db",
		"postgres://u:x#" + secret + "@host:1/db",
		"host=h password=" + secret + " sslmode=nonsense",
		"host=h password='" + secret,
		"host=h port=" + secret,
		"host=h connect_timeout=" + secret,
		"host=h target_session_attrs=" + secret,
		secret,
	} {
		c := Config{DSN: dsn, Slot: "s", Publication: "p", All: true}
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // what parses must not go on to connect
		_, err := Open(ctx, c)
		require.Error(t, err)
		for e := err; e != nil; e = errors.Unwrap(e) {
			require.NotContains(t, e.Error(), secret, dsn)
		}
	}
	_, err := parseDSN("postgres://u:" + url.QueryEscape("p@/#") + "@host/db")
	require.NoError(t, err)
}

func TestServerVersionNum(t *testing.T) {
	for s, want := range map[string]int{"15.14 (Debian 15.14-1)": 150014, "18beta1": 180000, "14.0": 140000, "17.5": 170005, "": 0} {
		require.Equal(t, want, serverVersionNum(s), s)
	}
}
