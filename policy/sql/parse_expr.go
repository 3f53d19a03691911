package sql

func (p *parser) exprList() (list []expr) {
	for {
		list = append(list, p.expr())
		if !p.op(',') {
			return list
		}
	}
}

// expr reads an operator chain. Precedence does not matter to lineage, so the
// chain stays flat; only its operands recurse.
func (p *parser) expr() expr { return p.chain(false) }

// chain reads operands and operators; arithmetic stops before AND, OR and
// comparisons, for BETWEEN and POSITION.
func (p *parser) chain(arithmetic bool) expr {
	p.enter()
	defer p.leave()
	mark := p.mark()
	first := p.operand()
	var o *operation
	add := func(list ...expr) {
		if o == nil {
			o = &operation{args: []expr{first}}
		}
		o.args = append(o.args, list...)
	}
	for {
		t := p.cur()
		more := false
		switch {
		case t.kind == tokenOp:
			more = p.binary(t.op, arithmetic, add)
		case t.kind == tokenWord && t.word != wordNone:
			more = p.wordOperator(arithmetic, add)
		}
		if !more {
			break
		}
	}
	if o == nil {
		return first
	}
	o.span = p.since(mark)
	return o
}

func (p *parser) binary(op opcode, arithmetic bool, add func(...expr)) bool {
	switch op {
	case '+', '-', '*', '/', '%', opConcat:
	case '=', '<', '>', '|', '&', '^', opNotEqual, opLess, opMore, opBang:
		if arithmetic {
			return false
		}
	case opSpread:
		if arithmetic {
			return false
		}
	default:
		return false
	}
	p.at++
	if (p.is(wAny) || p.is(wAll) || p.is(wSome)) && p.isOpAt(1, '(') {
		p.at++
	}
	add(p.operand())
	return true
}

// wordOperator reads AND, OR, IS, IN, LIKE, BETWEEN, COLLATE, AT TIME ZONE.
func (p *parser) wordOperator(arithmetic bool, add func(...expr)) bool {
	if arithmetic && !p.is(wCollate) && !p.is(wAt, wTime, wZone) {
		return false
	}
	not := 0
	if p.is(wNot) {
		not = 1
	}
	switch p.peek(not).word {
	case wAnd, wOr:
		if not == 1 {
			return false
		}
		p.at++
		add(p.operand())
	case wIs:
		if not == 1 {
			return false
		}
		p.at++
		p.isPredicate(add)
	case wIn:
		p.at += 1 + not
		p.inList(add)
	case wLike, wIlike, wRlike, wRegexp:
		p.at += 1 + not
		if (p.is(wAny) || p.is(wAll) || p.is(wSome)) && p.isOpAt(1, '(') {
			p.at++
		}
		add(p.chain(true))
		if p.word(wEscape) {
			add(p.operand())
		}
	case wBetween:
		p.at += 1 + not
		add(p.chain(true))
		p.needWord(wAnd)
		add(p.chain(true))
	case wCollate:
		if not == 1 {
			return false
		}
		p.at++
		add(p.operand())
	case wAt:
		if !p.is(wAt, wTime, wZone) {
			return false
		}
		p.at += 3
		add(p.operand())
	default:
		return false
	}
	return true
}

func (p *parser) isPredicate(add func(...expr)) {
	p.word(wNot)
	switch {
	case p.word(wDistinct):
		p.needWord(wFrom)
		add(p.operand())
	case p.oneOf(wNull, wTrue, wFalse):
		add()
	default:
		p.expected("NULL, TRUE, FALSE or DISTINCT FROM")
	}
}

func (p *parser) inList(add func(...expr)) {
	if !p.isOp('(') {
		add(p.operand())
		return
	}
	if p.parenIsQuery() {
		add(p.subqueryExpr())
		return
	}
	p.at++
	if !p.op(')') {
		add(p.exprList()...)
		p.needOp(')')
	}
}

func (p *parser) subqueryExpr() expr {
	mark := p.mark()
	p.needOp('(')
	s := &subquery{query: p.query()}
	p.needOp(')')
	s.span = p.since(mark)
	return s
}

// operand reads prefix operators, a primary and what follows it.
func (p *parser) operand() expr {
	start := p.mark()
	for {
		t := p.cur()
		switch {
		case t.kind == tokenOp && (t.op == '-' || t.op == '+' || t.op == '~' || t.op == '!'),
			t.kind == tokenWord && (t.word == wNot || t.word == wConnectByRoot),
			t.kind == tokenWord && t.word == wPrior && p.isName(1):
			p.at++
			continue
		}
		mark := p.mark()
		x := p.postfix(mark, p.primary())
		if mark > start {
			return &operation{span: p.since(start), args: []expr{x}}
		}
		return x
	}
}

// postfix reads ::type, :path, [index], .field and .method().
func (p *parser) postfix(mark int, x expr) expr {
	for {
		t := p.cur()
		if t.kind != tokenOp {
			return x
		}
		switch t.op {
		case opCast:
			p.at++
			p.typeName()
			x = &cast{span: p.since(mark), x: x}
		case ':':
			if _, constant := x.(*literal); constant || !p.isName(1) && !p.isOpAt(1, '[') {
				return x // x[1:n] is a slice, not a path into 1
			}
			p.at++
			if !p.isOp('[') {
				p.ident()
			}
			p.fields()
			x = &path{span: p.since(mark), x: x}
		case '[':
			p.at++
			i := &index{x: x}
			if !p.isOp(':') {
				i.args = append(i.args, p.expr())
			}
			if p.op(':') && !p.isOp(']') {
				i.args = append(i.args, p.expr())
			}
			p.needOp(']')
			p.fields()
			i.span = p.since(mark)
			x = i
		case '.':
			if !p.isName(1) && p.peek(1).kind != tokenVariable {
				return x
			}
			p.at++
			if p.cur().kind == tokenVariable {
				p.at++
				x = &path{span: p.since(mark), x: x}
				continue
			}
			field := p.ident()
			if !p.isOp('(') {
				x = &path{span: p.since(mark), x: x}
				continue
			}
			x = p.methodCall(mark, x, field)
		case '!':
			if !p.isName(1) {
				return x
			}
			p.at++
			x = p.methodCall(mark, x, p.ident())
		case '(':
			if _, ok := x.(*columnRef); ok && p.isOpAt(1, '+') && p.isOpAt(2, ')') {
				p.at += 3 // outer join marker
				continue
			}
			return x
		default:
			return x
		}
	}
}

func (p *parser) fields() {
	for p.isOp('.') && p.isName(1) {
		p.at += 2
	}
}

func (p *parser) methodCall(mark int, receiver expr, method ident) expr {
	c := &call{method: receiver, name: &name{parts: []ident{method}}}
	if p.isOp('(') {
		p.callRest(c)
	}
	c.span = p.since(mark)
	return c
}
