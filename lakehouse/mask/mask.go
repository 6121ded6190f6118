// Package mask keeps what a source holds in some columns out of the lake. It
// stands at the boundary of a source: relations and batches come out of
// [Wrap] as if the source had never held anything but masked values, so that
// whatever is behind it (files, statistics, indexes, states, logs, errors)
// cannot show a clear one.
package mask

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Kind is what a mask makes of a value.
type Kind string

// The kinds.
const (
	// Hash is the HMAC-SHA256 of the value's text under a salt, its first 128
	// bits in hexadecimal. The same value has the same hash in every table with
	// that salt. NULL stays NULL.
	Hash Kind = "hash"
	// Drop: the column is not there.
	Drop Kind = "drop"
	// Null: the column is there, with its type, and always NULL.
	Null Kind = "null"
	// Truncate keeps the first characters of a text.
	Truncate Kind = "truncate"
	// Regex replaces whatever matches a pattern within a text. What does not
	// match stays as it is.
	Regex Kind = "regex"
)

// Mask is what is done with the values of a column.
type Mask struct {
	Kind Kind `json:"kind"`
	// Length is how many characters Truncate keeps, at least 1.
	Length int `json:"length,omitempty"`
	// Pattern (RE2) and Replacement are those of Regex. The replacement may
	// have $1 or ${name} in it for what a group has matched.
	Pattern     string `json:"pattern,omitempty"`
	Replacement string `json:"replacement,omitempty"`
}

// String is the mask as a configuration writes it.
func (m Mask) String() string {
	switch m.Kind {
	case Truncate:
		return fmt.Sprintf("truncate(%d)", m.Length)
	case Regex:
		return fmt.Sprintf("regex(%q, %q)", m.Pattern, m.Replacement)
	}
	return string(m.Kind)
}

// Parse reads the masks that are one word: hash, drop, null, truncate(4).
func Parse(word string) (Mask, error) {
	switch k := Kind(word); k {
	case Hash, Drop, Null:
		return Mask{Kind: k}, nil
	}
	if rest, ok := strings.CutPrefix(word, "truncate("); ok {
		if digits, ok := strings.CutSuffix(rest, ")"); ok {
			if n, err := strconv.Atoi(strings.TrimSpace(digits)); err == nil {
				m := Mask{Kind: Truncate, Length: n}
				return m, m.Validate()
			}
		}
	}
	return Mask{}, fmt.Errorf("%q is no mask: use hash, drop, null, truncate(N), or {regex: PATTERN, replace: TEXT}", word)
}

// Validate says what is wrong with a mask.
func (m Mask) Validate() error {
	switch m.Kind {
	case Hash, Drop, Null:
		return nil
	case Truncate:
		if m.Length < 1 {
			return fmt.Errorf("truncate(%d) keeps nothing: use null, or a length of at least 1", m.Length)
		}
		return nil
	case Regex:
		if m.Pattern == "" {
			return errors.New("the regex has no pattern")
		}
		if _, err := regexp.Compile(m.Pattern); err != nil {
			return fmt.Errorf("the regex cannot be read (its syntax is RE2's): %w", err)
		}
		return nil
	}
	return fmt.Errorf("%q is no mask: use hash, drop, null, truncate or regex", m.Kind)
}

// Column is a column that is masked.
type Column struct {
	// Name is what the rule calls it.
	Name string `json:"column"`
	Mask
	// ID is the column's, once it was seen (see [cdc.Column.ID]): the mask stays
	// with it whatever it is called later. 0: it was not, or has none.
	ID int32 `json:"id,omitempty"`
	// Found says that a column of the name was seen.
	Found bool `json:"found,omitempty"`
}

// Policy is how the columns of a table are masked. It is not altered.
type Policy struct {
	Columns []Column
	Salt    *Salt // nil where nothing is hashed
}

// Hashes reports whether any of the columns is hashed.
func Hashes(columns []Column) bool {
	for i := range columns {
		if columns[i].Kind == Hash {
			return true
		}
	}
	return false
}
