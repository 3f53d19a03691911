package sql

import "strings"

// callRest reads the arguments of a call and everything that may follow them.
func (p *parser) callRest(c *call) {
	p.needOp('(')
	p.arguments(c)
	if p.word(wWithin) {
		p.needWord(wGroup)
		p.needOp('(')
		if !p.word(wOrder, wBy) {
			p.expected("ORDER BY")
		}
		c.order = append(c.order, p.orderList()...)
		p.needOp(')')
	}
	if p.is(wFilter) && p.isOpAt(1, '(') {
		p.at += 2
		p.needWord(wWhere)
		c.filter = p.expr()
		p.needOp(')')
	}
	if p.is(wFrom) && (p.peek(1).word == wFirst || p.peek(1).word == wLast) {
		p.at += 2
	}
	p.nullTreatment()
	if p.word(wOver) {
		c.over = p.window()
	}
}

// plainArguments reads arguments behind which nothing may follow.
func (p *parser) plainArguments() []argument {
	c := &call{}
	p.needOp('(')
	p.arguments(c)
	if len(c.order) > 0 || c.distinct {
		p.fail("an order where only options are expected")
	}
	return c.args
}

func (p *parser) nullTreatment() {
	if (p.is(wIgnore) || p.is(wRespect)) && p.peek(1).word == wNulls {
		p.at += 2
	}
}

// fromArguments are the functions that take FROM or FOR between arguments.
func fromArguments(fn string) bool {
	switch fn {
	case "TRIM", "LTRIM", "RTRIM", "SUBSTRING", "SUBSTR", "OVERLAY", "DATE_PART":
		return true
	}
	return false
}

func (p *parser) arguments(c *call) {
	fn := ""
	if c.name != nil && len(c.name.parts) == 1 && c.method == nil {
		fn = c.name.parts[0].name
	}
	if !p.word(wAll) {
		c.distinct = p.word(wDistinct)
	}
	if fn == "TRIM" && (p.isText("BOTH") || p.isText("LEADING") || p.isText("TRAILING")) && !p.isOpAt(1, ',') && !p.isOpAt(1, ')') {
		p.at++
		if p.word(wFrom) {
			c.args = append(c.args, argument{value: p.expr()})
		}
	}
	for !p.isOp(')') {
		a := argument{}
		if p.isName(0) && p.isOpAt(1, opNamed) {
			a.name = p.ident().name
			p.at++
		}
		a.value = p.argumentValue(fn, len(c.args))
		c.args = append(c.args, a)
		if p.word(wOrder, wBy) {
			c.order = append(c.order, p.orderList()...)
		}
		p.nullTreatment()
		if p.word(wAs) { // keys of object-like constructors
			p.ident()
		}
		for fromArguments(fn) && p.oneOf(wFrom, wFor) {
			c.args = append(c.args, argument{value: p.expr()})
		}
		if !p.op(',') {
			break
		}
	}
	p.needOp(')')
}

func (p *parser) argumentValue(fn string, i int) expr {
	mark := p.mark()
	switch t := p.cur(); {
	case p.isOp('*'), p.isOp(opSpread):
		return p.element()
	case p.is(wTable) && (p.isOpAt(1, '(') || p.isName(1)):
		p.at++
		a := &tableArg{}
		if p.isOp('(') {
			a.table = p.tableCall(mark)
		} else {
			n := p.name()
			a.table = &tableName{span: n.span, name: n}
		}
		if p.word(wPartition, wBy) { // TABLE(x) PARTITION BY y
			list := &collection{args: p.exprList()}
			list.args = append(list.args, a)
			a.span = p.since(mark)
			list.span = a.span
			return list
		}
		a.span = p.since(mark)
		return a
	case !p.isOp('(') && p.startsQuery(0):
		s := &subquery{query: p.query()}
		s.span = p.since(mark)
		return s
	case t.kind == tokenWord && takesDatePart(fn, i) && isDatePart(p.textOf(t)) &&
		(p.isOpAt(1, ',') || p.isOpAt(1, ')') || p.peek(1).word == wFrom):
		return &columnRef{parts: []ident{p.ident()}, datePart: true, span: p.since(mark)}
	}
	if l := p.lambda(); l != nil {
		return l
	}
	return p.expr()
}

// lambda reads x -> e, x TYPE -> e, (x, y) -> e; nil if none is there.
func (p *parser) lambda() expr {
	mark := p.mark()
	var params []string
	switch {
	case p.isName(0) && p.isOpAt(1, opArrow):
		params = []string{p.ident().name}
	case p.isName(0) && p.peek(1).kind == tokenWord && p.isOpAt(2, opArrow):
		params = []string{p.ident().name}
		p.at++
	case p.isOp('(') && p.isName(1):
		close := int(p.match[p.at])
		if close+1 >= p.stop || p.tokens[close+1].kind != tokenOp || p.tokens[close+1].op != opArrow {
			return nil
		}
		p.parenthesised(func() {
			params = append(params, p.ident().name)
			if p.cur().kind == tokenWord {
				p.typeName()
			}
		})
	default:
		return nil
	}
	p.needOp(opArrow)
	l := &lambda{params: params, body: p.expr()}
	l.span = p.since(mark)
	return l
}

// window reads what follows OVER: a name or a specification.
func (p *parser) window() *window {
	mark := p.mark()
	w := &window{}
	if !p.isOp('(') {
		w.name = p.ident().name
		w.span = p.since(mark)
		return w
	}
	p.at++
	if p.isName(0) && !p.is(wPartition) && !p.is(wOrder) && !p.is(wRows) && !p.is(wRange) && !p.isText("GROUPS") {
		w.name = p.ident().name
	}
	if p.word(wPartition, wBy) {
		w.partition = p.exprList()
	}
	if p.word(wOrder, wBy) {
		w.order = p.orderList()
	}
	if p.oneOf(wRows, wRange) || p.textWord("GROUPS") {
		p.frame(w)
	}
	p.needOp(')')
	w.span = p.since(mark)
	return w
}

func (p *parser) frame(w *window) {
	bound := func() {
		switch {
		case p.textWord("UNBOUNDED"):
		case p.textWord("CURRENT"):
			p.needText("ROW")
			return
		default:
			w.frame = append(w.frame, p.chain(true))
		}
		if !p.textWord("PRECEDING") {
			p.needText("FOLLOWING")
		}
	}
	if p.word(wBetween) {
		bound()
		p.needWord(wAnd)
		bound()
	} else {
		bound()
	}
	if p.word(wExclude) {
		_ = p.textWord("CURRENT", "ROW") || p.word(wGroup) || p.textWord("TIES") || p.textWord("NO", "OTHERS")
	}
}

// typeName reads a data type and drops it: types carry no data.
func (p *parser) typeName() {
	p.enter()
	defer p.leave()
	parts := p.dotted()
	switch parts[len(parts)-1].name {
	case "DOUBLE":
		p.textWord("PRECISION")
	case "CHAR", "CHARACTER", "NCHAR", "BINARY":
		p.textWord("VARYING")
	case "TIMESTAMP", "TIME":
		if (p.is(wWith) || p.isText("WITHOUT")) && (p.peek(1).word == wTime || p.peek(2).word == wTime) {
			p.at++
			p.textWord("LOCAL")
			p.needWord(wTime)
			p.needWord(wZone)
		}
	case "INTERVAL":
		for p.cur().kind == tokenWord && (isDatePart(p.textOf(p.cur())) || p.isText("TO")) {
			p.at++
		}
	}
	if !p.isOp('(') || p.isOpAt(1, '+') && p.isOpAt(2, ')') {
		return
	}
	p.at++
	for !p.op(')') {
		switch t := p.cur(); {
		case t.kind == tokenNumber, p.isOp(','):
			p.at++
		case p.isName(0):
			if next := p.peek(1); next.kind == tokenWord && next.word != wNot { // name type
				p.at++
			}
			p.typeName()
			p.word(wNot, wNull)
		default:
			p.expected("a type")
		}
	}
}

// dateParts are the words that date functions and intervals take for a unit.
var dateParts = func() map[string]bool {
	m := map[string]bool{}
	for _, s := range strings.Fields(`YEAR Y YY YYY YYYY YR YEARS YRS MONTH MM MON MONS MONTHS DAY D DD DAYS DAYOFMONTH
		DAYOFWEEK WEEKDAY DOW DW DAYOFWEEKISO WEEKDAY_ISO DOW_ISO DW_ISO DAYOFWEEK_ISO DAYOFYEAR YEARDAY DOY DY WEEK WEEKS
		W WK WEEKOFYEAR WOY WY WEEKISO WEEK_ISO WEEKOFYEARISO WEEKOFYEAR_ISO QUARTER Q QTR QTRS QUARTERS YEAROFWEEK
		YEAROFWEEKISO HOUR H HH HR HOURS HRS MINUTE M MI MIN MINUTES MINS SECOND S SEC SECONDS SECS SS MILLISECOND MS
		MSEC MILLISECONDS MICROSECOND US USEC MICROSECONDS NANOSECOND NS NSEC NANOSEC NSECOND NANOSECONDS NANOSECS
		NSECONDS EPOCH EPOCH_SECOND EPOCH_SECONDS EPOCH_MILLISECOND EPOCH_MILLISECONDS EPOCH_MICROSECOND
		EPOCH_MICROSECONDS EPOCH_NANOSECOND EPOCH_NANOSECONDS TIMEZONE_HOUR TZH TIMEZONE_MINUTE TZM START END`) {
		m[s] = true
	}
	return m
}()

func isDatePart(s string) bool { return len(s) <= 19 && dateParts[foldWord(s)] }

// takesDatePart tells whether argument i of fn may be a date part. A column
// may have a date part's name; only in these places does Snowflake prefer the
// part.
func takesDatePart(fn string, i int) bool {
	switch fn {
	case "DATEADD", "DATEDIFF", "TIMEADD", "TIMEDIFF", "TIMESTAMPADD", "TIMESTAMPDIFF", "DATE_PART", "DATETRUNC",
		"DATE_ADD", "DATE_SUB", "DATE_DIFF":
		return i == 0
	case "DATE_TRUNC":
		return i <= 1
	case "TIME_SLICE":
		return i == 2 || i == 3
	case "LAST_DAY", "TRUNC", "TRUNCATE", "NEXT_DAY", "PREVIOUS_DAY":
		return i == 1
	}
	return false
}
