package sql

func (p *parser) insert() statement {
	mark := p.mark()
	p.needWord(wInsert)
	overwrite := p.word(wOverwrite)
	if p.is(wAll) || p.is(wFirst) {
		p.at++
		return p.insertAll(mark, overwrite)
	}
	p.needWord(wInto)
	p.word(wTable)
	s := &insertStmt{overwrite: overwrite, target: p.name()}
	if p.isOp('(') && !p.startsQuery(0) {
		s.columns = p.columnNames()
	}
	p.word(wBy, wName)
	s.query = p.query()
	s.span = p.since(mark)
	return s
}

func (p *parser) insertAll(mark int, overwrite bool) statement {
	s := &insertAllStmt{overwrite: overwrite}
	p.insertBranches(s)
	for p.word(wWhen) {
		s.conditions = append(s.conditions, p.expr())
		p.needWord(wThen)
		p.insertBranches(s)
	}
	if p.word(wElse) {
		p.insertBranches(s)
	}
	s.query = p.query()
	s.span = p.since(mark)
	return s
}

func (p *parser) insertBranches(s *insertAllStmt) {
	for p.word(wInto) {
		b := insertBranch{target: p.name()}
		if p.isOp('(') && !p.startsQuery(0) {
			p.columnNames()
		}
		if p.word(wValues) {
			for _, row := range p.valueRows() {
				b.values = append(b.values, row...)
			}
		}
		s.branches = append(s.branches, b)
	}
}

func (p *parser) update() statement {
	mark := p.mark()
	p.needWord(wUpdate)
	s := &updateStmt{target: p.joins()}
	if p.word(wFrom) {
		s.from = p.fromList()
	}
	p.needWord(wSet)
	s.sets = p.assignments()
	if p.word(wFrom) {
		s.from = append(s.from, p.fromList()...)
	}
	if p.word(wWhere) {
		s.where = p.expr()
	}
	s.span = p.since(mark)
	return s
}

func (p *parser) assignments() (list []expr) {
	for {
		p.dotted()
		p.needOp('=')
		if p.is(wDefault) {
			p.at++
		} else {
			list = append(list, p.expr())
		}
		if !p.op(',') {
			return list
		}
	}
}

func (p *parser) delete() statement {
	mark := p.mark()
	p.needWord(wDelete)
	p.needWord(wFrom)
	s := &deleteStmt{target: p.table()}
	if p.word(wUsing) {
		s.using = p.fromList()
	}
	if p.word(wWhere) {
		s.where = p.expr()
	}
	s.span = p.since(mark)
	return s
}

func (p *parser) merge() statement {
	mark := p.mark()
	p.needWord(wMerge)
	p.needWord(wInto)
	s := &mergeStmt{target: p.table()}
	p.needWord(wUsing)
	s.source = p.joins()
	p.needWord(wOn)
	s.conditions = append(s.conditions, p.expr())
	for p.word(wWhen) {
		p.word(wNot)
		p.needWord(wMatched)
		if p.word(wBy) && !p.textWord("SOURCE") {
			p.needText("TARGET")
		}
		if p.word(wAnd) {
			s.conditions = append(s.conditions, p.expr())
		}
		p.needWord(wThen)
		p.mergeAction(s)
	}
	s.span = p.since(mark)
	return s
}

func (p *parser) mergeAction(s *mergeStmt) {
	switch {
	case p.word(wDelete):
	case p.word(wUpdate):
		if p.word(wAll, wBy, wName) {
			s.storesAll = true
			return
		}
		p.needWord(wSet)
		s.stored = append(s.stored, p.assignments()...)
	case p.word(wInsert):
		if p.word(wAll, wBy, wName) {
			s.storesAll = true
			return
		}
		if p.isOp('(') {
			p.columnNames()
		}
		p.needWord(wValues)
		for _, row := range p.valueRows() {
			s.stored = append(s.stored, row...)
		}
	default:
		p.expected("UPDATE, DELETE or INSERT")
	}
}

// copyInto reads COPY INTO a table or a location.
func (p *parser) copyInto() statement {
	mark := p.mark()
	p.at += 2
	s := &copyStmt{}
	if p.cur().kind == tokenStage || p.cur().kind == tokenString {
		s.unload = true
		s.location = p.location()
	} else {
		s.target = p.name()
		if p.isOp('(') && !p.startsQuery(0) {
			s.columns = p.columnNames()
		}
	}
	switch {
	case !s.unload && !p.is(wFrom): // from the table's own stage
		s.source = &stageTable{span: s.target.span, text: "@%" + s.target.parts[len(s.target.parts)-1].name}
	case p.word(wFrom) && p.isOp('(') && p.parenIsQuery():
		p.at++
		s.query = p.query()
		p.needOp(')')
	default:
		s.source = p.table()
	}
	for !p.done() {
		p.copyOption(s)
	}
	s.span = p.since(mark)
	return s
}

// location reads a stage or a URL.
func (p *parser) location() string {
	if p.cur().kind == tokenStage || p.cur().kind == tokenFile {
		p.at++
		return p.textOf(p.tokens[p.at-1])
	}
	return p.stringValue()
}

// copyOption reads NAME = value, or PARTITION BY (…).
func (p *parser) copyOption(s *copyStmt) {
	if p.word(wPartition, wBy) {
		s.extra = append(s.extra, p.expr())
		return
	}
	p.op(',')
	key := p.ident().name
	if !p.op('=') {
		if key == "VALIDATE" || p.done() {
			s.options = append(s.options, optionWord{key: key})
			return
		}
		p.expected("=")
	}
	switch t := p.cur(); {
	case p.isOp('('):
		p.skipParens()
	case p.isString(0), t.kind == tokenNumber, t.kind == tokenWord, t.kind == tokenQuoted, t.kind == tokenVariable:
		s.options = append(s.options, optionWord{key: key, value: p.textOf(t)})
		p.at++
		for p.isOp('.') && p.isName(1) {
			p.at += 2
		}
	case p.isOp('?'), p.isOp(':'):
		p.primary()
	default:
		p.expected("an option's value")
	}
}
