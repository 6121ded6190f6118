package postgres

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// parseDSN keeps the text of the DSN, which may hold a password anywhere when
// it is malformed, out of the error.
func parseDSN(dsn string) (*pgconn.Config, error) {
	const op, what = "reading the source's connection string", "its text is not shown, as it may hold a password"
	base, err := pgconn.ParseConfig(dsn)
	if err == nil && strings.Contains(base.Host, "@") {
		err = errors.New("the host has an @ in it")
	} else if err != nil {
		err = errors.New(dsnFault(err))
	}
	if err != nil {
		return nil, refused(op, what, "write postgres://user@host:5432/database?sslmode=verify-full, special characters in user and password percent-encoded (@ is %40, / is %2F)", err)
	}
	return base, nil
}

// dsnFault gives the parts of a parser's message that cannot quote a password.
func dsnFault(err error) string {
	_, detail, ok := cutLast(err.Error(), "`: ")
	if ok {
		for _, safe := range []string{"failed to configure TLS", "failed to read service", "invalid sslcertmode", "unknown channel_binding"} {
			if strings.HasPrefix(detail, safe) {
				return detail
			}
		}
		for _, fixed := range []string{"failed to parse as URL", "failed to parse as keyword/value", "invalid port", "invalid connect_timeout", "unknown target_session_attrs", "could not match"} {
			if strings.HasPrefix(detail, fixed) {
				return fixed
			}
		}
	}
	return "it is not understood"
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// address is where a configuration leads to, for messages: all its hosts.
func address(c *pgconn.Config) string {
	return fmt.Sprintf("database %s on %s", c.Database, strings.Join(hosts(c), ", "))
}

// hosts are the places that a configuration names, each once, in their order.
func hosts(c *pgconn.Config) []string {
	list := []string{hostPort(c.Host, c.Port)}
	for _, f := range c.Fallbacks { // each host may be there twice: with TLS and without
		if at := hostPort(f.Host, f.Port); !slices.Contains(list, at) {
			list = append(list, at)
		}
	}
	return list
}

func hostPort(host string, port uint16) string {
	if network, path := pgconn.NetworkAddress(host, port); network == "unix" {
		return path
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}
