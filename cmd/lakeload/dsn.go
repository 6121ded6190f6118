package main

import (
	"net/url"
	"regexp"
	"strings"
)

// sourceEnv may hold the source's connection string, with a password.
const sourceEnv = "LAKELOAD_SOURCE"

const passwordRemedy = "leave the password out and give it in PGPASSWORD, in ~/.pgpass, in a file or by a command named by source.password_file or source.password_command of the configuration, " +
	"or give the whole connection string in " + sourceEnv + ": arguments can be read by every user of the machine"

// sourceDSN gives the connection string: of the flag, which may hold no
// password, else of the environment, else of the configuration.
func (c *console) sourceDSN(flag, configured string) (string, error) {
	switch {
	case flag != "" && hasPassword(flag):
		return "", usageErrorf(passwordRemedy, "the password in --source is refused")
	case flag != "":
		return flag, nil
	case c.env(sourceEnv) != "":
		return c.env(sourceEnv), nil
	}
	return configured, nil
}

func isURL(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}

// secretKeyword finds a password of the form keyword=value.
var secretKeyword = regexp.MustCompile(`(?i)(^|[\s?&;])(ssl)?password\s*=`)

// hasPassword reports whether a connection string holds a secret. Of a string
// that cannot be read it says so too where it looks as if it did.
func hasPassword(dsn string) bool {
	if secretKeyword.MatchString(dsn) {
		return true
	}
	if !isURL(dsn) {
		return false
	}
	u, err := url.Parse(dsn)
	if err != nil { // perhaps a password that is not escaped
		return strings.Contains(dsn, "@")
	}
	_, has := u.User.Password()
	for name := range u.Query() { // the name may be escaped
		has = has || strings.HasSuffix(strings.ToLower(name), "password")
	}
	return has
}
