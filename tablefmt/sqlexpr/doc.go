// Package sqlexpr evaluates the expressions that a Delta table's rules are
// written in (CHECK constraints, column invariants, generated columns, column
// defaults): boolean and scalar expressions of Spark's SQL over one row.
//
// A rule of a table is Spark's to define, so an expression is either evaluated
// exactly as Spark does, or refused with an [UnsupportedError] that says which
// part of it is not. What depends on a session (its time zone, its ANSI mode,
// its collation) or on the moment is refused; so is, row by row, a value for
// which Spark's modes differ, as a sum that overflows.
//
// The language: literals, columns and fields of structs, comparisons, AND, OR,
// NOT, IN, BETWEEN, LIKE, IS [NOT] NULL/TRUE/FALSE, <=>, arithmetic, CASE, IF,
// CAST between types where no rounding and no time zone comes in, and a few
// functions of texts and dates. Nulls have SQL's three-valued logic.
//
// The package is pure and knows of Arrow alone. Expressions come from foreign
// tables: they may be anything, and cost no more than their length.
package sqlexpr
