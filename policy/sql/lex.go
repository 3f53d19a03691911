package sql

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// lexed is a text cut into tokens. Every byte of the text is a token, a
// comment or a blank.
type lexed struct {
	text     string
	tokens   []token
	comments []comment
	match    []int32 // for '(' the index of its ')', else 0; filled by the lexer
}

// lex cuts text into tokens. It is strict: whatever two readers of Snowflake
// SQL might cut differently is a *SyntaxError, so that no reader downstream can
// see other tokens than the ones analysed here:
//
//   - outside quotes and comments only printable ASCII, tab, LF and CRLF;
//   - nowhere invalid UTF-8, a bare CR, control, bidi, zero-width, invisible
//     or line-separating characters;
//   - block comments neither nest nor start with /*/;
//   - no $tag$ quotes, no $$ within a name, no #, no backtick, no backslash
//     outside strings;
//   - stage paths hold no comment marker; :// only in file:// after PUT or GET.
func lex(text string) (*lexed, error) {
	if len(text) > maxText {
		return nil, &UnsupportedError{Pos: maxText, Msg: "the text is longer than 1 MiB; send fewer statements"}
	}
	l := &lexer{lexed: lexed{text: text}}
	l.tokens = make([]token, 0, len(text)/5+8)
	l.match = make([]int32, 0, len(text)/5+8)
	for l.at < len(text) {
		if err := l.next(); err != nil {
			return nil, err
		}
		if len(l.tokens) > maxTokens {
			return nil, &UnsupportedError{Pos: l.at, Msg: "too many tokens; send fewer statements"}
		}
	}
	if len(l.open) > 0 {
		return nil, &SyntaxError{Pos: int(l.tokens[l.open[len(l.open)-1]].pos), Msg: "parenthesis is never closed"}
	}
	return &l.lexed, nil
}

type lexer struct {
	lexed
	at    int
	first int     // index of the first token of the current statement
	open  []int32 // indexes of '(' not yet closed
}

func (l *lexer) wrong(pos int, msg string) error { return &SyntaxError{Pos: pos, Msg: msg} }

func (l *lexer) peek(n int) byte {
	if l.at+n < len(l.text) {
		return l.text[l.at+n]
	}
	return 0
}

func (l *lexer) put(kind tokenKind, end int) *token {
	l.tokens = append(l.tokens, token{kind: kind, pos: int32(l.at), end: int32(end)})
	l.match = append(l.match, 0)
	l.at = end
	return &l.tokens[len(l.tokens)-1]
}

func isWordStart(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' }
func isDigit(c byte) bool     { return c >= '0' && c <= '9' }
func isWordPart(c byte) bool  { return isWordStart(c) || isDigit(c) || c == '$' }

func (l *lexer) next() error {
	c := l.text[l.at]
	switch {
	case c == ' ' || c == '\t' || c == '\n':
		l.at++
		return nil
	case c == '\r':
		if l.peek(1) != '\n' {
			return l.wrong(l.at, "carriage return without a line feed")
		}
		l.at += 2
		return nil
	case c == '-' && l.peek(1) == '-', c == '/' && l.peek(1) == '/':
		return l.lineComment()
	case c == '/' && l.peek(1) == '*':
		return l.blockComment()
	case c == '\'':
		return l.quoted(tokenString, '\'', "string")
	case c == '"':
		return l.quoted(tokenQuoted, '"', "quoted identifier")
	case c == '$':
		return l.dollar()
	case c == '@':
		return l.stage()
	case isWordStart(c):
		return l.wordToken()
	case isDigit(c), c == '.' && isDigit(l.peek(1)) && !l.afterName():
		return l.number()
	case c <= ' ' || c >= 0x7f:
		return l.wrong(l.at, "a character that is only allowed within quotes or comments")
	case c == '`' || c == '#' || c == '\\':
		return l.wrong(l.at, "a character that other readers take for a quote, a comment or an escape")
	}
	return l.operator()
}

// afterName tells whether the text just before is a name, so that ".1" cannot
// be a number.
func (l *lexer) afterName() bool {
	if len(l.tokens) == 0 {
		return false
	}
	t := l.tokens[len(l.tokens)-1]
	return int(t.end) == l.at && (t.kind == tokenWord || t.kind == tokenQuoted || t.kind == tokenVariable)
}

func (l *lexer) lineComment() error {
	if l.at > 0 && l.text[l.at] == '/' && l.text[l.at-1] == ':' {
		return l.wrong(l.at-1, ":// can be read as a URL or as the start of a comment")
	}
	end := l.at + 2
	for end < len(l.text) && l.text[end] != '\n' {
		n, err := l.inside(end)
		if err != nil {
			return err
		}
		end += n
	}
	stop := end
	if stop > l.at && stop < len(l.text) && l.text[stop-1] == '\r' {
		stop-- // the CR belongs to the line break
	}
	l.comments = append(l.comments, comment{before: int32(len(l.tokens)), pos: int32(l.at), end: int32(stop)})
	l.at = end
	return nil
}

func (l *lexer) blockComment() error {
	if l.peek(2) == '/' {
		return l.wrong(l.at, "/*/ can be read as a whole comment or as the start of one")
	}
	for end := l.at + 2; end+1 < len(l.text); {
		if l.text[end] == '*' && l.text[end+1] == '/' {
			l.comments = append(l.comments, comment{before: int32(len(l.tokens)), pos: int32(l.at), end: int32(end + 2)})
			l.at = end + 2
			return nil
		}
		if l.text[end] == '/' && l.text[end+1] == '*' {
			return l.wrong(end, "a comment within a comment ends in different places for different readers")
		}
		n, err := l.inside(end)
		if err != nil {
			return err
		}
		end += n
	}
	return l.wrong(l.at, "comment is never closed")
}

func (l *lexer) quoted(kind tokenKind, quote byte, what string) error {
	for end := l.at + 1; end < len(l.text); {
		switch c := l.text[end]; {
		case c == '\\' && quote == '\'':
			if end+1 >= len(l.text) {
				return l.wrong(l.at, what+" is never closed")
			}
			if l.text[end+1] >= utf8.RuneSelf || l.text[end+1] < ' ' {
				return l.wrong(end, "a backslash before a character that is no escape")
			}
			end += 2
		case c == quote && end+1 < len(l.text) && l.text[end+1] == quote:
			end += 2
		case c == quote:
			if kind == tokenQuoted && end == l.at+1 {
				return l.wrong(l.at, "empty quoted identifier")
			}
			l.put(kind, end+1)
			return nil
		default:
			n, err := l.inside(end)
			if err != nil {
				return err
			}
			end += n
		}
	}
	return l.wrong(l.at, what+" is never closed")
}

func (l *lexer) dollar() error {
	if l.peek(1) == '$' {
		for end := l.at + 2; end+1 < len(l.text); {
			if l.text[end] == '$' && l.text[end+1] == '$' {
				l.put(tokenDollar, end+2)
				return nil
			}
			n, err := l.inside(end)
			if err != nil {
				return err
			}
			end += n
		}
		return l.wrong(l.at, "$$ string is never closed")
	}
	end := l.at + 1
	for end < len(l.text) && isWordPart(l.text[end]) && l.text[end] != '$' {
		end++
	}
	switch {
	case end < len(l.text) && l.text[end] == '$':
		return l.wrong(l.at, "tagged dollar quotes do not exist in Snowflake")
	case end == l.at+1: // the end of a MATCH_RECOGNIZE pattern
		l.put(tokenOp, end).op = '$'
		return nil
	}
	if isDigit(l.text[l.at+1]) {
		for i := l.at + 1; i < end; i++ {
			if !isDigit(l.text[i]) {
				return l.wrong(l.at, "a positional reference with letters")
			}
		}
	}
	l.put(tokenVariable, end)
	return nil
}

func isStagePart(c byte) bool {
	switch c {
	case '.', '/', '~', '%', '-', '=', '*', '+', '"':
		return true
	}
	return isWordPart(c)
}

func (l *lexer) stage() error {
	end := l.at + 1
	path := false // behind the first slash, where file names may hold more
	for end < len(l.text) && (isStagePart(l.text[end]) || path && (l.text[end] == ':' || l.text[end] == '@')) {
		path = path || l.text[end] == '/'
		if l.text[end] == '"' {
			start := end
			for end++; ; {
				if end >= len(l.text) {
					return l.wrong(start, "quoted identifier is never closed")
				}
				if l.text[end] == '"' {
					break
				}
				n, err := l.inside(end)
				if err != nil {
					return err
				}
				end += n
			}
		} else if end+1 < len(l.text) {
			switch l.text[end : end+2] {
			case "--", "//", "/*":
				return l.wrong(end, "a comment marker within a stage path")
			}
		}
		end++
	}
	if end == l.at+1 {
		return l.wrong(l.at, "@ without a stage name")
	}
	l.put(tokenStage, end)
	return nil
}

func (l *lexer) wordToken() error {
	end := l.at + 1
	for end < len(l.text) && isWordPart(l.text[end]) {
		end++
	}
	if end+2 < len(l.text) && l.text[end:end+3] == "://" && l.inFileTransfer() {
		for end < len(l.text) && l.text[end] > ' ' && l.text[end] < 0x7f && l.text[end] != ';' && l.text[end] != '\'' {
			end++
		}
		l.put(tokenFile, end)
		return nil
	}
	if strings.Contains(l.text[l.at:end], "$$") {
		return l.wrong(l.at, "a name that runs into a $$ string")
	}
	word := lookupKeyword(l.text[l.at:end])
	l.put(tokenWord, end).word = word
	return nil
}

func (l *lexer) inFileTransfer() bool {
	if l.first >= len(l.tokens) {
		return false
	}
	w := l.tokens[l.first].word
	return w == wPut || w == wGet
}

func (l *lexer) number() error {
	end := l.at
	digits := func() {
		for end < len(l.text) && isDigit(l.text[end]) {
			end++
		}
	}
	digits()
	if end < len(l.text) && l.text[end] == '.' {
		end++
		digits()
	}
	if end < len(l.text) && (l.text[end] == 'e' || l.text[end] == 'E') {
		mantissa := end
		end++
		if end < len(l.text) && (l.text[end] == '+' || l.text[end] == '-') {
			end++
		}
		exponent := end
		digits()
		if end == exponent {
			end = mantissa
		}
	}
	if end < len(l.text) && isWordPart(l.text[end]) {
		return l.wrong(l.at, "a number that runs into a name")
	}
	l.put(tokenNumber, end)
	return nil
}

func (l *lexer) operator() error {
	c, d := l.text[l.at], l.peek(1)
	op, size := opcode(c), 1
	switch pair := opcode(c) | opcode(d)<<8; {
	case c == '-' && d == '>' && l.peek(2) == '>':
		op, size = opFlow, 3
	case pair == opCast, pair == opAssign, pair == opNamed, pair == opArrow, pair == opConcat, pair == opNotEqual,
		pair == opLess, pair == opMore, pair == opBang, pair == opSpread:
		op, size = pair, 2
	}
	index := int32(len(l.tokens))
	l.put(tokenOp, l.at+size).op = op
	switch op {
	case ';':
		l.first = len(l.tokens)
	case '(':
		l.open = append(l.open, index)
	case ')':
		if len(l.open) == 0 {
			return l.wrong(l.at-1, "parenthesis was never opened")
		}
		l.match[l.open[len(l.open)-1]] = index
		l.open = l.open[:len(l.open)-1]
	}
	return nil
}

// inside checks the character at pos, within quotes or a comment, and returns
// its size.
func (l *lexer) inside(pos int) (int, error) {
	c := l.text[pos]
	switch {
	case c >= ' ' && c < 0x7f, c == '\t', c == '\n':
		return 1, nil
	case c == '\r' && pos+1 < len(l.text) && l.text[pos+1] == '\n':
		return 1, nil
	case c < utf8.RuneSelf:
		return 0, l.wrong(pos, "a control character")
	}
	r, size := utf8.DecodeRuneInString(l.text[pos:])
	switch {
	case r == utf8.RuneError && size == 1:
		return 0, l.wrong(pos, "text that is not UTF-8")
	case r < 0xa0:
		return 0, l.wrong(pos, "a control character")
	case invisible(r):
		return 0, l.wrong(pos, "an invisible or direction-changing character")
	}
	return size, nil
}

// invisible tells whether r can hide or reorder text on a reviewer's screen,
// or end a line for some readers only.
func invisible(r rune) bool {
	switch r {
	case 0x115f, 0x1160, 0x3164, 0xffa0, 0x2800: // fillers that draw nothing
		return true
	}
	return unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Cs, unicode.Co)
}
