package sql

// block reads DECLARE … BEGIN … EXCEPTION … END. What is not understood makes
// the block stuck, never an error: such a block is known to be a script, and
// scripts are for people to read.
func (p *parser) block() statement {
	mark := p.mark()
	b := &blockStmt{}
	script := p.script
	p.script = true
	var err error
	func() {
		defer catch(&err)
		p.blockBody(b)
	}()
	if err != nil {
		p.depth = 0
		p.at, b.stuck = p.stop, true
	}
	p.script = script
	b.span = p.since(mark)
	return b
}

func (b *blockStmt) add(n node) { b.parts = append(b.parts, n) }

func (p *parser) blockBody(b *blockStmt) {
	p.enter()
	defer p.leave()
	if p.word(wDeclare) {
		for !p.is(wBegin) {
			p.declaration(b)
			p.needOp(';')
		}
	}
	p.needWord(wBegin)
	p.scriptStatements(b)
	if p.textWord("EXCEPTION") {
		for p.word(wWhen) {
			for !p.is(wThen) {
				if p.cur().kind != tokenWord && p.cur().kind != tokenQuoted {
					p.expected("THEN")
				}
				p.at++
			}
			p.at++
			p.scriptStatements(b)
		}
	}
	p.needWord(wEnd)
	if p.isName(0) {
		p.ident() // label
	}
}

// scriptStatements reads statements up to a word that ends a list of them.
func (p *parser) scriptStatements(b *blockStmt) {
	for {
		for p.op(';') {
		}
		if p.done() || p.is(wEnd) || p.is(wElse) || p.isText("ELSEIF") || p.isText("EXCEPTION") || p.isText("UNTIL") || p.is(wWhen) {
			return
		}
		p.scriptStatement(b)
		if !p.op(';') {
			p.expected(";")
		}
	}
}

// declaration reads name [type] [DEFAULT | :=] value, CURSOR FOR, RESULTSET.
func (p *parser) declaration(b *blockStmt) {
	p.ident()
	if p.textWord("CURSOR") {
		p.needWord(wFor)
		p.scriptValue(b)
		return
	}
	if p.textWord("EXCEPTION") {
		if p.isOp('(') {
			p.skipParens()
		}
		return
	}
	if p.isName(0) && !p.is(wDefault) {
		p.typeName()
		p.word(wNot, wNull)
	}
	if p.word(wDefault) || p.op(opAssign) {
		p.scriptValue(b)
	}
}

// scriptValue reads an expression, or a statement whose result is the value.
func (p *parser) scriptValue(b *blockStmt) {
	p.textWord("ASYNC")
	if p.isOp('(') && p.statementInParens() {
		end := int(p.match[p.at])
		p.at++
		p.nested(b, end)
		p.at = end + 1
		return
	}
	if p.startsQuery(0) && !p.isOp('(') || p.is(wExecute) || p.isText("SHOW") || p.is(wCall) {
		p.nested(b, p.statementStop())
		return
	}
	b.add(p.expr())
}

func (p *parser) statementInParens() bool {
	t := p.peek(1)
	if t.kind != tokenWord {
		return false
	}
	switch t.word {
	case wSelect, wWith, wInsert, wUpdate, wDelete, wMerge, wExecute, wCall, wValues, wExplain:
		return !p.isOpAt(2, '(') || t.word == wValues || t.word == wSelect
	}
	return isWordText(p.text, t, "SHOW") || isWordText(p.text, t, "DESCRIBE") || isWordText(p.text, t, "DESC") || isWordText(p.text, t, "LIST")
}

func (p *parser) statementStop() int {
	end, err := statementEnd(p.lexed, p.at, p.stop)
	if err != nil {
		p.unsupported("a statement that does not end")
	}
	return end
}

// nested reads the tokens up to end as one statement.
func (p *parser) nested(b *blockStmt, end int) {
	inner := &parser{lexed: p.lexed, at: p.at, stop: end, depth: p.depth, script: true}
	b.add(inner.flow())
	if !inner.done() {
		inner.fail("text that does not belong to the statement")
	}
	p.at = end
}

func (p *parser) scriptStatement(b *blockStmt) {
	p.enter()
	defer p.leave()
	switch t := p.cur(); {
	case p.is(wBegin) && !p.beginsTransaction(), p.is(wDeclare):
		p.blockBody(b)
	case p.isText("LET"):
		p.at++
		p.declaration(b)
	case p.is(wIf) && p.isOpAt(1, '('):
		p.ifStatement(b)
	case p.is(wCase):
		p.caseStatement(b)
	case p.is(wFor):
		p.forStatement(b)
	case p.is(wWhile):
		p.at++
		b.add(p.expr())
		p.loopBody(b)
	case p.is(wRepeat):
		p.at++
		p.scriptStatements(b)
		p.needText("UNTIL")
		b.add(p.expr())
		p.endOf(wRepeat)
	case p.is(wLoop):
		p.loopBody(b)
	case p.isText("RETURN"):
		p.at++
		if !p.isOp(';') && !p.done() {
			p.scriptValue(b)
		}
	case p.isText("RAISE"), p.isText("BREAK"), p.isText("EXIT"), p.isText("CONTINUE"), p.isText("ITERATE"), p.isText("CLOSE"),
		p.isText("AWAIT"), p.isText("CANCEL"), p.is(wNull):
		p.at++
		p.word(wAll)
		if p.isName(0) {
			p.ident()
		}
	case p.isText("OPEN"):
		p.at++
		p.ident()
		if p.word(wUsing) {
			p.parenthesised(func() { b.add(p.expr()) })
		}
	case p.is(wFetch):
		p.at++
		p.ident()
		p.needWord(wInto)
		for p.op(':'); ; p.op(':') {
			p.ident()
			if !p.op(',') {
				break
			}
		}
	case p.isText("ASYNC") && p.isOpAt(1, '('):
		p.scriptValue(b)
	case t.kind == tokenOp && t.op == ':' || p.isName(0) && p.isOpAt(1, opAssign):
		p.op(':')
		p.ident()
		p.needOp(opAssign)
		p.scriptValue(b)
	default:
		p.nested(b, p.statementStop())
	}
}

func (p *parser) ifStatement(b *blockStmt) {
	p.at++
	b.add(p.expr())
	p.needWord(wThen)
	p.scriptStatements(b)
	for p.textWord("ELSEIF") {
		b.add(p.expr())
		p.needWord(wThen)
		p.scriptStatements(b)
	}
	if p.word(wElse) {
		p.scriptStatements(b)
	}
	p.endOf(wIf)
}

func (p *parser) caseStatement(b *blockStmt) {
	p.at++
	if !p.is(wWhen) {
		b.add(p.expr())
	}
	for p.word(wWhen) {
		b.add(p.expr())
		p.needWord(wThen)
		p.scriptStatements(b)
	}
	if p.word(wElse) {
		p.scriptStatements(b)
	}
	p.needWord(wEnd)
	p.word(wCase)
}

func (p *parser) forStatement(b *blockStmt) {
	p.at++
	p.ident()
	p.needWord(wIn)
	p.textWord("REVERSE")
	p.scriptValue(b)
	if p.textWord("TO") {
		b.add(p.expr())
	}
	p.loopBody(b)
}

func (p *parser) loopBody(b *blockStmt) {
	if !p.oneOf(wDo, wLoop) {
		p.expected("DO")
	}
	p.scriptStatements(b)
	p.needWord(wEnd)
	_ = p.oneOf(wLoop, wFor, wWhile)
	if p.isName(0) {
		p.ident()
	}
}

func (p *parser) endOf(w keyword) {
	p.needWord(wEnd)
	p.needWord(w)
	if p.isName(0) {
		p.ident()
	}
}
