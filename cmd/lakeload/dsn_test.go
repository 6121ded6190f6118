package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHasPassword(t *testing.T) {
	for dsn, want := range map[string]bool{
		"postgres://user@host/db":                             false,
		"postgresql://host/db?sslmode=verify-full":            false,
		"postgres://user@host/password":                       false,
		"host=db user=loader dbname=shop":                     false,
		"host=db passfile=/home/me/.pgpass":                   false,
		"postgres://user:secret@host/db":                      true,
		"postgres://user:@host/db":                            true,
		"postgresql://host/db?password=x":                     true,
		"postgresql://host/db?user=a&password=x":              true,
		"postgresql://host/db?%70assword=x":                   true,
		"postgresql://host/db?sslcert=a&sslpassword=x":        true,
		"host=db password=x":                                  true,
		"password = 'x y' host=db":                            true,
		"HOST=db PASSWORD=x":                                  true,
		"postgres://user:se%zzcret@host/db":                   true,
		"postgres://user:" + strings.Repeat("p", 9) + "@h:1/": true,
	} {
		require.Equal(t, want, hasPassword(dsn), dsn)
	}
}

func TestSourceDSNPrefersTheFlagThenTheEnvironment(t *testing.T) {
	c := &console{getenv: func(name string) (string, bool) { return "postgres://a:secret@env/db", name == sourceEnv }}
	none := &console{getenv: func(string) (string, bool) { return "", false }}
	for _, step := range []struct {
		c                      *console
		flag, configured, want string
	}{
		{c, "postgres://flag/db", "postgres://conf/db", "postgres://flag/db"},
		{c, "", "postgres://conf/db", "postgres://a:secret@env/db"},
		{none, "", "postgres://a:secret@conf/db", "postgres://a:secret@conf/db"},
		{none, "", "", ""},
	} {
		got, err := step.c.sourceDSN(step.flag, step.configured)
		require.NoError(t, err)
		require.Equal(t, step.want, got)
	}
}
