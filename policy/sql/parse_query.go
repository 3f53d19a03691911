package sql

// startsQuery tells whether a query starts n tokens on, behind any
// parentheses.
func (p *parser) startsQuery(n int) bool {
	for start := n; p.isOpAt(n, '('); n++ {
		if n-start > maxDepth { // deeper than anything that can be parsed
			return false
		}
	}
	t := p.peek(n)
	if t.kind != tokenWord {
		return false
	}
	switch t.word {
	case wSelect, wWith:
		return true
	case wValues:
		return p.isOpAt(n+1, '(')
	}
	return false
}

// parenIsQuery tells whether the '(' at the cursor encloses a query, rather
// than a join or an expression that starts with a query in parentheses.
func (p *parser) parenIsQuery() bool {
	if !p.startsQuery(1) {
		return false
	}
	if p.peek(1).word == wValues {
		return p.valuesIsQuery(p.at + 2)
	}
	at := p.at + 1
	for p.tokens[at].kind == tokenOp { // only '(' can stand here
		after := int(p.match[at]) + 1
		if after >= p.stop {
			return true
		}
		t := p.tokens[after]
		if t.kind == tokenOp && t.op == ')' {
			at++
			continue
		}
		return t.kind == tokenWord && (setOperatorWords[t.word] || t.word == wOrder || t.word == wLimit ||
			t.word == wOffset || t.word == wFetch)
	}
	return true
}

// valuesIsQuery tells whether the rows of a VALUES are the whole of what the
// parentheses hold, or a table with an alias.
func (p *parser) valuesIsQuery(at int) bool {
	for at < p.stop && p.tokens[at].kind == tokenOp && p.tokens[at].op == '(' {
		at = int(p.match[at]) + 1
		if at >= p.stop || p.tokens[at].kind != tokenOp || p.tokens[at].op != ',' {
			break
		}
		at++
	}
	if at >= p.stop {
		return true
	}
	t := p.tokens[at]
	return t.kind == tokenOp || t.kind == tokenWord && (setOperatorWords[t.word] || t.word == wOrder || t.word == wLimit)
}

var setOperatorWords = keywordSet(wUnion, wExcept, wMinus, wIntersect)

// query reads [WITH …] body [ORDER BY …] [LIMIT …].
func (p *parser) query() *query {
	p.enter()
	defer p.leave()
	mark := p.mark()
	q := &query{}
	if p.word(wWith) {
		q.recursive = p.word(wRecursive)
		for {
			q.with = append(q.with, p.cte())
			if !p.op(',') || p.is(wSelect) { // a trailing comma is legal
				break
			}
		}
	}
	q.body = p.setOperations(false)
	p.queryTail(q)
	q.span = p.since(mark)
	return q
}

func (p *parser) cte() *cte {
	mark := p.mark()
	c := &cte{name: p.ident()}
	if p.isOp('(') && !p.startsQuery(0) {
		c.columns = p.identList()
	}
	p.needWord(wAs)
	p.textWord("MATERIALIZED")
	p.textWord("IMMUTABLE")
	if !p.isOp('(') {
		p.expected("(")
	}
	if p.parenIsQuery() {
		p.at++
		c.query = p.query()
	} else {
		p.at++
		c.macro = p.expr()
	}
	p.needOp(')')
	c.span = p.since(mark)
	return c
}

// setOperations reads terms joined by set operators, INTERSECT binding closer.
func (p *parser) setOperations(intersect bool) queryBody {
	mark := p.mark()
	term := func() queryBody {
		if intersect {
			return p.queryTerm()
		}
		return p.setOperations(true)
	}
	first := term()
	var s *setOp
	for {
		t := p.cur()
		if t.kind != tokenWord || !setOperatorWords[t.word] || (t.word == wIntersect) != intersect {
			break
		}
		p.at++
		op := setOperator{all: p.word(wAll) && t.word == wUnion}
		p.word(wDistinct)
		op.byName = p.word(wBy, wName)
		if s == nil {
			s = &setOp{terms: []queryBody{first}}
		}
		s.ops = append(s.ops, op)
		s.terms = append(s.terms, term())
	}
	if s == nil {
		return first
	}
	s.span = p.since(mark)
	return s
}

func (p *parser) queryTail(q *query) {
	if p.word(wOrder, wBy) {
		if p.is(wAll) && !p.isOpAt(1, '.') && !p.isOpAt(1, '(') {
			p.at++
			q.orderAll = true
			p.sortDirection()
		} else {
			q.order = p.orderList()
		}
	}
	for {
		switch {
		case p.word(wLimit):
			p.limitValue(q)
		case p.word(wOffset):
			p.limitValue(q)
			_ = p.textWord("ROW") || p.word(wRows)
		case p.word(wFetch):
			_ = p.word(wFirst) || p.textWord("NEXT")
			if !p.isText("ROW") && !p.is(wRows) && !p.isText("ONLY") && !p.done() && !p.isOp(')') {
				p.limitValue(q)
			}
			_ = p.textWord("ROW") || p.word(wRows)
			p.textWord("ONLY")
		case p.word(wFor, wUpdate):
			q.locking = true
			if !p.textWord("NOWAIT") && p.textWord("WAIT") {
				p.limitValue(q)
			}
		default:
			return
		}
	}
}

// limitValue reads a constant; Snowflake takes no expression here, and an
// expression would be an oracle.
func (p *parser) limitValue(q *query) {
	switch t := p.cur(); {
	case t.kind == tokenNumber, p.isString(0), p.is(wNull):
		p.at++
	case t.kind == tokenVariable, p.isOp('?'), p.isOp(':'):
		q.limits = append(q.limits, p.primary())
	case p.script && t.kind == tokenWord:
		q.limits = append(q.limits, p.nameExpr())
	default:
		p.expected("a constant")
	}
}

func (p *parser) sortDirection() {
	p.oneOf(wAsc, wDesc)
	if p.word(wNulls) {
		if !p.oneOf(wFirst, wLast) {
			p.expected("FIRST or LAST")
		}
	}
}

func (p *parser) orderList() (list []expr) {
	for {
		list = append(list, p.expr())
		p.sortDirection()
		if !p.op(',') {
			return list
		}
	}
}

func (p *parser) queryTerm() queryBody {
	p.enter()
	defer p.leave()
	switch {
	case p.op('('):
		q := p.query()
		p.needOp(')')
		return q
	case p.is(wWith):
		return p.query()
	case p.is(wValues):
		mark := p.mark()
		p.at++
		v := &values{rows: p.valueRows()}
		v.span = p.since(mark)
		return v
	}
	return p.selectCore()
}

func (p *parser) valueRows() (rows [][]expr) {
	for {
		var row []expr
		p.parenthesised(func() {
			if p.is(wDefault) {
				row = append(row, p.wordLiteral())
			} else {
				row = append(row, p.expr())
			}
		})
		rows = append(rows, row)
		if !p.op(',') {
			return rows
		}
	}
}

func (p *parser) selectCore() queryBody {
	mark := p.mark()
	p.needWord(wSelect)
	s := &selectCore{}
	if !p.word(wAll) {
		s.distinct = p.word(wDistinct)
	}
	if p.is(wTop) && p.peek(1).kind == tokenNumber {
		p.at += 2
	}
	p.selectItems(s)
	if p.word(wInto) {
		for {
			p.needOp(':')
			s.into = append(s.into, p.ident().name)
			if !p.op(',') {
				break
			}
		}
	}
	if p.word(wFrom) {
		s.from = p.fromList()
	}
	for p.selectClause(s) {
	}
	s.span = p.since(mark)
	return s
}

func (p *parser) selectItems(s *selectCore) {
	s.items = make([]selectItem, 0, 4)
	for {
		if len(s.items) > 0 && (p.is(wFrom) || p.isOp(')') || p.done()) {
			return // a trailing comma is legal
		}
		it := selectItem{value: p.itemValue()}
		it.alias = p.alias()
		s.items = append(s.items, it)
		if !p.op(',') {
			return
		}
	}
}

func (p *parser) itemValue() expr {
	if p.isOp('*') {
		mark := p.mark()
		p.at++
		return p.star(mark, nil)
	}
	return p.expr()
}

// selectClause reads one clause behind FROM.
func (p *parser) selectClause(s *selectCore) bool {
	switch {
	case p.is(wWhere):
		if s.where != nil {
			p.fail("a second WHERE")
		}
		p.at++
		s.where = p.expr()
	case p.word(wStart, wWith):
		s.connect = append(s.connect, p.expr())
	case p.word(wConnect, wBy):
		p.textWord("NOCYCLE")
		s.connect = append(s.connect, p.exprList()...)
	case p.word(wGroup, wBy):
		if p.is(wAll) && !p.isOpAt(1, '.') && !p.isOpAt(1, '(') {
			p.at++
			s.groupAll = true
			return true
		}
		p.groupList(s)
	case p.is(wHaving):
		if s.having != nil {
			p.fail("a second HAVING")
		}
		p.at++
		s.having = p.expr()
	case p.is(wQualify):
		if s.qualify != nil {
			p.fail("a second QUALIFY")
		}
		p.at++
		s.qualify = p.expr()
	case p.is(wWindow) && p.isName(1) && p.peek(2).word == wAs:
		p.at++
		for {
			n := p.ident().name
			p.needWord(wAs)
			w := p.window()
			s.windows = append(s.windows, &window{span: w.span, name: n, partition: w.partition, order: w.order, frame: w.frame})
			if !p.op(',') {
				return true
			}
		}
	default:
		return false
	}
	return true
}

func (p *parser) groupList(s *selectCore) {
	for {
		p.textWord("GROUPING", "SETS")
		s.group = append(s.group, p.expr())
		if !p.op(',') {
			return
		}
	}
}

// alias reads [AS] name, if one is there.
func (p *parser) alias() ident {
	if p.word(wAs) {
		if p.cur().kind == tokenString {
			at := int32(p.pos())
			return ident{name: p.stringValue(), quoted: true, at: at}
		}
		return p.ident()
	}
	t := p.cur()
	switch {
	case t.kind == tokenQuoted:
	case t.kind != tokenWord, p.isOpAt(1, '='), notAlias[t.word] && !p.lastWordAlias(t.word):
		return ident{}
	case t.word == wAt || t.word == wBefore || t.word == wChanges:
		if p.isOpAt(1, '(') {
			return ident{}
		}
	case p.is(wPartition, wBy):
		return ident{}
	}
	p.at++
	return p.identOf(t)
}

// lastWordAlias tells whether a word that could start a clause is an alias
// after all: nothing that it would need follows.
func (p *parser) lastWordAlias(w keyword) bool {
	next := p.peek(1)
	last := next.kind == tokenEnd || p.isOpAt(1, ')') || p.isOpAt(1, ',')
	switch w {
	case wLimit, wOffset, wExcept, wPivot, wUnpivot, wMatchRecognize, wWindow:
		return last && !p.script
	case wEnd:
		return next.kind == tokenEnd && !p.script && p.depth < 8
	}
	return false
}
