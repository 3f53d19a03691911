package sandbox

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// sqlError is a failure as Snowflake reports it: code, SQLSTATE and message.
type sqlError struct {
	code, state, message string
	line, pos            int // -1 or 0 when unknown
}

func (e *sqlError) Error() string { return e.code + " (" + e.state + "): " + e.message }

func errAbsent(name string) error {
	return &sqlError{code: "002003", state: "42S02", line: -1, pos: -1,
		message: fmt.Sprintf("SQL compilation error:\nObject '%s' does not exist or not authorized.", name)}
}

func errAbsentKind(kind, name string) error {
	return &sqlError{code: "002003", state: "02000", line: -1, pos: -1,
		message: fmt.Sprintf("SQL compilation error:\n%s '%s' does not exist or not authorized.", kind, name)}
}

func errExists(name string) error {
	return &sqlError{code: "002002", state: "42710", line: -1, pos: -1,
		message: fmt.Sprintf("SQL compilation error:\nObject '%s' already exists.", name)}
}

func errNoDatabase(verb string) error {
	return &sqlError{code: "090105", state: "22000", line: -1, pos: -1,
		message: fmt.Sprintf("Cannot perform %s. This session does not have a current database. Call 'USE DATABASE', or use a qualified name.", verb)}
}

func errUnsupported(what string) error {
	return &sqlError{code: "000002", state: "0A000", line: -1, pos: -1,
		message: fmt.Sprintf("Unsupported feature '%s' (this is the sandbox).", what)}
}

func errValue(code, kind, value string) error {
	return &sqlError{code: code, state: "22018", line: -1, pos: -1,
		message: fmt.Sprintf("%s '%s' is not recognized", kind, value)}
}

func errCanceled() error {
	return &sqlError{code: "000604", state: "57014", line: -1, pos: -1, message: "SQL execution canceled"}
}

// A function called by SQLite can give back only text: it carries the parts of
// a sqlError between marks.
const mark = "\x01"

func packError(err error) error {
	var e *sqlError
	if !errors.As(err, &e) {
		return err
	}
	return errors.New(mark + e.code + mark + e.state + mark + e.message + mark)
}

func unpackError(text string) (*sqlError, bool) {
	parts := strings.Split(text, mark)
	if len(parts) != 5 {
		return nil, false
	}
	return &sqlError{code: parts[1], state: parts[2], message: parts[3], line: -1, pos: -1}, true
}

// The engine's messages that have a counterpart of Snowflake's. SQLite gives a
// result code of 1 for all of them, so the text is all there is to go by.
const (
	reNoColumn   = `no such column: (?:.*\.)?(.+?)(?: \(\d+\)| - should.*)?$`
	reNoInsert   = `table .* has no column named ([^ ()]+)`
	reNoTable    = `no such table: (.+?)(?: \(\d+\))?$`
	reNoFunction = `no such function: ([^ ()]+)`
	reArgs       = `wrong number of arguments to function ([^ ()]+)`
	reNear       = `near "(.*?)": syntax error`
	reAmbiguous  = `ambiguous column name: ([^ ()]+)`
	reNotNull    = `NOT NULL constraint failed: (?:.*\.)?([^ .()]+)`
)

// fromEngine turns an error of SQLite into Snowflake's.
func fromEngine(text string, err error) error {
	var already *sqlError
	if errors.As(err, &already) {
		return already
	}
	msg := err.Error()
	if e, ok := unpackError(msg); ok {
		return e
	}
	find := func(re string) string {
		if m := regexp.MustCompile(re).FindStringSubmatch(msg); m != nil {
			return strings.ReplaceAll(m[1], sep, ".")
		}
		return ""
	}
	compile := func(code, state, format string, args ...any) error {
		return &sqlError{code: code, state: state, message: "SQL compilation error: " + fmt.Sprintf(format, args...), line: -1, pos: -1}
	}
	switch {
	case strings.Contains(msg, "not authorized"):
		return &sqlError{code: "003001", state: "42501", line: -1, pos: -1, message: "SQL access control error:\nInsufficient privileges to operate on the sandbox's engine."}
	case find(reNoTable) != "":
		return errAbsent(find(reNoTable))
	case find(reNotNull) != "":
		return &sqlError{code: "100072", state: "22000", line: -1, pos: -1, message: "NULL result in a non-nullable column"}
	case find(reNoColumn) != "":
		return compile("000904", "42000", "error line 1 at position -1\ninvalid identifier '%s'", find(reNoColumn))
	case find(reNoInsert) != "":
		return compile("000904", "42000", "error line 1 at position -1\ninvalid identifier '%s'", find(reNoInsert))
	case find(reNoFunction) != "":
		return compile("002140", "42601", "\nUnknown function %s", strings.ToUpper(find(reNoFunction)))
	case find(reArgs) != "":
		return compile("000938", "22023", "error line 1 at position -1\nwrong number of arguments for function [%s]", strings.ToUpper(strings.TrimSuffix(find(reArgs), "()")))
	case find(reAmbiguous) != "":
		return compile("001004", "42601", "error line 1 at position -1\nambiguous column name '%s'", find(reAmbiguous))
	case find(reNear) != "":
		return syntaxAt(text, 0, find(reNear))
	case strings.Contains(msg, "incomplete input"):
		return syntaxAt(text, len(text), "<EOF>")
	case strings.Contains(msg, "interrupted"), strings.Contains(msg, "context canceled"):
		return errCanceled()
	}
	return &sqlError{code: "001003", state: "42000", line: -1, pos: -1, message: "SQL compilation error:\n" + strings.ReplaceAll(msg, sep, ".")}
}
