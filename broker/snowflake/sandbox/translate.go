package sandbox

import (
	"strconv"
	"strings"
)

// translated is a query or DML statement in SQLite's words.
type translated struct {
	sql   string
	out   []string // the pieces of sql
	binds int      // how many bind variables it takes
	items []item   // of the outermost SELECT; nil if they are not known
	refs  []*relation
}

// translator rewrites tokens: names of relations become SQLite's, casts and
// paths become function calls, session functions become literals.
type translator struct {
	toks   []token
	cat    *catalog
	at     place
	verb   string
	values func(name string) (string, bool) // CURRENT_USER and the like

	i      int
	out    []string
	at2out []int // token index → length of out before it
	frames []frame
	ctes   map[string]bool
	refs   []*relation
	binds  int
}

// frame is what is known within one pair of parentheses.
type frame struct {
	query   bool // a SELECT or DELETE stands here, so FROM names relations
	from    bool // within FROM: a comma is followed by another relation
	expect  bool // the next name is a relation
	bare    bool // the relation takes no implied alias (INSERT INTO)
	castEnd bool // within CAST( … AS type )
}

// clauseWords end the list of relations of a FROM.
func clauseWord(t token) bool {
	return t.is("WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "OFFSET", "FETCH", "QUALIFY", "WINDOW", "UNION", "INTERSECT",
		"EXCEPT", "MINUS", "SET", "VALUES", "RETURNING", "WHEN")
}

// reserved words cannot be an alias without AS.
func reserved(t token) bool {
	return clauseWord(t) || t.is("SELECT", "FROM", "JOIN", "LEFT", "RIGHT", "FULL", "INNER", "OUTER", "CROSS", "NATURAL", "LATERAL",
		"ON", "USING", "AS", "AND", "OR", "NOT", "NULL", "TRUE", "FALSE", "END", "THEN", "ELSE", "CASE", "IN", "IS", "LIKE", "ILIKE",
		"BETWEEN", "DISTINCT", "ALL", "WITH", "INTO", "TABLE", "SAMPLE", "TABLESAMPLE", "AT", "BEFORE", "PIVOT", "UNPIVOT",
		"MATCH_RECOGNIZE", "ASC", "DESC", "BY", "EXISTS", "OVER", "CONNECT", "START")
}

// translate rewrites the statement in toks. verb names it in errors.
func translate(toks []token, cat *catalog, at place, values func(string) (string, bool)) (*translated, error) {
	t := &translator{toks: toks, cat: cat, at: at, verb: toks[0].val, values: values,
		frames: []frame{{}}, ctes: map[string]bool{}, at2out: make([]int, len(toks))}
	t.findCTEs()
	for t.i = 0; toks[t.i].sort != sortEnd; {
		t.at2out[t.i] = len(t.out)
		from := t.i
		if err := t.step(); err != nil {
			return nil, err
		}
		for k := from + 1; k < t.i; k++ {
			t.at2out[k] = len(t.out)
		}
	}
	t.at2out[t.i] = len(t.out)
	if len(t.frames) != 1 {
		return nil, syntaxAt("", 0, "<EOF>")
	}
	res := &translated{sql: strings.Join(t.out, " "), out: t.out, binds: t.binds, refs: t.refs}
	res.items = t.items()
	return res, nil
}

// findCTEs notes every name of the form NAME [(…)] AS ( after WITH or a comma.
// Scopes are not told apart: a CTE hides a table of its name everywhere.
func (t *translator) findCTEs() {
	if !t.anyWord("WITH") {
		return
	}
	for i := 1; i+2 < len(t.toks); i++ {
		if !t.toks[i].name() || !(t.toks[i-1].is("WITH", "RECURSIVE") || t.toks[i-1].op(",")) {
			continue
		}
		j := i + 1
		if t.toks[j].op("(") {
			for j < len(t.toks)-1 && !t.toks[j].op(")") {
				j++
			}
			j++
		}
		if j+1 < len(t.toks) && t.toks[j].is("AS") && t.toks[j+1].op("(") {
			t.ctes[t.toks[i].val] = true
		}
	}
}

func (t *translator) anyWord(w string) bool {
	for _, tok := range t.toks {
		if tok.is(w) {
			return true
		}
	}
	return false
}

func (t *translator) top() *frame { return &t.frames[len(t.frames)-1] }

func (t *translator) emit(s string) { t.out = append(t.out, s) }

// peek returns the token n places ahead; past the end it is the end.
func (t *translator) peek(n int) token {
	if t.i+n < len(t.toks) {
		return t.toks[t.i+n]
	}
	return t.toks[len(t.toks)-1]
}

func (t *translator) prev() token {
	if t.i == 0 {
		return token{}
	}
	return t.toks[t.i-1]
}

// step rewrites what stands at t.i and moves past it.
func (t *translator) step() error {
	tok := t.peek(0)
	switch {
	case tok.op("("):
		f := t.top()
		inner := frame{}
		if f.expect { // a derived table or a parenthesised join
			inner.query, inner.from, inner.expect = true, true, true
			f.expect = false
		}
		t.frames = append(t.frames, inner)
		t.emit("(")
		t.i++
	case tok.op(")"):
		if len(t.frames) == 1 {
			return syntaxAt("", tok.pos, ")")
		}
		t.frames = t.frames[:len(t.frames)-1]
		t.emit(")")
		t.i++
	case tok.op("::"):
		return t.cast()
	case tok.op(":"):
		return t.semi()
	case tok.op(","):
		if f := t.top(); f.from {
			f.expect = true
		}
		t.emit(",")
		t.i++
	case tok.op("$"), tok.op("{"), tok.op("["), tok.op("->>"), tok.op("@"), tok.op(":="), tok.op("=>"):
		return errUnsupported(tok.text)
	case tok.sort == sortString:
		t.emit(literal(tok.val))
		t.i++
	case tok.sort == sortBind:
		t.bind(tok)
	case tok.name() && t.top().expect:
		return t.relation()
	case tok.sort == sortQuoted:
		t.identifier()
	case tok.sort == sortWord:
		return t.word(tok)
	default:
		t.emit(tok.text)
		t.i++
	}
	return nil
}

func (t *translator) bind(tok token) {
	if tok.val == "" {
		t.binds++
		t.emit("?" + strconv.Itoa(t.binds))
	} else {
		n, _ := strconv.Atoi(tok.val)
		t.binds = max(t.binds, n)
		t.emit("?" + strconv.Itoa(n))
	}
	t.i++
}

// word rewrites a keyword, function or unquoted identifier.
func (t *translator) word(tok token) error {
	f := t.top()
	switch {
	case tok.is("SELECT"):
		*f = frame{query: true}
	case tok.is("DELETE"):
		f.query = true
	case tok.is("UPDATE") && t.i == 0:
		f.expect = true
	case tok.is("INTO"):
		f.expect, f.bare = true, true
	case tok.is("FROM"):
		if f.query && !t.prev().is("DISTINCT") || t.verb == "UPDATE" {
			f.from, f.expect, f.bare = true, true, false
		}
	case tok.is("JOIN"):
		f.from, f.expect = true, true
	case clauseWord(tok):
		f.from, f.expect = false, false
	}
	switch {
	case tok.is("AS") && f.castEnd:
		return t.castType()
	case tok.is("CAST", "TRY_CAST") && t.peek(1).op("("):
		name := "SF_CAST"
		if tok.is("TRY_CAST") {
			name = "SF_TRY_CAST"
		}
		t.emit(name)
		t.frames = append(t.frames, frame{castEnd: true})
		t.emit("(")
		t.i += 2
		return nil
	case tok.is("X") && t.peek(1).sort == sortString && !t.peek(1).gap: // X'00FF'
		t.emit("x" + literal(t.peek(1).val))
		t.i++
	case tok.is("MINUS") && t.peek(1).is("SELECT", "ALL"):
		t.emit("EXCEPT")
	case tok.is("ILIKE"):
		t.emit("MATCH") // a function of ours: LIKE has case, ILIKE has none
	case tok.is("RLIKE") && !t.peek(1).op("("):
		t.emit("REGEXP")
	case tok.is("LATERAL", "QUALIFY", "PIVOT", "UNPIVOT", "MATCH_RECOGNIZE", "SAMPLE", "TABLESAMPLE", "CONNECT") && !t.prev().op("."):
		return errUnsupported(tok.val)
	case t.peek(1).op("(") && !t.prev().op("."):
		return t.call(tok)
	case t.session(tok):
	default:
		if reserved(tok) || !t.peek(1).op(".") {
			t.emit(tok.val)
			t.i++
			return nil
		}
		t.identifier()
		return nil
	}
	t.i++
	return nil
}

// call rewrites the name of a function. Those that ask about the session
// become literals; the others are SQLite's own or those of functions.go.
func (t *translator) call(tok token) error {
	if v, ok := t.values(tok.val); ok && t.peek(2).op(")") {
		t.emit(v)
		t.i += 3
		return nil
	}
	name := tok.val
	switch name {
	case "NVL":
		name = "IFNULL"
	case "IFF":
		name = "IIF"
	case "LEN", "CHAR_LENGTH":
		name = "LENGTH"
	case "LISTAGG", "STRING_AGG":
		name = "GROUP_CONCAT"
	case "ANY_VALUE":
		name = "MIN"
	case "GREATEST":
		name = "MAX"
	case "LEAST":
		name = "MIN"
	case "CHARINDEX", "POSITION":
		name = "SF_POSITION"
	case "DATEADD", "TIMESTAMPADD", "DATEDIFF", "TIMESTAMPDIFF", "DATE_PART", "LAST_DAY":
		// The first argument is a bare word: DATEADD(day, 1, x).
		if part := t.peek(2); part.sort == sortWord && t.peek(3).op(",") {
			t.emit(name)
			t.frames = append(t.frames, frame{})
			t.emit("(")
			t.emit(literal(strings.ToLower(part.val)))
			t.i += 3
			return nil
		}
	}
	t.emit(name)
	t.i++
	return nil
}

// session rewrites CURRENT_DATE and the like without parentheses.
func (t *translator) session(tok token) bool {
	if !strings.HasPrefix(tok.val, "CURRENT_") && tok.val != "LOCALTIMESTAMP" || t.prev().op(".") || t.peek(1).op(".") {
		return false
	}
	v, ok := t.values(tok.val)
	if ok {
		t.emit(v)
	}
	return ok
}

// chain reads a dotted name at t.i and moves past it. An empty part stands for
// the two dots of DB..TABLE. A trailing ".*" is left standing.
func (t *translator) chain() []string {
	parts := []string{t.peek(0).val}
	t.i++
	for t.peek(0).op(".") {
		switch {
		case t.peek(1).name():
			parts = append(parts, t.peek(1).val)
			t.i += 2
		case t.peek(1).op(".") && t.peek(2).name():
			parts = append(parts, "", t.peek(2).val)
			t.i += 3
		default:
			return parts
		}
	}
	return parts
}

// identifier rewrites a column reference: at most table and column are kept,
// since every relation of a FROM has an alias.
func (t *translator) identifier() {
	parts := t.chain()
	star := t.peek(0).op(".") && t.peek(1).op("*")
	keep := 2
	if star {
		keep = 1
	}
	if len(parts) > keep {
		parts = parts[len(parts)-keep:]
	}
	for i, p := range parts {
		parts[i] = tick(p)
	}
	t.emit(strings.Join(parts, "."))
	if star {
		t.emit(".")
		t.emit("*")
		t.i += 2
	}
}

// relation rewrites the name of a table or view and gives it its own name as
// alias, unless one follows.
func (t *translator) relation() error {
	f := t.top()
	f.expect = false
	if t.peek(0).is("SELECT", "WITH", "VALUES") {
		return t.word(t.peek(0))
	}
	if t.peek(0).is("TABLE", "LATERAL", "IDENTIFIER", "GENERATOR", "FLATTEN") && t.peek(1).op("(") {
		return errUnsupported(t.peek(0).val)
	}
	parts := t.chain()
	if t.peek(0).op("(") && !f.bare {
		return errUnsupported("table function " + strings.Join(parts, "."))
	}
	alias := parts[len(parts)-1]
	if len(parts) == 1 && t.ctes[alias] {
		t.emit(tick(alias))
		return nil
	}
	p, err := t.at.qualify(parts, t.verb)
	if err != nil {
		return err
	}
	if p.schema == "INFORMATION_SCHEMA" {
		rows, err := t.cat.information(p)
		if err != nil {
			return err
		}
		t.emit(rows)
	} else {
		r, err := t.cat.find(p)
		if err != nil {
			return err
		}
		t.refs = append(t.refs, r)
		t.emit(tick(r.physical()))
	}
	switch next := t.peek(0); {
	case f.bare || next.is("AS"):
	case next.name() && (next.sort == sortQuoted || !reserved(next)):
		t.emit("AS") // SQLite wants it in UPDATE and DELETE
	default:
		t.emit("AS " + tick(alias))
	}
	f.bare = false
	return nil
}

// primary is the index in out where the operand that ends out begins.
func (t *translator) primary() int {
	end := len(t.out) - 1
	if end < 0 {
		return 0
	}
	if t.out[end] != ")" {
		return end
	}
	depth := 0
	for i := end; i >= 0; i-- {
		switch t.out[i] {
		case ")":
			depth++
		case "(":
			depth--
		}
		if depth == 0 {
			if i > 0 && isCallName(t.out[i-1]) {
				i--
			}
			return i
		}
	}
	return 0
}

// isCallName is whether a piece before "(" is the function that is called.
func isCallName(piece string) bool {
	if piece == "" || !wordStart(piece[0]) {
		return false
	}
	return !reserved(token{sort: sortWord, val: piece})
}

// wrap makes a call of fn around the operand that begins at start.
func (t *translator) wrap(start int, fn, args string) {
	t.out[start] = fn + "( " + t.out[start]
	t.emit("," + args + ")")
	// The call is one piece from now on, so that another cast can wrap it.
	joined := strings.Join(t.out[start:], " ")
	t.out = append(t.out[:start], joined)
}

// cast rewrites operand::TYPE.
func (t *translator) cast() error {
	typ, n := parseType(t.toks, t.i+1)
	if n == 0 || len(t.out) == 0 || !operandEnd(t.prev()) {
		return syntaxAt("", t.peek(1).pos, t.peek(1).text)
	}
	t.i += 1 + n
	start := t.primary()
	fn := "SF_CAST"
	if strings.HasPrefix(t.out[start], "SF_PATH(") {
		fn = "SF_CAST_VARIANT"
	}
	t.wrap(start, fn, typeArgs(typ))
	return nil
}

// castType rewrites the AS TYPE of a CAST.
func (t *translator) castType() error {
	typ, n := parseType(t.toks, t.i+1)
	if n == 0 {
		return syntaxAt("", t.peek(1).pos, t.peek(1).text)
	}
	t.i += 1 + n
	t.emit("," + typeArgs(typ))
	return nil
}

func typeArgs(t colType) string {
	return strconv.Itoa(int(t.kind)) + "," + strconv.Itoa(t.scale)
}

// semi rewrites a path into a semi-structured column: col:a.b[0].
func (t *translator) semi() error {
	if !operandEnd(t.prev()) || len(t.out) == 0 {
		return errUnsupported("variable")
	}
	t.i++
	p := "$"
	for {
		switch {
		case t.peek(0).sort == sortNumber || t.peek(0).sort == sortString:
			return errUnsupported("path")
		case t.peek(0).name():
			// Path elements are case-sensitive.
			p += `."` + strings.Trim(t.peek(0).text, `"`) + `"`
			t.i++
		case t.peek(0).op("[") && t.peek(1).sort == sortNumber && t.peek(2).op("]"):
			p += "[" + t.peek(1).val + "]"
			t.i += 3
		case t.peek(0).op("[") && t.peek(1).sort == sortString && t.peek(2).op("]"):
			p += `."` + t.peek(1).val + `"`
			t.i += 3
		default:
			return syntaxAt("", t.peek(0).pos, t.peek(0).text)
		}
		if t.peek(0).op(".") && t.peek(1).name() {
			t.i++
			continue
		}
		if !t.peek(0).op("[") {
			break
		}
	}
	t.wrap(t.primary(), "SF_PATH", literal(p))
	return nil
}

// literal writes s as a string literal of SQLite, which cannot hold NUL.
func literal(s string) string {
	return "'" + strings.ReplaceAll(strings.ReplaceAll(s, "\x00", ""), "'", "''") + "'"
}

// tick quotes an identifier. Backticks, because SQLite takes an unknown name in
// double quotes for a string.
func tick(s string) string { return "`" + strings.ReplaceAll(s, "`", "``") + "`" }
