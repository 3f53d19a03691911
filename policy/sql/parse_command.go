package sql

import "strings"

// command reads a statement that is classified by verb and object: its body is
// read only where it holds queries or statements. It always uses every token.
func (p *parser) command() statement {
	mark := p.mark()
	c := &commandStmt{rule: commandRule{kind: KindUnknown, reason: "no rule knows this statement"}}
	p.orStuck(c, func() { p.commandBody(c) })
	c.span = p.since(mark)
	return c
}

// orStuck runs parse; what it does not understand makes the command stuck
// instead of refusing the text: the command is classified, and a command that
// is stuck never runs unattended.
func (p *parser) orStuck(c *commandStmt, parse func()) {
	depth := p.depth
	var err error
	func() {
		defer catch(&err)
		parse()
	}()
	if err == nil {
		return
	}
	p.at, p.depth = p.stop, depth
	c.rule.category = CategoryUnknown
	c.stuck = "the statement's text is not understood"
	c.effects = Effects{CatalogChanged: true}
	c.body = nil
}

// stuckOr reads a statement of a known kind that is neither query nor DML.
func (p *parser) stuckOr(kind Kind, parse func() statement) statement {
	mark := p.mark()
	c := &commandStmt{rule: commandRule{kind: kind}}
	var s statement
	p.orStuck(c, func() {
		s = parse()
		if !p.done() {
			p.fail("text that does not belong to the statement")
		}
	})
	if s != nil && c.stuck == "" {
		return s
	}
	c.span = p.since(mark)
	return c
}

func (p *parser) commandBody(c *commandStmt) {
	verb := foldWord(p.textOf(p.cur()))
	p.at++
	switch verb {
	case "CREATE", "ALTER", "DROP", "UNDROP", "DEFINE":
		p.define(c, verb)
	case "SHOW":
		p.show(c)
	case "DESCRIBE", "DESC":
		p.describe(c)
	case "USE":
		p.use(c)
	case "GRANT", "REVOKE":
		p.grant(c, verb)
	case "BEGIN", "START", "COMMIT", "ROLLBACK":
		p.transaction(c, verb)
	case "TRUNCATE":
		c.rule = commandRule{kind: "TRUNCATE", category: CategoryWrite}
		_ = p.word(wTable) || p.textWord("MATERIALIZED", "VIEW")
		p.ifExists()
		p.target(c, ObjectTable)
	case "COMMENT":
		p.comment(c)
	case "PUT", "GET", "REMOVE", "RM", "LIST", "LS", "COPY":
		p.files(c, verb)
	case "EXECUTE":
		p.execute(c)
	}
	for !p.done() {
		p.rest(c)
	}
}

// rest reads one token of what is not understood, or a query in it.
func (p *parser) rest(c *commandStmt) {
	if p.isOp('(') && p.parenIsQuery() {
		c.body = append(c.body, p.subqueryExpr())
		return
	}
	switch {
	case p.is(wSelect):
		c.stuck = "a query where none is expected"
	case p.isOp(';'), p.isOp(opFlow):
		c.stuck = "another statement where none is expected"
	}
	p.at++
}

func (p *parser) ifExists() {
	if p.word(wIf) {
		p.word(wNot)
		p.word(wExists)
	}
}

// objectName reads a name if one is there.
func (p *parser) objectName(kind ObjectKind) (objectRef, bool) {
	switch {
	case p.cur().kind == tokenStage:
		p.at++
		return objectRef{kind: ObjectStage, text: p.textOf(p.tokens[p.at-1])}, true
	case p.isName(0):
		return objectRef{kind: kind, name: p.name()}, true
	case p.cur().kind == tokenString && kind != ObjectLocation:
		mark := p.mark()
		n := &name{parts: p.nameFromText(p.stringValue())}
		n.span = p.since(mark)
		return objectRef{kind: kind, name: n}, true
	}
	return objectRef{}, false
}

func (p *parser) target(c *commandStmt, kind ObjectKind) {
	if o, ok := p.objectName(kind); ok {
		c.targets = append(c.targets, o)
	} else {
		c.stuck = "its target is not named plainly"
	}
}

func (p *parser) source(c *commandStmt, kind ObjectKind) {
	if o, ok := p.objectName(kind); ok {
		c.sources = append(c.sources, o)
	} else {
		c.stuck = "what it reads is not named plainly"
	}
}

// longestType finds the object type at the cursor, by the longest match, and
// moves behind it.
func (p *parser) longestType() *objectType {
	var found *objectType
	words, length := "", 0
	for n := 0; n < 6 && p.peek(n).kind == tokenWord; n++ {
		if n > 0 {
			words += " "
		}
		words += foldWord(p.textOf(p.peek(n)))
		if t := objectTypeByWords[words]; t != nil {
			found, length = t, n+1
		}
	}
	p.at += length
	return found
}

// session reads ALTER SESSION.
func (p *parser) session(c *commandStmt, verb string) {
	c.rule = commandRule{kind: kindOf(verb, "SESSION"), category: CategorySession}
	unset := p.textWord("UNSET")
	if !unset && !p.word(wSet) || verb != "ALTER" {
		c.rule = commandRule{kind: c.rule.kind, reason: "no rule knows this way to change the session"}
		return
	}
	for !p.done() {
		if !p.isName(0) {
			c.rule.category, c.rule.reason = CategoryUnknown, "a session parameter is not named plainly"
			return
		}
		param := p.ident().name
		if !harmlessParameter(param) {
			c.rule.category, c.rule.reason = CategoryUnknown, "session parameter "+FormatIdentifier(param)+" can change what statements mean"
		}
		if !unset {
			p.op('=')
			t := p.cur()
			if !p.isString(0) && t.kind != tokenNumber && t.kind != tokenWord {
				c.rule.category, c.rule.reason = CategoryUnknown, "a session parameter's value is not a constant"
				return
			}
			p.at++
		}
		p.op(',')
	}
}

func (p *parser) show(c *commandStmt) {
	start := p.at
	for p.isText("TERSE") {
		p.at++
	}
	words, length, rule := "", 0, commandRule{}
	for n := 0; n < 6 && p.peek(n).kind == tokenWord; n++ {
		if n > 0 {
			words += " "
		}
		words += foldWord(p.textOf(p.peek(n)))
		if r, ok := shownTypes[words]; ok {
			rule, length = r, n+1
		}
	}
	if length == 0 {
		p.at = start
		if p.cur().kind == tokenWord {
			c.rule.reason = "no rule knows what this SHOW lists"
		}
		return
	}
	p.at += length
	c.rule = rule
	for !p.done() {
		if p.is(wIn) || p.isText("ON") || p.isText("OF") || p.isText("TO") || p.is(wFor) {
			p.at++
			p.shownIn(c)
			continue
		}
		p.rest(c)
	}
}

func (p *parser) shownIn(c *commandStmt) {
	if p.isText("ACCOUNT") {
		p.at++
		return
	}
	kind := ObjectSchema
	if t := p.longestType(); t != nil {
		kind = t.object
	} else if strings.HasSuffix(string(c.rule.kind), "COLUMNS") || strings.HasSuffix(string(c.rule.kind), "KEYS") {
		kind = ObjectTable
	}
	if o, ok := p.objectName(kind); ok {
		c.sources = append(c.sources, o)
	}
}

func (p *parser) describe(c *commandStmt) {
	if p.isText("RESULT") {
		c.rule = commandRule{kind: "DESCRIBE_RESULT", category: CategoryMetadata}
		for !p.done() {
			p.rest(c)
		}
		return
	}
	t := p.longestType()
	switch {
	case t == nil && p.isName(0): // DESCRIBE t
		c.rule = commandRule{kind: "DESCRIBE_TABLE", category: CategoryMetadata}
		p.source(c, ObjectTable)
		return
	case t == nil:
		return
	}
	c.rule = commandRule{kind: kindOf("DESCRIBE", t.words), category: CategoryMetadata}
	if t.private {
		c.rule.reason = "the description may hold personal data of users"
	}
	if t.words == "TABLE" && p.done() { // a table called TABLE
		return
	}
	if !p.done() && !p.isOp('(') {
		p.source(c, t.object)
	}
}

func (p *parser) use(c *commandStmt) {
	rule := func(kind Kind, category Category) { c.rule = commandRule{kind: kind, category: category} }
	switch {
	case p.isText("ROLE") && p.isName(1):
		p.at++
		rule("USE_ROLE", CategoryRole)
		p.target(c, ObjectRole)
		c.effects.UseRole = c.lastPart()
	case p.isText("SECONDARY"):
		rule("USE_SECONDARY_ROLES", CategoryRole)
		p.at = p.stop
	case p.isText("WAREHOUSE") && (p.isName(1) || p.isString(1)):
		p.at++
		rule("USE_WAREHOUSE", CategorySession)
		p.source(c, ObjectWarehouse)
		c.effects.UseWarehouse = c.lastPart()
	case p.isText("SCHEMA") && (p.isName(1) || p.isString(1)):
		p.at++
		rule("USE_SCHEMA", CategorySession)
		p.source(c, ObjectSchema)
		p.useName(c, true)
	default:
		if p.isText("DATABASE") && (p.isName(1) || p.isString(1)) {
			p.at++
		}
		rule("USE_DATABASE", CategorySession)
		p.source(c, ObjectDatabase)
		p.useName(c, false)
	}
	if len(c.sources)+len(c.targets) == 1 && c.dynamicName() || !p.done() {
		c.rule.category, c.rule.reason = CategoryUnknown, "what it switches to is not named plainly"
	}
}

func (c *commandStmt) dynamicName() bool {
	for _, o := range append(c.sources[:len(c.sources):len(c.sources)], c.targets...) {
		if o.name == nil || o.name.dynamic != nil {
			return true
		}
	}
	return false
}

func (c *commandStmt) lastPart() string {
	for _, list := range [...][]objectRef{c.sources, c.targets} {
		for _, o := range list {
			if o.name != nil && len(o.name.parts) > 0 {
				return o.name.parts[len(o.name.parts)-1].name
			}
		}
	}
	return ""
}

func (p *parser) useName(c *commandStmt, schema bool) {
	if len(c.sources) == 0 || c.sources[0].name == nil {
		return
	}
	parts := c.sources[0].name.parts
	switch {
	case len(parts) == 1 && schema:
		c.effects.UseSchema = parts[0].name
	case len(parts) == 1:
		c.effects.UseDatabase, c.effects.UseSchema = parts[0].name, "PUBLIC"
	case len(parts) == 2:
		c.rule.kind = "USE_SCHEMA"
		c.sources[0].kind = ObjectSchema
		c.effects.UseDatabase, c.effects.UseSchema = parts[0].name, parts[1].name
	default:
		c.stuck = "what it switches to is not named plainly"
	}
}

func (p *parser) grant(c *commandStmt, verb string) {
	c.rule = commandRule{kind: Kind(verb), category: CategoryPrivilege}
	for !p.done() {
		switch {
		case p.word(wOn):
			p.oneOf(wAll)
			p.textWord("FUTURE")
			t := p.longestType()
			if t == nil {
				p.pluralType(c)
				continue
			}
			if t.words != "ACCOUNT" {
				p.target(c, t.object)
			}
		case p.word(wIn):
			if t := p.longestType(); t != nil {
				p.target(c, t.object)
			}
		case p.isText("TO"), p.is(wFrom):
			p.at++
			kind := ObjectRole
			if t := p.longestType(); t != nil {
				kind = t.object
			}
			if p.isName(0) {
				p.target(c, kind)
			}
		case p.isText("ROLE") && p.isName(1):
			p.at++
			p.target(c, ObjectRole)
		case p.is(wSelect): // the privilege
			p.at++
		default:
			p.rest(c)
		}
	}
}

// pluralType skips TABLES and the like in GRANT … ON ALL TABLES IN ….
func (p *parser) pluralType(c *commandStmt) {
	for p.cur().kind == tokenWord && !p.is(wIn) && !p.isText("TO") && !p.is(wFrom) {
		p.at++
	}
}

func (p *parser) transaction(c *commandStmt, verb string) {
	kind := Kind(verb)
	if verb == "START" {
		if !p.is(wTransaction) {
			return
		}
		kind = "BEGIN"
	}
	for p.oneOf(wTransaction, wWork, wTran) {
	}
	if kind == "BEGIN" && p.word(wName) {
		p.ident()
	}
	if p.done() {
		c.rule = commandRule{kind: kind, category: CategoryTransaction}
	}
}

func (p *parser) comment(c *commandStmt) {
	c.rule = commandRule{kind: "COMMENT", category: CategoryDefine}
	p.ifExists()
	p.word(wOn)
	if t := p.longestType(); t != nil {
		p.target(c, t.object)
		return
	}
	if p.textWord("COLUMN") {
		if o, ok := p.objectName(ObjectTable); ok && o.name != nil && len(o.name.parts) > 1 {
			o.name.parts = o.name.parts[:len(o.name.parts)-1]
			c.targets = append(c.targets, o)
		}
	}
}

func (p *parser) execute(c *commandStmt) {
	t := p.longestType()
	if t == nil {
		return
	}
	c.rule = commandRule{kind: kindOf("EXECUTE", t.words), category: CategoryScript, reason: "it runs code that is not read here"}
	if p.isName(0) {
		p.target(c, t.object)
	}
}

// files reads PUT, GET, REMOVE, LIST and COPY FILES.
func (p *parser) files(c *commandStmt, verb string) {
	place := func() objectRef {
		text := p.location()
		kind := ObjectLocation
		if strings.HasPrefix(text, "@") {
			kind = ObjectStage
		}
		return objectRef{kind: kind, text: text}
	}
	switch verb {
	case "PUT", "GET":
		c.rule = commandRule{kind: Kind(verb), category: CategoryTransfer}
		c.sources = append(c.sources, place())
		c.targets = append(c.targets, place())
	case "REMOVE", "RM":
		c.rule = commandRule{kind: "REMOVE", category: CategoryTransfer}
		c.targets = append(c.targets, place())
	case "LIST", "LS":
		c.rule = commandRule{kind: "LIST", category: CategoryMetadata}
		c.sources = append(c.sources, place())
	case "COPY":
		if !p.textWord("FILES") {
			return
		}
		c.rule = commandRule{kind: "COPY_FILES", category: CategoryUnload}
		p.needWord(wInto)
		c.targets = append(c.targets, place())
		p.needWord(wFrom)
		if p.isOp('(') && p.parenIsQuery() {
			c.body = append(c.body, p.subqueryExpr())
		} else {
			c.sources = append(c.sources, place())
		}
	}
}
