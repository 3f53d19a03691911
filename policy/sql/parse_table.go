package sql

import "strconv"

func (p *parser) fromList() (list []tableExpr) {
	for {
		list = append(list, p.joins())
		if !p.op(',') || p.is(wWhere) || p.is(wGroup) || p.is(wOrder) || p.is(wLimit) || p.done() || p.isOp(')') {
			return list
		}
	}
}

// joins reads a table and everything joined to it.
func (p *parser) joins() tableExpr {
	mark := p.mark()
	first := p.table()
	var chain *joinChain
	for {
		step, ok := p.joinStep()
		if !ok {
			break
		}
		if chain == nil {
			chain = &joinChain{first: first}
		}
		chain.steps = append(chain.steps, step)
	}
	if chain == nil {
		return first
	}
	chain.span = p.since(mark)
	return chain
}

func (p *parser) joinStep() (s joinStep, ok bool) {
	start := p.at
	s.natural = p.word(wNatural)
	asof := false
	switch {
	case p.oneOf(wInner, wCross):
	case p.word(wLeft):
		p.word(wOuter)
	case p.oneOf(wRight, wFull):
		s.outer = true
		p.word(wOuter)
	case p.word(wAsof):
		asof = true
	}
	p.word(wDirected)
	if !p.word(wJoin) {
		p.at = start
		return s, false
	}
	s.table = p.table()
	for {
		switch {
		case p.word(wMatchCondition):
			p.needOp('(')
			s.on = append(s.on, p.expr())
			p.needOp(')')
			asof = false
		case p.word(wOn):
			s.on = append(s.on, p.expr())
		case p.is(wUsing) && p.isOpAt(1, '('):
			p.at++
			p.parenthesised(func() {
				parts := p.dotted()
				s.using = append(s.using, parts[len(parts)-1])
			})
		default:
			if asof {
				p.expected("MATCH_CONDITION")
			}
			return s, true
		}
	}
}

// table reads one element of FROM with everything that may follow it.
func (p *parser) table() tableExpr {
	p.enter()
	defer p.leave()
	mark := p.mark()
	t := p.tableCore()
	p.tableVersion(tailOf(t))
	if !p.tableOperatorAhead() {
		if _, ok := t.(*joinChain); ok && (p.is(wAs) || p.peek(0).kind == tokenQuoted) {
			t = p.aliasedJoin(mark, t)
		}
		p.tableAlias(t)
		p.tableVersion(tailOf(t))
	}
	for {
		next := p.tableOperator(mark, t)
		if next == nil {
			return t
		}
		t = next
	}
}

// aliasedJoin makes (a JOIN b) AS c a query of all its columns.
func (p *parser) aliasedJoin(mark int, t tableExpr) tableExpr {
	sp := p.since(mark)
	body := &selectCore{span: sp, items: []selectItem{{value: &star{span: sp}}}, from: []tableExpr{t}}
	return &derivedTable{span: sp, query: &query{span: sp, body: body}, lateral: true}
}

// tailOf returns what may follow t, or nil for a join in parentheses.
func tailOf(t tableExpr) *tableTail {
	switch t := t.(type) {
	case *tableName:
		return &t.tableTail
	case *derivedTable:
		return &t.tableTail
	case *tableFunc:
		return &t.tableTail
	case *stageTable:
		return &t.tableTail
	case *flowTable:
		return &t.tableTail
	case *pivot:
		return &t.tableTail
	case *unpivot:
		return &t.tableTail
	case *matchRecognize:
		return &t.tableTail
	}
	return nil
}

func (p *parser) tableCore() tableExpr {
	mark := p.mark()
	lateral := p.word(wLateral)
	switch t := p.cur(); {
	case p.isOp('('):
		if p.parenIsQuery() {
			p.at++
			d := &derivedTable{query: p.query(), lateral: lateral}
			p.needOp(')')
			d.span = p.since(mark)
			return d
		}
		p.at++
		inner := p.joins()
		p.needOp(')')
		return inner
	case t.kind == tokenStage, t.kind == tokenString && !lateral:
		return p.stageTable()
	case t.kind == tokenVariable:
		n, err := strconv.Atoi(p.textOf(t)[1:])
		if err != nil {
			p.unsupported("a variable in FROM; use TABLE($name)")
		}
		p.at++
		return &flowTable{span: p.since(mark), n: n}
	case p.is(wValues) && p.isOpAt(1, '('):
		q := &query{body: p.queryTerm()}
		q.span = p.since(mark)
		return &derivedTable{span: q.span, query: q}
	case p.is(wTable) && p.isOpAt(1, '('):
		p.at++
		return p.tableCall(mark)
	case p.isText("SEMANTIC_VIEW") && p.isOpAt(1, '('):
		return p.semanticView()
	case p.is(wSelect):
		p.fail("a query in FROM needs parentheses")
	}
	return p.namedTable(mark)
}

func (p *parser) namedTable(mark int) tableExpr {
	n := p.name()
	if !p.isOp('(') || p.is(wAt) {
		return &tableName{span: p.since(mark), name: n}
	}
	if len(n.parts) == 1 && !n.parts[0].quoted {
		switch n.parts[0].name {
		case "AT", "BEFORE", "CHANGES":
			p.fail("a table name is missing")
		}
	}
	c := &call{name: n}
	p.callRest(c)
	c.span = p.since(mark)
	return &tableFunc{span: c.span, call: c}
}

// tableCall reads what stands in TABLE( … ).
func (p *parser) tableCall(mark int) tableExpr {
	p.needOp('(')
	var t tableExpr
	switch {
	case p.isString(0):
		n := &name{parts: p.nameFromText(p.stringValue()), text: true}
		n.span = p.since(mark)
		t = &tableName{name: n}
	case (p.cur().kind == tokenVariable || p.isOp('?')) && p.isOpAt(1, ')'), p.isOp(':') && p.isOpAt(2, ')'):
		n := &name{dynamic: p.primary()}
		n.span = p.since(mark)
		t = &tableName{name: n}
	case p.startsQuery(0):
		t = &derivedTable{query: p.query(), lateral: true}
	case p.is(wIdentifier) && p.isOpAt(1, '('):
		n := p.identifierCall()
		if p.isOp('(') {
			c := &call{name: n}
			p.callRest(c)
			c.span = p.since(mark)
			t = &tableFunc{call: c}
		} else {
			t = &tableName{name: n}
		}
	default:
		switch x := p.expr().(type) {
		case *call:
			t = &tableFunc{call: x}
		case *columnRef: // a script's result set, or a table as an argument
			t = &tableName{name: &name{span: x.span, parts: x.parts}}
		case *path, *index: // TABLE(f(x):y) and the like: rows of one value
			c := &call{span: p.since(mark), name: &name{span: p.since(mark), parts: []ident{{name: "FLATTEN"}}}, args: []argument{{value: x}}}
			t = &tableFunc{call: c}
		default:
			p.unsupported("TABLE of something that is neither a function, a name nor a query")
		}
	}
	p.needOp(')')
	if f, ok := t.(*tableFunc); ok && p.word(wOver) {
		f.call.over = p.window()
	}
	switch t := t.(type) {
	case *tableName:
		t.span = p.since(mark)
	case *derivedTable:
		t.span = p.since(mark)
	case *tableFunc:
		t.span = p.since(mark)
	}
	return t
}

func (p *parser) stageTable() tableExpr {
	mark := p.mark()
	t := &stageTable{}
	if p.cur().kind == tokenStage {
		t.text = p.textOf(p.cur())
		p.at++
	} else {
		t.text = p.stringValue()
	}
	if p.isOp('(') {
		for _, a := range p.plainArguments() {
			if _, ok := a.value.(*columnRef); !ok || a.name != "FILE_FORMAT" { // else a name
				t.args = append(t.args, a.value)
			}
		}
	}
	t.span = p.since(mark)
	return t
}

// semanticView reads SEMANTIC_VIEW(name …). Its parts are not resolved.
func (p *parser) semanticView() tableExpr {
	mark := p.mark()
	p.at++
	end := int(p.match[p.at])
	p.at++
	t := &tableName{name: p.name(), semantic: true}
	for p.at < end {
		if p.is(wSelect) || p.isOp(';') {
			p.unsupported("a query within SEMANTIC_VIEW")
		}
		p.at++
	}
	p.at = end + 1
	t.span = p.since(mark)
	return t
}

// tableVersion reads AT(…), BEFORE(…), CHANGES(…), END(…).
func (p *parser) tableVersion(tail *tableTail) {
	for (p.is(wAt) || p.is(wBefore) || p.is(wChanges) || p.is(wEnd)) && p.isOpAt(1, '(') {
		if tail == nil {
			p.fail("time travel on a join")
		}
		tail.changes = tail.changes || p.is(wChanges)
		p.at++
		for _, a := range p.plainArguments() {
			if ref, ok := a.value.(*columnRef); ok && len(ref.parts) == 1 && (a.name == "INFORMATION" || a.name == "STREAM") {
				continue // a keyword or the name of a stream
			}
			tail.historic = append(tail.historic, a.value)
		}
	}
}

func (p *parser) tableAlias(t tableExpr) {
	tail := tailOf(t)
	a := p.alias()
	if a.name == "" {
		return
	}
	if tail == nil {
		p.unsupported("an alias on a join in parentheses")
	}
	if tail.alias != "" {
		p.unsupported("a second alias")
	}
	tail.alias = a.name
	if p.isOp('(') {
		p.parenthesised(func() {
			tail.columns = append(tail.columns, p.ident())
			if p.cur().kind == tokenWord { // column types, as in a row definition
				p.typeName()
			}
		})
	}
}

func (p *parser) tableOperatorAhead() bool {
	return p.is(wPivot) && p.isOpAt(1, '(') || p.is(wUnpivot) || p.is(wMatchRecognize) && p.isOpAt(1, '(') ||
		p.is(wSample) || p.is(wTablesample)
}

// tableOperator reads one of SAMPLE, PIVOT, UNPIVOT, MATCH_RECOGNIZE behind
// source; nil if none follows.
func (p *parser) tableOperator(mark int, source tableExpr) tableExpr {
	var t tableExpr
	switch {
	case p.oneOf(wSample, wTablesample):
		if !p.isOp('(') {
			p.ident() // BERNOULLI, SYSTEM, ROW, BLOCK
		}
		p.sampleSize(tailOf(source))
		if p.textWord("SEED") || p.textWord("REPEATABLE") {
			p.sampleSize(tailOf(source))
		}
		if tail := tailOf(source); tail == nil || tail.alias == "" {
			p.tableAlias(source)
		}
		return source
	case p.is(wPivot) && p.isOpAt(1, '('):
		t = p.pivot(source)
	case p.is(wUnpivot):
		t = p.unpivot(source)
	case p.is(wMatchRecognize) && p.isOpAt(1, '('):
		t = p.matchRecognize(source)
	default:
		return nil
	}
	p.tableAlias(t)
	switch t := t.(type) {
	case *pivot:
		t.span = p.since(mark)
	case *unpivot:
		t.span = p.since(mark)
	case *matchRecognize:
		t.span = p.since(mark)
	}
	return t
}

// sampleSize reads a number, a variable or a bind, and ROWS, in parentheses.
func (p *parser) sampleSize(tail *tableTail) {
	p.needOp('(')
	if p.cur().kind == tokenVariable || p.isOp('?') || p.isOp(':') {
		if tail == nil {
			p.unsupported("a join that is sampled by a variable")
		}
		tail.historic = append(tail.historic, p.primary())
	} else if p.cur().kind != tokenNumber {
		p.expected("a number")
	} else {
		p.at++
	}
	_ = p.word(wRows) || p.textWord("ROW") || p.textWord("PERCENT")
	p.needOp(')')
}

func (p *parser) aliasedList() (list []selectItem) {
	for {
		it := selectItem{value: p.expr()}
		it.alias = p.alias()
		list = append(list, it)
		if !p.op(',') {
			return list
		}
	}
}
