package tui

import (
	"slices"
	"strings"

	"charm.land/lipgloss/v2"
)

// sqlClass is how a piece of SQL is drawn. It is decoration: nothing is
// understood here, and a text that is no SQL is drawn all the same.
type sqlClass uint8

const (
	sqlPlain sqlClass = iota
	sqlKeyword
	sqlString
	sqlNumber
	sqlComment
)

// sqlKeywords are the words that say what a statement does.
const sqlKeywords = " ALL ALTER AND ANY AS ASC AT BEFORE BEGIN BETWEEN BY CALL CASCADE CASE CAST CLONE CLUSTER COMMENT COMMIT COPY CREATE CROSS " +
	"CUBE CURRENT DATABASE DELETE DESC DESCRIBE DISTINCT DROP ELSE END ESCAPE EXCEPT EXECUTE EXISTS EXPLAIN FETCH FIRST FOLLOWING FROM FULL " +
	"FUNCTION GRANT GROUP GROUPING HAVING IF ILIKE IMMEDIATE IN INNER INSERT INTERSECT INTERVAL INTO IS JOIN LATERAL LEFT LIKE LIMIT LIST " +
	"MATCHED MERGE MINUS NATURAL NOT NULL NULLS OFFSET ON OR ORDER OUTER OVER OVERWRITE PARTITION PIVOT PRECEDING PROCEDURE PUT QUALIFY RANGE " +
	"RECURSIVE REPLACE RETURN REVOKE RIGHT RLIKE ROLE ROLLBACK ROLLUP ROWS SAMPLE SCHEMA SELECT SET SETS SHOW STAGE TABLE TABLESAMPLE TEMPORARY " +
	"THEN TO TRANSACTION TRUE FALSE TRUNCATE UNBOUNDED UNDROP UNION UNPIVOT UNSET UPDATE USE USING VALUES VIEW WAREHOUSE WHEN WHERE WINDOW WITH "

// sqlClasses says how each byte of a text is drawn.
func sqlClasses(text string) []sqlClass {
	classes := make([]sqlClass, len(text))
	for at := 0; at < len(text); {
		n, class := sqlToken(text[at:])
		for i := range n {
			classes[at+i] = class
		}
		at += n
	}
	return classes
}

// sqlToken measures the token that a text, which is not empty, begins with.
func sqlToken(s string) (int, sqlClass) {
	c := s[0]
	switch {
	case c == '\'':
		return quotedEnd(s, '\''), sqlString
	case c == '"':
		return quotedEnd(s, '"'), sqlPlain
	case strings.HasPrefix(s, "$$"):
		return pastNext(s, 2, "$$"), sqlString
	case strings.HasPrefix(s, "--"), strings.HasPrefix(s, "//"):
		if end := strings.IndexByte(s, '\n'); end >= 0 {
			return end, sqlComment
		}
		return len(s), sqlComment
	case strings.HasPrefix(s, "/*"):
		return pastNext(s, 2, "*/"), sqlComment
	case c >= '0' && c <= '9':
		return spanOf(s, func(c byte) bool { return isSQLWord(c) || c == '.' }), sqlNumber
	case isSQLWord(c):
		n := spanOf(s, isSQLWord)
		if n <= 12 && strings.Contains(sqlKeywords, " "+strings.ToUpper(s[:n])+" ") {
			return n, sqlKeyword
		}
		return n, sqlPlain
	}
	return 1, sqlPlain
}

func isSQLWord(c byte) bool {
	return c == '_' || c == '$' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

func spanOf(s string, part func(byte) bool) int {
	n := 1
	for n < len(s) && part(s[n]) {
		n++
	}
	return n
}

// quotedEnd is where a quoted token ends: a doubled quote is a part of it, and
// in a string so is what follows a backslash.
func quotedEnd(s string, quote byte) int {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quote == '\'':
			i++
		case s[i] == quote && i+1 < len(s) && s[i+1] == quote:
			i++
		case s[i] == quote:
			return i + 1
		}
	}
	return len(s)
}

// pastNext is the position after the next end from a position on, or the end of
// the text.
func pastNext(s string, from int, end string) int {
	if i := strings.Index(s[from:], end); i >= 0 {
		return from + i + len(end)
	}
	return len(s)
}

// sqlLines wraps SQL to width cells and draws it. The text must be visible.
func (m *player) sqlLines(text string, width int) []string {
	return slices.Concat(m.style.sqlLines(text, width)...)
}

// sqlLines draws SQL, wrapped to width cells: for each line of the text, those
// it takes. The text must be visible.
func (s style) sqlLines(text string, width int) [][]string {
	styles := [...]lipgloss.Style{
		sqlPlain: lipgloss.NewStyle(), sqlKeyword: s.strong, sqlString: s.good, sqlNumber: s.key, sqlComment: s.dim,
	}
	if text == "" {
		return nil
	}
	classes := sqlClasses(text)
	var out [][]string
	at := 0
	for line := range strings.SplitSeq(text, "\n") {
		pieces := textLines(line, width)
		if strings.Join(pieces, "") == line { // else wrapping changed it: what is said counts, not how it looks
			from := at
			for i, piece := range pieces {
				pieces[i] = drawSQL(piece, classes[from:], styles[:])
				from += len(piece)
			}
		}
		if len(pieces) == 0 {
			pieces = []string{""}
		}
		out = append(out, pieces)
		at += len(line) + 1
	}
	return out
}

// drawSQL draws a piece of a line, whose classes begin with it.
func drawSQL(piece string, classes []sqlClass, styles []lipgloss.Style) string {
	var b strings.Builder
	for from := 0; from < len(piece); {
		to := from + 1
		for to < len(piece) && classes[to] == classes[from] {
			to++
		}
		b.WriteString(styles[classes[from]].Render(piece[from:to]))
		from = to
	}
	return b.String()
}
