package sql

import "strings"

// tokenKind says what a token is. The zero value is the end of the text.
type tokenKind uint8

const (
	tokenEnd      tokenKind = iota
	tokenWord               // unquoted identifier or keyword
	tokenQuoted             // "identifier"
	tokenString             // 'text'
	tokenDollar             // $$text$$
	tokenNumber             // 12, 1.5e3
	tokenVariable           // $name or $1
	tokenStage              // @stage/path
	tokenFile               // file://path, after PUT or GET only
	tokenOp
)

// opcode names an operator: one or two bytes, low byte first.
type opcode uint16

const (
	opCast     = opcode(':') | opcode(':')<<8
	opAssign   = opcode(':') | opcode('=')<<8
	opNamed    = opcode('=') | opcode('>')<<8
	opArrow    = opcode('-') | opcode('>')<<8
	opConcat   = opcode('|') | opcode('|')<<8
	opNotEqual = opcode('<') | opcode('>')<<8
	opLess     = opcode('<') | opcode('=')<<8
	opMore     = opcode('>') | opcode('=')<<8
	opBang     = opcode('!') | opcode('=')<<8
	opSpread   = opcode('*') | opcode('*')<<8
	opFlow     = opcode('>') | opcode('-')<<8 // ->>, kept apart from the two-byte codes
)

// token is a slice of the text; nothing is copied.
type token struct {
	kind     tokenKind
	word     keyword // of a tokenWord, wordNone if it is no keyword
	op       opcode  // of a tokenOp
	pos, end int32
}

// comment is a comment that was read between two tokens.
type comment struct {
	before   int32 // index of the token that follows
	pos, end int32
}

// foldWord folds an unquoted identifier as Snowflake does.
func foldWord(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= 'a' && s[i] <= 'z' {
			return strings.ToUpper(s)
		}
	}
	return s
}

// unquoteIdentifier returns the identifier within double quotes.
func unquoteIdentifier(s string) string {
	s = s[1 : len(s)-1]
	if strings.Contains(s, `""`) {
		s = strings.ReplaceAll(s, `""`, `"`)
	}
	return s
}

// unquoteString returns the value of a string literal, '…' or $$…$$. An escape
// this package does not know is an error of the caller: ok is false.
func unquoteString(s string) (value string, ok bool) {
	if strings.HasPrefix(s, "$$") {
		return s[2 : len(s)-2], true
	}
	s = s[1 : len(s)-1]
	if !strings.ContainsAny(s, `'\`) {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\'':
			i++ // the lexer saw two
			b.WriteByte('\'')
		case s[i] != '\\':
			b.WriteByte(s[i])
		default:
			i++
			switch s[i] {
			case '\'', '"', '\\':
				b.WriteByte(s[i])
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case 'r':
				b.WriteByte('\r')
			default: // \b \f \0 octal \x \u: legal, but no name or statement needs them
				return "", false
			}
		}
	}
	return b.String(), true
}

// isWordText tells whether t is the unquoted word w, in any case.
func isWordText(text string, t token, w string) bool {
	return t.kind == tokenWord && int(t.end-t.pos) == len(w) && strings.EqualFold(text[t.pos:t.end], w)
}
