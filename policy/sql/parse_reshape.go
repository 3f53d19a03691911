package sql

func (p *parser) pivot(source tableExpr) tableExpr {
	p.at += 2
	t := &pivot{source: source, aggs: p.aliasedList()}
	p.needWord(wFor)
	t.column = p.columnName()
	p.needWord(wIn)
	p.needOp('(')
	switch {
	case p.word(wAny):
		t.any = true
		if p.word(wOrder, wBy) {
			t.order = p.orderList()
		}
	case p.startsQuery(0):
		t.any = true
		t.query = p.query()
	default:
		t.in = p.aliasedList()
	}
	p.needOp(')')
	if p.word(wDefault) {
		p.needWord(wOn)
		p.needWord(wNull)
		p.needOp('(')
		t.orElse = p.expr()
		p.needOp(')')
	}
	p.needOp(')')
	return t
}

func (p *parser) columnName() *columnRef {
	mark := p.mark()
	c := &columnRef{parts: p.dotted()}
	c.span = p.since(mark)
	return c
}

func (p *parser) unpivot(source tableExpr) tableExpr {
	p.at++
	if p.textWord("INCLUDE") || p.word(wExclude) {
		p.needWord(wNulls)
	}
	p.needOp('(')
	t := &unpivot{source: source, value: p.ident()}
	p.needWord(wFor)
	t.name = p.ident()
	p.needWord(wIn)
	p.parenthesised(func() {
		t.columns = append(t.columns, p.columnName())
		p.word(wAs)
		if p.isString(0) {
			p.stringValue()
		} else if p.isName(0) {
			p.ident()
		}
	})
	p.needOp(')')
	return t
}

func (p *parser) matchRecognize(source tableExpr) tableExpr {
	p.at += 2
	t := &matchRecognize{source: source}
	if p.word(wPartition, wBy) {
		t.partition = p.exprList()
	}
	if p.word(wOrder, wBy) {
		t.order = p.orderList()
	}
	if p.textWord("MEASURES") {
		for {
			_ = p.textWord("FINAL") || p.textWord("RUNNING")
			it := selectItem{value: p.expr()}
			p.word(wAs)
			it.alias = p.ident()
			t.measures = append(t.measures, it)
			if !p.op(',') {
				break
			}
		}
	}
	if p.textWord("ONE") {
		p.needText("ROW", "PER", "MATCH")
	} else if p.word(wAll, wRows) {
		p.needText("PER", "MATCH")
		t.allRows = true
		_ = p.textWord("SHOW", "EMPTY", "MATCHES") || p.textWord("OMIT", "EMPTY", "MATCHES") || p.textWord("WITH", "UNMATCHED", "ROWS")
	}
	if p.textWord("AFTER") {
		p.needText("MATCH", "SKIP")
		for !p.isText("PATTERN") {
			if p.cur().kind != tokenWord && p.cur().kind != tokenQuoted {
				p.expected("PATTERN")
			}
			p.at++
		}
	}
	p.needText("PATTERN")
	p.skipParens()
	if p.textWord("SUBSET") {
		for !p.isText("DEFINE") && !p.isOp(')') {
			if p.isOp('(') {
				p.skipParens()
				continue
			}
			if p.done() {
				p.expected("DEFINE")
			}
			p.at++
		}
	}
	if p.textWord("DEFINE") {
		for {
			p.ident()
			p.needWord(wAs)
			t.define = append(t.define, p.expr())
			if !p.op(',') {
				break
			}
		}
	}
	p.needOp(')')
	return t
}
