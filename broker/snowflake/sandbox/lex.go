package sandbox

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// sort is what a token is.
type sort uint8

const (
	sortEnd    sort = iota
	sortWord        // unquoted identifier or keyword; val is upper case
	sortQuoted      // "identifier"; val without quotes
	sortString      // 'text' or $$text$$; val decoded
	sortNumber
	sortBind // ? or :1; val is the number, or empty for ?
	sortOp
)

// token is one lexical unit of a statement.
type token struct {
	sort sort
	text string // as written
	val  string
	pos  int  // byte offset
	gap  bool // whitespace or a comment stands before it
}

func (t token) is(words ...string) bool {
	if t.sort != sortWord {
		return false
	}
	for _, w := range words {
		if t.val == w {
			return true
		}
	}
	return false
}

func (t token) op(s string) bool { return t.sort == sortOp && t.text == s }

// name reports whether t can name an object or column.
func (t token) name() bool { return t.sort == sortWord || t.sort == sortQuoted }

// lookahead is how many tokens of sortEnd close a list, so that looking a few
// tokens ahead needs no care.
const lookahead = 8

// lex splits text into tokens. The last ones are sortEnd.
func lex(text string) ([]token, error) {
	var toks []token
	i, gap := 0, false
	for {
		n, spaced, err := skipBlank(text, i)
		if err != nil {
			return nil, err
		}
		i, gap = n, spaced || len(toks) == 0
		if i >= len(text) {
			for range lookahead {
				toks = append(toks, token{sort: sortEnd, pos: i, gap: true})
			}
			return toks, nil
		}
		t, err := lexOne(text, i, toks)
		if err != nil {
			return nil, err
		}
		t.pos, t.gap = i, gap
		toks = append(toks, t)
		i += len(t.text)
	}
}

// skipBlank returns where the next token begins.
func skipBlank(s string, i int) (int, bool, error) {
	start := i
	for i < len(s) {
		switch {
		case strings.IndexByte(" \t\r\n\f\v", s[i]) >= 0:
			i++
		case strings.HasPrefix(s[i:], "--"), strings.HasPrefix(s[i:], "//"):
			n := strings.IndexByte(s[i:], '\n')
			if n < 0 {
				return len(s), true, nil
			}
			i += n + 1
		case strings.HasPrefix(s[i:], "/*"):
			n := strings.Index(s[i+2:], "*/")
			if n < 0 {
				return 0, false, syntaxAt(s, i, "/*")
			}
			i += n + 4
		default:
			return i, i > start, nil
		}
	}
	return i, i > start, nil
}

func lexOne(s string, i int, before []token) (token, error) {
	c := s[i]
	switch {
	case c == '\'':
		return lexString(s, i)
	case c == '"':
		return lexQuoted(s, i)
	case strings.HasPrefix(s[i:], "$$"):
		n := strings.Index(s[i+2:], "$$")
		if n < 0 {
			return token{}, syntaxAt(s, i, "$$")
		}
		return token{sort: sortString, text: s[i : i+n+4], val: s[i+2 : i+2+n]}, nil
	case c == '?':
		return token{sort: sortBind, text: "?"}, nil
	case c >= '0' && c <= '9', c == '.' && i+1 < len(s) && digit(s[i+1]):
		return lexNumber(s, i), nil
	case wordStart(c):
		j := i + 1
		for j < len(s) && wordByte(s[j]) {
			j++
		}
		return token{sort: sortWord, text: s[i:j], val: strings.ToUpper(s[i:j])}, nil
	case c == ':' && i+1 < len(s) && digit(s[i+1]) && !afterOperand(before, s, i):
		j := i + 1
		for j < len(s) && digit(s[j]) {
			j++
		}
		return token{sort: sortBind, text: s[i:j], val: s[i+1 : j]}, nil
	}
	for _, op := range []string{"->>", "::", "<=", ">=", "<>", "!=", "||", "=>", ":="} {
		if strings.HasPrefix(s[i:], op) {
			return token{sort: sortOp, text: op}, nil
		}
	}
	if strings.IndexByte("()[]{},.;:+-*/%=<>@^&|~!$", c) >= 0 {
		return token{sort: sortOp, text: s[i : i+1]}, nil
	}
	_, n := utf8.DecodeRuneInString(s[i:])
	return token{}, syntaxAt(s, i, s[i:i+n])
}

// afterOperand is whether a ':' at i continues a path (col:1) rather than
// beginning a bind variable.
func afterOperand(before []token, s string, i int) bool {
	if len(before) == 0 || i == 0 || strings.IndexByte(" \t\r\n(,=", s[i-1]) >= 0 {
		return false
	}
	last := before[len(before)-1]
	return last.name() || last.op("]") || last.op(")")
}

func lexString(s string, i int) (token, error) {
	var b strings.Builder
	for j := i + 1; j < len(s); j++ {
		switch {
		case s[j] == '\'' && j+1 < len(s) && s[j+1] == '\'':
			b.WriteByte('\'')
			j++
		case s[j] == '\'':
			return token{sort: sortString, text: s[i : j+1], val: b.String()}, nil
		case s[j] == '\\' && j+1 < len(s):
			j++
			b.WriteString(unescape(s[j]))
		default:
			b.WriteByte(s[j])
		}
	}
	return token{}, syntaxAt(s, i, "'")
}

// unescape maps the byte after a backslash; the octal, hex and Unicode forms
// are not understood and stand for themselves.
func unescape(c byte) string {
	switch c {
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case 'r':
		return "\r"
	case 'b':
		return "\b"
	case 'f':
		return "\f"
	}
	return string([]byte{c})
}

func lexQuoted(s string, i int) (token, error) {
	var b strings.Builder
	for j := i + 1; j < len(s); j++ {
		switch {
		case s[j] == '"' && j+1 < len(s) && s[j+1] == '"':
			b.WriteByte('"')
			j++
		case s[j] == '"':
			if b.Len() == 0 {
				return token{}, syntaxAt(s, i, `""`)
			}
			return token{sort: sortQuoted, text: s[i : j+1], val: b.String()}, nil
		default:
			b.WriteByte(s[j])
		}
	}
	return token{}, syntaxAt(s, i, `"`)
}

func lexNumber(s string, i int) token {
	j := i
	for j < len(s) && (digit(s[j]) || s[j] == '.') {
		j++
	}
	if j < len(s) && (s[j] == 'e' || s[j] == 'E') {
		k := j + 1
		if k < len(s) && (s[k] == '+' || s[k] == '-') {
			k++
		}
		if k < len(s) && digit(s[k]) {
			for k < len(s) && digit(s[k]) {
				k++
			}
			j = k
		}
	}
	return token{sort: sortNumber, text: s[i:j], val: s[i:j]}
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func wordStart(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= utf8.RuneSelf
}

func wordByte(c byte) bool { return wordStart(c) || digit(c) || c == '$' }

// split cuts text at its top-level semicolons. Empty statements are dropped;
// BEGIN … END blocks are not understood and are cut like anything else.
func split(text string) ([]string, error) {
	toks, err := lex(text)
	if err != nil {
		return nil, err
	}
	var parts []string
	start, full := 0, false
	for _, t := range toks {
		switch {
		case t.op(";") || t.sort == sortEnd:
			if full {
				parts = append(parts, strings.TrimSpace(text[start:t.pos]))
			}
			start, full = min(t.pos+1, len(text)), false
		default:
			full = true
		}
	}
	return parts, nil
}

// syntaxAt is Snowflake's answer to text it cannot parse.
func syntaxAt(text string, pos int, unexpected string) error {
	line, col := 1, 0
	for i := 0; i < pos && i < len(text); i++ {
		if text[i] == '\n' {
			line, col = line+1, 0
		} else {
			col++
		}
	}
	return &sqlError{code: "001003", state: "42000", line: line, pos: col,
		message: fmt.Sprintf("SQL compilation error:\nsyntax error line %d at position %d unexpected '%s'.", line, col, unexpected)}
}
