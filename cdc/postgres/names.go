package postgres

import "strings"

// quoteIdent quotes a name for SQL and for the replication commands.
func quoteIdent(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// quoteTable quotes a qualified name.
func quoteTable(schema, name string) string { return quoteIdent(schema) + "." + quoteIdent(name) }

// quoteLiteral quotes a string for SQL, whatever standard_conforming_strings says.
func quoteLiteral(s string) string {
	q := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(q, `\`) {
		return " E" + strings.ReplaceAll(q, `\`, `\\`)
	}
	return q
}
