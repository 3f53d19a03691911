package sql

// define reads CREATE, ALTER, DROP, UNDROP and DEFINE.
func (p *parser) define(c *commandStmt, verb string) {
	for p.cur().kind == tokenWord && typeModifier(foldWord(p.textOf(p.cur()))) {
		p.at++
	}
	t := p.longestType()
	if t == nil {
		return
	}
	if t.words == "SESSION" {
		p.session(c, verb)
		return
	}
	c.rule = commandRule{kind: kindOf(verb, t.words), category: t.category}
	c.effects.CatalogChanged = true
	p.ifExists()
	if t.words == "ACCOUNT" || p.done() {
		return
	}
	before := len(c.targets)
	p.target(c, t.object)
	if p.isOp(',') {
		c.stuck = "several targets"
	}
	if verb == "ALTER" {
		p.alterRest(c, t)
		return
	}
	if verb != "CREATE" && verb != "DEFINE" {
		return
	}
	if t.code {
		c.rule.reason = "it defines code that runs later"
	}
	switch t.object {
	case ObjectDatabase: // CREATE DATABASE also makes it the current one
		if n := c.targets[before:]; len(n) == 1 && n[0].name != nil && len(n[0].name.parts) == 1 {
			c.effects.UseDatabase, c.effects.UseSchema = n[0].name.parts[0].name, "PUBLIC"
		}
	case ObjectSchema:
		if n := c.targets[before:]; len(n) == 1 && n[0].name != nil {
			parts := n[0].name.parts
			if len(parts) == 2 {
				c.effects.UseDatabase = parts[0].name
			}
			if len(parts) > 0 {
				c.effects.UseSchema = parts[len(parts)-1].name
			}
		}
	}
	p.createRest(c, t)
}

// createRest reads what follows CREATE <type> <name>: sources it copies from,
// queries and statements it holds.
func (p *parser) createRest(c *commandStmt, t *objectType) {
	for !p.done() {
		switch {
		case p.isText("CLONE"):
			p.at++
			c.rule.kind += "_CLONE"
			p.source(c, t.object)
		case p.isText("LIKE") && t.object == ObjectTable && p.isName(1):
			p.at++
			c.rule.kind += "_LIKE"
			p.source(c, t.object)
		case p.isText("USING", "TEMPLATE"):
			p.at += 2
			c.rule.kind += "_TEMPLATE"
		case p.isText("FROM", "SHARE"):
			p.at += 2
			p.source(c, ObjectShare)
		case p.isText("ON", "TABLE"), p.isText("ON", "VIEW"), p.isText("ON", "DYNAMIC", "TABLE"), p.isText("ON", "STAGE"), p.isText("ON", "EXTERNAL", "TABLE"):
			for p.is(wOn) || p.isText("TABLE") || p.isText("VIEW") || p.isText("DYNAMIC") || p.isText("STAGE") || p.isText("EXTERNAL") {
				p.at++
			}
			p.source(c, ObjectTable)
		case p.isText("URL") && p.isOpAt(1, '='):
			p.at += 2
			if p.isString(0) {
				c.targets = append(c.targets, objectRef{kind: ObjectLocation, text: p.stringValue()})
			}
		case p.isIntegrationOption():
			p.at += 2
			p.integrations(c)
		case p.is(wIf) && p.isOpAt(1, '(') && t.words == "ALERT":
			p.at += 2
			p.alertCondition(c)
		case p.is(wThen) && t.words == "ALERT", p.is(wAs):
			p.at++
			if p.createBody(c, t) {
				if !p.done() {
					c.stuck = "something follows the body"
				}
				return
			}
		case p.isOp('(') && !p.parenIsQuery():
			p.columnList(c)
		default:
			p.rest(c)
		}
	}
}

func (p *parser) isIntegrationOption() bool {
	if !p.isOpAt(1, '=') {
		return false
	}
	switch foldWord(p.textOf(p.cur())) {
	case "STORAGE_INTEGRATION", "API_INTEGRATION", "EXTERNAL_ACCESS_INTEGRATIONS", "INTEGRATION", "NOTIFICATION_INTEGRATION",
		"CATALOG", "EXTERNAL_VOLUME", "ERROR_INTEGRATION", "SUCCESS_INTEGRATION", "ALLOWED_AUTHENTICATION_SECRETS":
		return true
	}
	return false
}

func (p *parser) integrations(c *commandStmt) {
	one := func() {
		if p.isString(0) {
			c.sources = append(c.sources, objectRef{kind: ObjectLocation, text: p.stringValue()})
		} else if o, ok := p.objectName(ObjectIntegration); ok {
			c.sources = append(c.sources, o)
		} else {
			p.at++
		}
	}
	if !p.isOp('(') {
		one()
		return
	}
	end := int(p.match[p.at])
	p.at++
	for p.at < end {
		one()
		p.op(',')
	}
	p.at = end + 1
}

// columnList skips a list of columns or options; queries in it are read.
func (p *parser) columnList(c *commandStmt) {
	end := int(p.match[p.at])
	p.at++
	for p.at < end {
		p.rest(c)
	}
	p.at = end + 1
}

func (p *parser) alertCondition(c *commandStmt) {
	if p.word(wExists) && p.isOp('(') {
		end := int(p.match[p.at])
		p.at++
		inner := &parser{lexed: p.lexed, at: p.at, stop: end, script: p.script, depth: p.depth}
		c.body = append(c.body, inner.statement())
		if !inner.done() {
			p.at = inner.at
			p.fail("text behind the condition")
		}
		p.at = end + 1
	}
	p.needOp(')')
}

// createBody reads what follows AS: a query, a statement, or text that is
// code. It reports whether that was the end of the command.
func (p *parser) createBody(c *commandStmt, t *objectType) bool {
	switch {
	case p.startsQuery(0) && (t.object == ObjectTable || t.object == ObjectView || t.words == "CORTEX SEARCH SERVICE"):
		if t.words == "TABLE" {
			c.rule.kind += "_AS"
		}
		c.body = append(c.body, p.query())
		if !p.done() {
			c.stuck = "something follows the query"
		}
		return false
	case t.words == "PIPE" && p.isOp('(') && !p.parenIsQuery():
		inner := &parser{lexed: p.lexed, at: p.at + 1, stop: int(p.match[p.at]), depth: p.depth, script: p.script}
		c.body = append(c.body, inner.statement())
		p.at = inner.stop + 1
		return false
	case t.words == "TASK" || t.words == "ALERT" || t.words == "PIPE":
		c.body = append(c.body, p.statement())
		return true
	case p.is(wBegin) || p.is(wDeclare):
		c.body = append(c.body, p.block())
		return true
	case p.isString(0) && t.words == "EXTERNAL FUNCTION": // the service it sends its arguments to
		c.targets = append(c.targets, objectRef{kind: ObjectLocation, text: p.stringValue()})
		return false
	case p.isString(0):
		p.at++ // code in a string: the rule says that it is not read
		return false
	}
	return false
}

func (p *parser) alterRest(c *commandStmt, t *objectType) {
	for !p.done() {
		switch {
		case p.isText("SWAP", "WITH"):
			p.at += 2
			p.target(c, t.object)
		case t.object == ObjectDatabase && (p.isText("ENABLE", "REPLICATION") || p.isText("ENABLE", "FAILOVER")):
			p.at += 2
			p.otherAccounts(c)
		case p.isText("RENAME", "TO"):
			p.at += 2
			p.target(c, t.object)
		case p.isText("URL") && p.isOpAt(1, '=') && p.isString(2):
			p.at += 2
			c.targets = append(c.targets, objectRef{kind: ObjectLocation, text: p.stringValue()})
		case p.isIntegrationOption():
			p.at += 2
			p.integrations(c)
		case p.isText("MODIFY") && p.peek(1).word == wAs && t.words == "TASK":
			p.at += 2
			c.rule.reason = "it defines code that runs later"
			c.body = append(c.body, p.statement())
		default:
			p.rest(c)
		}
	}
}

// otherAccounts reads TO ACCOUNTS a, b: whoever they are, they get the data, as
// by a share.
func (p *parser) otherAccounts(c *commandStmt) {
	c.rule.kind += "_REPLICATION"
	if !p.textWord("TO", "ACCOUNTS") {
		c.stuck = "which accounts it is replicated to is not understood"
		return
	}
	p.target(c, ObjectShare)
	for p.op(',') {
		p.target(c, ObjectShare)
	}
}
