package sql

import "strings"

// parser reads the tokens [at, stop) of a lexed text by recursive descent. It
// stops at the first thing that it does not understand by panicking with a
// *SyntaxError or *UnsupportedError, which parseStatement turns into an error;
// no other panic is recovered.
type parser struct {
	*lexed
	at, stop int
	depth    int
	script   bool // within a scripting block
}

func (p *parser) pos() int {
	if p.at < p.stop {
		return int(p.tokens[p.at].pos)
	}
	if p.stop > 0 {
		return int(p.tokens[p.stop-1].end)
	}
	return 0
}

func (p *parser) fail(msg string)        { panic(&SyntaxError{Pos: p.pos(), Msg: msg}) }
func (p *parser) expected(what string)   { p.fail("expected " + what) }
func (p *parser) unsupported(msg string) { panic(&UnsupportedError{Pos: p.pos(), Msg: msg}) }

// enter and leave bracket every recursive call.
func (p *parser) enter() {
	p.depth++
	if p.depth > maxDepth {
		p.unsupported("nested too deeply")
	}
}

func (p *parser) leave() { p.depth-- }

// catch turns a bail-out into an error.
func catch(err *error) {
	switch e := recover().(type) {
	case nil:
	case *SyntaxError:
		*err = e
	case *UnsupportedError:
		*err = e
	default:
		panic(e)
	}
}

// mark and since give a node its span: from the token at a mark to the one
// before the cursor.
func (p *parser) mark() int { return p.at }

func (p *parser) since(mark int) span {
	if mark >= p.at {
		return span{int32(p.pos()), int32(p.pos())}
	}
	return span{p.tokens[mark].pos, p.tokens[p.at-1].end}
}

func (p *parser) peek(n int) token {
	if p.at+n < p.stop {
		return p.tokens[p.at+n]
	}
	return token{}
}

func (p *parser) cur() token            { return p.peek(0) }
func (p *parser) textOf(t token) string { return p.text[t.pos:t.end] }
func (p *parser) done() bool            { return p.at >= p.stop }

func (p *parser) isOp(op opcode) bool { return p.isOpAt(0, op) }
func (p *parser) isOpAt(n int, op opcode) bool {
	t := p.peek(n)
	return t.kind == tokenOp && t.op == op
}

func (p *parser) op(op opcode) bool {
	if p.isOp(op) {
		p.at++
		return true
	}
	return false
}

func (p *parser) needOp(op opcode) {
	if !p.op(op) {
		text := string(rune(op & 0xff))
		if op > 0xff {
			text += string(rune(op >> 8))
		}
		p.expected(text)
	}
}

func (p *parser) is(words ...keyword) bool { // the words, in a row
	for i, w := range words {
		if t := p.peek(i); t.kind != tokenWord || t.word != w {
			return false
		}
	}
	return true
}

func (p *parser) word(words ...keyword) bool {
	if p.is(words...) {
		p.at += len(words)
		return true
	}
	return false
}

func (p *parser) needWord(w keyword) {
	if !p.word(w) {
		p.expected(keywordNames[w])
	}
}

func (p *parser) oneOf(words ...keyword) bool {
	for _, w := range words {
		if p.word(w) {
			return true
		}
	}
	return false
}

// Words that are no keywords are compared as text.
func (p *parser) isText(words ...string) bool {
	for i, w := range words {
		if t := p.peek(i); t.kind != tokenWord || int(t.end-t.pos) != len(w) || !strings.EqualFold(p.textOf(t), w) {
			return false
		}
	}
	return true
}

func (p *parser) textWord(words ...string) bool {
	if p.isText(words...) {
		p.at += len(words)
		return true
	}
	return false
}

func (p *parser) needText(words ...string) {
	if !p.textWord(words...) {
		p.expected(strings.Join(words, " "))
	}
}

func (p *parser) isName(n int) bool {
	k := p.peek(n).kind
	return k == tokenWord || k == tokenQuoted
}

func (p *parser) identOf(t token) ident {
	if t.kind == tokenQuoted {
		return ident{name: unquoteIdentifier(p.textOf(t)), quoted: true, at: t.pos}
	}
	return ident{name: foldWord(p.textOf(t)), at: t.pos}
}

func (p *parser) ident() ident {
	if !p.isName(0) {
		p.expected("an identifier")
	}
	p.at++
	return p.identOf(p.tokens[p.at-1])
}

func (p *parser) isString(n int) bool {
	k := p.peek(n).kind
	return k == tokenString || k == tokenDollar
}

func (p *parser) stringValue() string {
	if !p.isString(0) {
		p.expected("a string")
	}
	value, ok := unquoteString(p.textOf(p.cur()))
	if !ok {
		p.unsupported("an escape that is not understood here")
	}
	p.at++
	return value
}

// parenthesised reads '(' item {',' item} ')'.
func (p *parser) parenthesised(item func()) {
	p.needOp('(')
	for {
		item()
		if !p.op(',') {
			break
		}
	}
	p.needOp(')')
}

func (p *parser) identList() (list []ident) {
	p.parenthesised(func() { list = append(list, p.ident()) })
	return list
}

// name reads a.b.c, a..c, 'a.b' where Snowflake takes one, or IDENTIFIER(…).
func (p *parser) name() *name {
	mark := p.mark()
	if p.is(wIdentifier) && p.isOpAt(1, '(') {
		n := p.identifierCall()
		if p.isOp('.') {
			p.unsupported("a name of which IDENTIFIER is a part")
		}
		return n
	}
	n := &name{parts: p.dotted()}
	if p.isOp('.') {
		p.expected("a name behind the dot")
	}
	n.span = p.since(mark)
	return n
}

func (p *parser) dotted() []ident {
	parts := append(make([]ident, 0, 1), p.ident())
	for p.isOp('.') && (p.isName(1) || p.isOpAt(1, '.')) {
		p.at++
		if p.op('.') {
			parts = append(parts, ident{name: "PUBLIC", at: int32(p.pos())})
		}
		parts = append(parts, p.ident())
		if len(parts) > 8 {
			p.unsupported("a name with too many parts")
		}
	}
	return parts
}

// identifierCall reads IDENTIFIER('…' | $variable | ? | :name).
func (p *parser) identifierCall() *name {
	mark := p.mark()
	p.at += 2
	n := &name{}
	switch {
	case p.isString(0):
		n.parts, n.text = p.nameFromText(p.stringValue()), true
	case p.cur().kind == tokenVariable, p.isOp('?'), p.isOp(':'):
		n.dynamic = p.primary()
	case p.script && p.isName(0):
		n.dynamic = &bind{span: p.since(p.at), name: p.ident().name}
	default:
		p.unsupported("IDENTIFIER of something that is neither a string, a variable nor a bind")
	}
	p.needOp(')')
	n.span = p.since(mark)
	return n
}

func (p *parser) nameFromText(text string) []ident {
	parts, err := parseName(text)
	if err != nil {
		p.unsupported("a string that is no object name")
	}
	for i := range parts {
		parts[i].at = int32(p.pos())
	}
	return parts
}

// parseName reads an object name out of a string's value.
func parseName(text string) (parts []ident, err error) {
	defer catch(&err)
	l, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &parser{lexed: l, stop: len(l.tokens)}
	parts = p.dotted()
	if !p.done() || len(l.comments) > 0 {
		p.fail("text after the name")
	}
	return parts, nil
}

// skipParens skips a parenthesised list of options. It must hold no query:
// what is skipped must not be able to read anything.
func (p *parser) skipParens() {
	if !p.isOp('(') {
		p.expected("(")
	}
	end := int(p.match[p.at])
	for p.at < end {
		if p.is(wSelect) || p.is(wWith) || p.isOp(';') || p.cur().kind == tokenVariable {
			p.unsupported("a query or a variable where only options are understood")
		}
		p.at++
	}
	p.at = end + 1
}
