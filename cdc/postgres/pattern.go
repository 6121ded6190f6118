package postgres

// Pattern selects tables by name, in the way of Config.Tables.
type Pattern struct{ p pattern }

// ParsePattern reads a pattern, "schema.table" with the wildcards * and ? and
// quoted parts. The error says what is wrong with it.
func ParsePattern(text string) (Pattern, error) {
	p, err := parsePattern(text)
	return Pattern{p}, err
}

// Matches reports whether the pattern selects the table.
func (p Pattern) Matches(schema, table string) bool { return p.p.matches(schema, table) }
