package sql

import "strconv"

func (p *parser) wordLiteral() expr {
	t := p.cur()
	p.at++
	return &literal{span: span{t.pos, t.end}, kind: tokenWord, text: p.textOf(t)}
}

// primary reads one operand without what follows it.
func (p *parser) primary() expr {
	p.enter()
	defer p.leave()
	t := p.cur()
	switch t.kind {
	case tokenNumber, tokenString, tokenDollar:
		p.at++
		return &literal{span: span{t.pos, t.end}, kind: t.kind, text: p.textOf(t)}
	case tokenVariable:
		p.at++
		text := p.textOf(t)[1:]
		if isDigit(text[0]) {
			n, err := strconv.Atoi(text)
			if err != nil {
				p.unsupported("a positional reference out of range")
			}
			return &positional{span: span{t.pos, t.end}, n: n}
		}
		return &variable{span: span{t.pos, t.end}, name: foldWord(text)}
	case tokenStage:
		p.at++
		return &stageRef{span: span{t.pos, t.end}, text: p.textOf(t)}
	case tokenOp:
		return p.opPrimary(t)
	case tokenQuoted:
		return p.nameExpr()
	case tokenWord:
		return p.wordPrimary(t)
	}
	p.expected("an expression")
	return nil
}

func (p *parser) opPrimary(t token) expr {
	mark := p.mark()
	switch t.op {
	case '(':
		if p.parenIsQuery() {
			return p.subqueryExpr()
		}
		p.at++
		if p.op(')') {
			return &collection{span: p.since(mark)}
		}
		list := []expr{p.expr()}
		for p.op(',') {
			list = append(list, p.expr())
		}
		p.needOp(')')
		if len(list) == 1 {
			return list[0]
		}
		return &collection{span: p.since(mark), args: list}
	case '[':
		return p.collection(']', func() []expr { return []expr{p.element()} })
	case '{':
		if p.isTextAt(1, "FN") && p.isName(2) { // {fn f(x)}, as ODBC and JDBC write it
			p.at += 2
			x := p.expr()
			p.needOp('}')
			return x
		}
		return p.collection('}', p.objectField)
	case '?':
		p.at++
		return &bind{span: p.since(mark)}
	case ':':
		p.at++
		if n := p.cur(); n.kind == tokenNumber {
			p.at++
			return &bind{span: p.since(mark), name: p.textOf(n)}
		}
		b := &bind{name: p.ident().name}
		p.fields()
		b.span = p.since(mark)
		return b
	}
	p.expected("an expression")
	return nil
}

func (p *parser) collection(end opcode, item func() []expr) expr {
	mark := p.mark()
	p.at++
	c := &collection{}
	for !p.op(end) {
		c.args = append(c.args, item()...)
		if !p.op(',') {
			p.needOp(end)
			break
		}
	}
	c.span = p.since(mark)
	return c
}

// element reads a value, a star or a spread.
func (p *parser) element() expr {
	mark := p.mark()
	if p.op(opSpread) {
		return p.expr()
	}
	if p.op('*') {
		return p.star(mark, nil)
	}
	return p.expr()
}

// objectField reads key: value, *, t.* or **spread within braces.
func (p *parser) objectField() []expr {
	if p.isOp('*') || p.isOp(opSpread) {
		return []expr{p.element()}
	}
	mark := p.mark()
	if p.isName(0) && p.isOpAt(1, '.') {
		if s, ok := p.nameExpr().(*star); ok {
			return []expr{s}
		}
		p.fail("a column where an object key is expected")
	}
	if p.cur().kind != tokenString && !p.isName(0) {
		p.expected("an object key")
	}
	p.at++
	if !p.isOp(':') {
		p.at = mark
		p.expected("a key and a colon")
	}
	p.at++
	return []expr{p.expr()}
}

func (p *parser) wordPrimary(t token) expr {
	mark := p.mark()
	paren := p.isOpAt(1, '(')
	switch t.word {
	case wNull, wTrue, wFalse:
		return p.wordLiteral()
	case wCase:
		return p.caseExpr()
	case wCast, wTryCast:
		if paren {
			return p.castCall()
		}
	case wExtract:
		if paren && p.peek(3).word == wFrom {
			p.at += 4
			x := p.expr()
			p.needOp(')')
			return &operation{span: p.since(mark), args: []expr{x}}
		}
	case wPosition:
		if paren {
			p.at += 2
			o := &operation{args: []expr{p.chain(true)}}
			if !p.word(wIn) && !p.op(',') {
				p.expected("IN")
			}
			o.args = append(o.args, p.chain(true))
			if p.op(',') {
				o.args = append(o.args, p.expr())
			}
			p.needOp(')')
			o.span = p.since(mark)
			return o
		}
	case wExists:
		if paren {
			p.at++
			return p.subqueryExpr()
		}
	case wInterval:
		if p.isString(1) || p.peek(1).kind == tokenNumber {
			return p.interval()
		}
	case wDate, wTime, wTimestamp:
		if p.peek(1).kind == tokenString {
			p.at += 2
			return &literal{span: p.since(mark), kind: tokenWord}
		}
	case wIdentifier:
		if paren {
			return p.identifierExpr()
		}
	}
	if notOperand[t.word] && !p.isOpAt(1, '.') {
		p.fail("a keyword where an expression is expected")
	}
	if p.peek(1).kind == tokenString && p.typedLiteral(t) {
		p.at += 2
		return &literal{span: p.since(mark), kind: tokenWord}
	}
	return p.nameExpr()
}

// typedLiteral tells whether t makes the string behind it a literal of a type:
// TIMESTAMP_NTZ '…', X'…'.
func (p *parser) typedLiteral(t token) bool {
	switch foldWord(p.textOf(t)) {
	case "TIMESTAMP_NTZ", "TIMESTAMP_LTZ", "TIMESTAMP_TZ", "DATETIME":
		return true
	case "X":
		return p.peek(1).pos == t.end
	}
	return false
}

func (p *parser) caseExpr() expr {
	mark := p.mark()
	p.at++
	c := &caseExpr{}
	if !p.is(wWhen) {
		c.args = append(c.args, p.expr())
	}
	for p.word(wWhen) {
		c.args = append(c.args, p.expr())
		p.needWord(wThen)
		c.args = append(c.args, p.expr())
	}
	if p.word(wElse) {
		c.args = append(c.args, p.expr())
	}
	p.needWord(wEnd)
	c.span = p.since(mark)
	return c
}

func (p *parser) castCall() expr {
	mark := p.mark()
	p.at += 2
	x := p.expr()
	p.needWord(wAs)
	p.typeName()
	for p.cur().kind == tokenWord { // FORMAT '…', RENAME FIELDS, COLLATE '…'
		p.at++
		if p.cur().kind == tokenString {
			p.at++
		}
	}
	p.needOp(')')
	return &cast{span: p.since(mark), x: x}
}

func (p *parser) interval() expr {
	mark := p.mark()
	p.at += 2
	for p.cur().kind == tokenWord && !p.is(wEnd) && (isDatePart(p.textOf(p.cur())) || p.isText("TO")) {
		p.at++
		if p.isOp('(') && p.peek(1).kind == tokenNumber {
			p.skipParens()
		}
	}
	return &literal{span: p.since(mark), kind: tokenWord}
}

func (p *parser) identifierExpr() expr {
	mark := p.mark()
	n := p.identifierCall()
	if p.isOp('(') && !(p.isOpAt(1, '+') && p.isOpAt(2, ')')) {
		c := &call{name: n}
		p.callRest(c)
		c.span = p.since(mark)
		return c
	}
	if n.dynamic == nil && p.isOp('.') && p.isOpAt(1, '*') {
		p.at += 2
		return p.star(mark, n.parts)
	}
	if n.dynamic != nil {
		return &dynamicRef{span: p.since(mark), name: n}
	}
	return &columnRef{span: p.since(mark), parts: n.parts}
}

// nameExpr reads a column, t.*, t.$1 or a function call.
func (p *parser) nameExpr() expr {
	mark := p.mark()
	parts := append(make([]ident, 0, 2), p.ident())
	for p.isOp('.') {
		t := p.peek(1)
		switch {
		case p.isOpAt(1, '*'):
			p.at += 2
			return p.star(mark, parts)
		case t.kind == tokenVariable:
			n, err := strconv.Atoi(p.textOf(t)[1:])
			if err != nil {
				p.unsupported("a variable behind a dot")
			}
			p.at += 2
			return &positional{span: p.since(mark), qualifier: parts, n: n}
		case p.isOpAt(1, '.'):
			p.at++
			parts = append(parts, ident{name: "PUBLIC", at: int32(p.pos())})
			continue
		case !p.isName(1):
			p.at++
			p.expected("a name behind the dot")
		}
		p.at++
		parts = append(parts, p.ident())
		if len(parts) > 64 {
			p.unsupported("a name with too many parts")
		}
	}
	if p.isOp('(') && !(p.isOpAt(1, '+') && p.isOpAt(2, ')')) {
		n := &name{span: p.since(mark), parts: parts}
		c := &call{name: n}
		p.callRest(c)
		c.span = p.since(mark)
		return c
	}
	return &columnRef{span: p.since(mark), parts: parts}
}

// star reads what may follow * or t.*.
func (p *parser) star(mark int, qualifier []ident) expr {
	s := &star{qualifier: qualifier}
	for {
		switch {
		case p.is(wIlike) && p.isString(1):
			p.at++
			s.ilike, s.hasILike = p.stringValue(), true
		case p.word(wExclude):
			s.exclude = append(s.exclude, p.columnNames()...)
		case p.is(wRename):
			p.at++
			p.listOrOne(func() {
				from := p.lastIdent()
				p.needWord(wAs)
				s.rename = append(s.rename, renaming{from, p.ident()})
			})
		case p.is(wReplace):
			p.at++
			p.listOrOne(func() {
				v := p.expr()
				p.needWord(wAs)
				s.replace = append(s.replace, selectItem{value: v, alias: p.ident()})
			})
		default:
			if s.hasILike && len(s.exclude) > 0 {
				p.unsupported("ILIKE together with EXCLUDE")
			}
			s.span = p.since(mark)
			return s
		}
	}
}

func (p *parser) listOrOne(item func()) {
	if p.isOp('(') {
		p.parenthesised(item)
		return
	}
	item()
}

func (p *parser) lastIdent() ident {
	parts := p.dotted()
	return parts[len(parts)-1]
}

func (p *parser) columnNames() (list []ident) {
	p.listOrOne(func() { list = append(list, p.lastIdent()) })
	return list
}
