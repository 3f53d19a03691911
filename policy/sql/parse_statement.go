package sql

// parseStatement parses the tokens [from, to) of l as one statement: every
// token must be used.
func parseStatement(l *lexed, from, to int, script bool) (s statement, err error) {
	defer catch(&err)
	p := &parser{lexed: l, at: from, stop: to, script: script}
	s = p.flow()
	if !p.done() {
		p.fail("text that does not belong to the statement")
	}
	return s, nil
}

// flow reads statements joined by ->>.
func (p *parser) flow() statement {
	mark, stop := p.mark(), p.stop
	var steps []statement
	for {
		p.stop = p.flowEnd(stop)
		steps = append(steps, p.statement())
		if !p.done() {
			p.fail("text that does not belong to the statement")
		}
		p.stop = stop
		if p.done() {
			break
		}
		p.needOp(opFlow)
	}
	if len(steps) == 1 {
		return steps[0]
	}
	return &flowStmt{span: p.since(mark), steps: steps}
}

// flowEnd finds the next ->> outside parentheses and scripting blocks.
func (p *parser) flowEnd(stop int) int {
	if p.is(wBegin) || p.is(wDeclare) || p.is(wCreate) || p.is(wAlter) {
		return stop
	}
	for i := p.at; i < stop; i++ {
		switch t := p.tokens[i]; {
		case t.kind != tokenOp:
		case t.op == '(':
			i = int(p.match[i])
		case t.op == opFlow:
			return i
		}
	}
	return stop
}

// statement reads one statement of any kind.
func (p *parser) statement() statement {
	p.enter()
	defer p.leave()
	mark := p.mark()
	t := p.cur()
	if p.isOp('(') || p.is(wSelect) || p.is(wValues) || p.is(wWith) && !p.definesProcedure() {
		q := p.query()
		return &queryStmt{span: p.since(mark), query: q}
	}
	if t.kind != tokenWord {
		p.expected("a statement")
	}
	switch t.word {
	case wInsert:
		return p.insert()
	case wUpdate:
		return p.update()
	case wDelete:
		return p.delete()
	case wMerge:
		return p.merge()
	case wSet:
		return p.stuckOr("SET", p.set)
	case wCall:
		return p.stuckOr("CALL", p.callStatement)
	case wWith:
		return p.stuckOr("CALL", p.anonymousCall)
	case wExplain:
		return p.explain()
	case wBegin:
		if !p.beginsTransaction() {
			return p.block()
		}
	case wDeclare:
		return p.block()
	case wExecute:
		if p.isTextAt(1, "IMMEDIATE") {
			return p.stuckOr("EXECUTE_IMMEDIATE", p.immediate)
		}
	}
	switch {
	case p.isText("COPY") && p.peek(1).word == wInto:
		kind := Kind("COPY_INTO_TABLE")
		if k := p.peek(2).kind; k == tokenStage || k == tokenString {
			kind = "COPY_INTO_LOCATION"
		}
		return p.stuckOr(kind, p.copyInto)
	case p.isText("UNSET"):
		return p.stuckOr("UNSET", p.unset)
	}
	return p.command()
}

func (p *parser) isTextAt(n int, word string) bool {
	p.at += n
	defer func() { p.at -= n }()
	return p.isText(word)
}

// beginsTransaction tells BEGIN of a transaction from BEGIN of a block.
func (p *parser) beginsTransaction() bool {
	t := p.peek(1)
	return t.kind == tokenEnd || t.kind == tokenWord && (t.word == wTransaction || t.word == wWork || t.word == wTran || t.word == wName)
}

// definesProcedure tells WITH p AS PROCEDURE … from a query.
func (p *parser) definesProcedure() bool {
	n := 2
	if p.isOpAt(2, '(') && p.at+2 < p.stop {
		n = int(p.match[p.at+2]) - p.at + 1
	}
	return p.peek(n).word == wAs && p.peek(n+1).word == wProcedure
}

func (p *parser) explain() statement {
	mark := p.mark()
	p.at++
	if p.word(wUsing) {
		p.ident()
	}
	s := &explainStmt{inner: p.statement()}
	s.span = p.since(mark)
	return s
}

func (p *parser) set() statement {
	mark := p.mark()
	p.at++
	s := &setStmt{}
	if p.isOp('(') {
		for _, n := range p.identList() {
			s.names = append(s.names, n.name)
		}
	} else {
		s.names = []string{p.ident().name}
	}
	p.needOp('=')
	if len(s.names) > 1 && p.isOp('(') && !p.parenIsQuery() {
		p.parenthesised(func() { s.values = append(s.values, p.expr()) })
	} else {
		s.values = []expr{p.expr()}
	}
	s.span = p.since(mark)
	return s
}

func (p *parser) unset() statement {
	mark := p.mark()
	p.at++
	s := &setStmt{unset: true}
	if p.isOp('(') {
		for _, n := range p.identList() {
			s.names = append(s.names, n.name)
		}
	} else {
		s.names = []string{p.ident().name}
	}
	s.span = p.since(mark)
	return s
}

func (p *parser) callStatement() statement {
	mark := p.mark()
	p.at++
	c := &call{name: p.name()}
	if c.name.dynamic == nil || p.isOp('(') {
		p.callRest(c)
	}
	c.span = p.since(mark)
	p.callInto()
	return &callStmt{span: p.since(mark), call: c}
}

func (p *parser) callInto() {
	if p.word(wInto) {
		p.needOp(':')
		p.ident()
	}
}

// anonymousCall reads WITH p AS PROCEDURE … CALL p(…). The definition is code
// that is not read here; the call at its end is.
func (p *parser) anonymousCall() statement {
	mark := p.mark()
	last := -1
	for i := p.at; i < p.stop; i++ {
		if t := p.tokens[i]; t.kind == tokenOp && t.op == '(' {
			i = int(p.match[i])
		} else if t.kind == tokenWord && t.word == wCall {
			last = i
		}
	}
	if last < 0 {
		p.expected("CALL")
	}
	p.at = last
	s := p.callStatement().(*callStmt)
	s.anonymous = true
	s.span = p.since(mark)
	return s
}

func (p *parser) immediate() statement {
	mark := p.mark()
	p.at += 2
	s := &immediateStmt{}
	if p.word(wFrom) {
		s.from = p.location()
		for p.cur().kind == tokenOp && !p.isOp('(') && (p.isOp('/') || p.isOp('.') || p.isOp('-')) || p.isName(0) && !p.is(wUsing) {
			p.at++
		}
	} else {
		s.body = p.expr()
	}
	if p.word(wUsing) {
		p.parenthesised(func() {
			v := p.expr()
			if p.op(opNamed) {
				v = p.expr()
			}
			s.using = append(s.using, v)
		})
	}
	s.span = p.since(mark)
	return s
}
