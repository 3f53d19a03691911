package sql

import "fmt"

// SyntaxError reports text that is not valid, or not unambiguous, Snowflake
// SQL. It is never permission.
type SyntaxError struct {
	Pos int    // byte offset in the text given to Analyze
	Msg string // lower case, no statement text
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("syntax error at byte %d: %s", e.Pos, e.Msg) }

// UnsupportedError reports text that may be valid but that this package does
// not understand, or that exceeds its limits. It is never permission.
type UnsupportedError struct {
	Pos int
	Msg string
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("not understood at byte %d: %s", e.Pos, e.Msg)
}
