package sql

import (
	"slices"
	"strconv"
)

// baseTable is a table or view outside the text, resolved once.
type baseTable struct {
	object  ObjectName
	kind    ObjectKind
	columns []column
	open    bool
	own     bool
	rest    labelSet
	facts   *facts // of a view's body
}

// table resolves one element of FROM into sc.
func (r *resolver) table(t tableExpr, sc *scope) {
	r.enter(t)
	defer r.leave()
	switch t := t.(type) {
	case *joinChain:
		r.joinChain(t, sc)
	case *tableName:
		r.add(sc, r.namedTable(t, sc), &t.tableTail)
	case *derivedTable:
		up := sc.up
		if t.lateral {
			up = sc
		}
		res := r.query(t.query, up)
		r.add(sc, &relation{columns: res.columns, open: res.open, rest: res.rest}, &t.tableTail)
	case *tableFunc:
		r.add(sc, r.tableFunc(t.call, sc), &t.tableTail)
	case *stageTable:
		r.reads(place(t.text))
		for _, e := range t.args {
			r.predicate(r.expr(e, sc))
		}
		r.doubt("the files of a stage have no known columns")
		r.add(sc, &relation{open: true, rest: topLabels}, &t.tableTail)
	case *flowTable:
		r.add(sc, r.flowTable(t), &t.tableTail)
	case *pivot:
		r.add(sc, r.pivot(t, sc), &t.tableTail)
	case *unpivot:
		r.add(sc, r.unpivot(t, sc), &t.tableTail)
	case *matchRecognize:
		r.add(sc, r.matchRecognize(t, sc), &t.tableTail)
	default:
		panic(&UnsupportedError{Pos: r.at, Msg: "a table of an unknown form"})
	}
}

// add puts a relation into the scope under its alias.
func (r *resolver) add(sc *scope, x *relation, tail *tableTail) {
	for _, e := range tail.historic {
		r.predicate(r.expr(e, sc))
	}
	if tail.changes {
		x.columns = append(x.columns[:len(x.columns):len(x.columns)],
			column{name: "METADATA$ACTION"}, column{name: "METADATA$ISUPDATE"}, column{name: "METADATA$ROW_ID"})
	}
	if tail.alias != "" {
		x.alias = tail.alias
		x.object = ObjectName{}
	}
	if len(tail.columns) > 0 {
		if x.open {
			all := r.all(result{columns: x.columns, open: true, rest: x.rest})
			x.columns = nil
			for _, n := range tail.columns {
				x.columns = append(x.columns, column{name: n.name, labels: all})
			}
		} else {
			x.columns = renamed(x.columns, tail.columns)
		}
	}
	r.spend(len(sc.relations)/16 + 1)
	sc.relations = append(sc.relations, x)
}

func (r *resolver) namedTable(t *tableName, sc *scope) *relation {
	parts, ok := r.resolveName(t.name)
	if !ok {
		r.doubt("a table is named by a value that is not known here")
		return &relation{open: true, rest: topLabels}
	}
	if t.semantic {
		r.baseTable(r.qualify(parts, ObjectView))
		r.reads(Object{ObjectView, r.qualify(parts, ObjectView)})
		r.doubt("a semantic view's dimensions and metrics are not resolved")
		return &relation{alias: parts[len(parts)-1].name, open: true, rest: topLabels}
	}
	if len(parts) == 1 {
		if c := sc.cte(parts[0].name); c != nil && c.macro == nil {
			x := &relation{alias: parts[0].name, columns: c.columns, open: c.open, rest: c.rest}
			r.predicate(c.rows)
			if c.later || t.name.text {
				r.doubt("whether " + FormatIdentifier(parts[0].name) + " is a table or a common table expression")
				return &relation{alias: parts[0].name, open: true, rest: topLabels}
			}
			return x
		}
	}
	if r.script {
		r.doubt("a name in a script may be a variable")
	}
	if len(parts) == 4 { // a longer path than an object has
		r.doubt("a table name with too many parts")
		return &relation{alias: parts[3].name, open: true, rest: topLabels}
	}
	b := r.baseTable(r.qualify(parts, ObjectTable))
	r.reads(Object{b.kind, b.object})
	if b.facts != nil {
		r.merge(b.facts)
	}
	x := &relation{alias: b.object.Name, object: b.object, owner: b.object, columns: b.columns, open: b.open, own: b.own, rest: b.rest}
	if l, ok := r.wrote[b.object]; ok && !l.empty() {
		x.columns = append([]column(nil), b.columns...)
		for i := range x.columns {
			x.columns[i] = column{name: x.columns[i].name, labels: r.union(x.columns[i].labels, l)}
		}
		x.rest = r.union(x.rest, l)
	}
	return x
}

// baseTable resolves a table or view by its full name, once per analysis.
func (r *resolver) baseTable(o ObjectName) *baseTable {
	if b, ok := r.tables[o]; ok && !r.stale[o] && !r.lost {
		if b.open && b.rest.top {
			r.doubtTable(o)
		}
		return b
	}
	if r.tables == nil {
		r.tables = map[ObjectName]*baseTable{}
	}
	// A view that reads itself finds this.
	r.tables[o] = &baseTable{object: o, kind: ObjectView, open: true, own: true, rest: topLabels}
	b := r.loadTable(o)
	r.tables[o] = b
	return b
}

func (r *resolver) doubtTable(o ObjectName) {
	r.doubt("table " + o.String() + " is not in the catalog")
}

func (r *resolver) loadTable(o ObjectName) *baseTable {
	b := &baseTable{object: o, kind: ObjectTable}
	unknown := func() *baseTable {
		b.open, b.own, b.rest = true, true, topLabels
		return b
	}
	switch {
	case o.Database == "" || o.Schema == "":
		r.doubt("table " + o.String() + " has no known database or schema")
		return unknown()
	case r.lost || r.stale[o]:
		r.doubt("table " + o.String() + " may have changed earlier in this text")
		return unknown()
	}
	information := o.Schema == "INFORMATION_SCHEMA" && plainInformation(o.Name)
	rel, ok := Relation{}, false
	if r.cat != nil {
		rel, ok = r.cat.Relation(o)
	}
	if !ok {
		if !slices.Contains(r.missing, o) {
			r.spend(len(r.missing)/8 + 1)
			r.missing = append(r.missing, o)
		}
		if information { // describes objects, holds no data of theirs
			b.kind, b.open, b.own = ObjectView, true, true
			return b
		}
		r.doubtTable(o)
		return unknown()
	}
	if rel.Kind == ObjectView || rel.ViewText != "" {
		b.kind = ObjectView
	}
	r.spend(len(rel.Columns))
	b.columns = make([]column, len(rel.Columns))
	for i, c := range rel.Columns {
		b.columns[i] = column{name: c, labels: r.label(Column{o, c}), direct: true, base: true}
	}
	switch {
	case b.kind != ObjectView || information:
	case rel.ViewText != "":
		r.view(b, rel.ViewText)
	default:
		r.opaque(b, "view "+o.String()+" does not show what it reads")
	}
	return b
}

// opaque marks a view nobody can look into: its columns may hold anything.
func (r *resolver) opaque(b *baseTable, why string) {
	r.addDoubt(b, why)
	for i := range b.columns {
		b.columns[i] = column{name: b.columns[i].name, labels: labelSet{b.columns[i].labels.ids, true}}
	}
	if len(b.columns) == 0 {
		b.open, b.own, b.rest = true, true, topLabels
	}
}

// addDoubt makes everything that reads b doubtful.
func (r *resolver) addDoubt(b *baseTable, why string) {
	if b.facts == nil {
		b.facts = &facts{}
	}
	b.facts.unknown = append(b.facts.unknown, Reason{Pos: r.at, Text: why})
}

// view resolves a view's text in the view's own schema. Its columns carry
// their own label besides those of what they are computed from.
func (r *resolver) view(b *baseTable, text string) {
	l, err := lex(text)
	var s statement
	if err == nil {
		s, err = parseStatement(l, 0, trimSemicolons(l), false)
	}
	q, ok := s.(*queryStmt)
	if err != nil || !ok || r.views >= maxViews {
		r.opaque(b, "the text of view "+b.object.String()+" is not understood")
		return
	}
	ctx, fixed, flow, script, wrote := r.ctx, r.fixed, r.flow, r.script, r.views
	r.ctx = Context{Database: b.object.Database, Schema: b.object.Schema}
	r.fixed, r.flow, r.script = true, nil, false
	r.views++
	var res result
	b.facts = r.apart(func() { res = r.query(q.query, nil) })
	r.ctx, r.fixed, r.flow, r.script, r.views = ctx, fixed, flow, script, wrote
	if res.open || len(b.columns) > 0 && len(res.columns) != len(b.columns) {
		b.open = len(b.columns) == 0
		r.addDoubt(b, "the columns of view "+b.object.String()+" are not those of its text")
		all := r.union(r.all(res), topLabels)
		for i := range b.columns {
			b.columns[i] = column{name: b.columns[i].name, labels: r.union(b.columns[i].labels, all)}
		}
		b.rest = all
		return
	}
	known := b.columns
	b.columns = make([]column, len(res.columns))
	for i, c := range res.columns {
		if i < len(known) {
			c.name = known[i].name
		}
		c.labels = r.union(c.labels, r.label(Column{b.object, c.name}))
		b.columns[i] = c
	}
}

func trimSemicolons(l *lexed) int {
	n := len(l.tokens)
	for n > 0 && isSemicolon(l.tokens[n-1]) {
		n--
	}
	return n
}

func (r *resolver) flowTable(t *flowTable) *relation {
	x := &relation{alias: "$" + strconv.Itoa(t.n)}
	if t.n < 1 || t.n > len(r.flow) {
		r.doubt("there is no earlier result $" + strconv.Itoa(t.n))
		x.open, x.rest = true, topLabels
		return x
	}
	res := r.flow[len(r.flow)-t.n]
	if res.open {
		r.doubt("the columns of the earlier result $" + strconv.Itoa(t.n) + " are not known")
	}
	x.columns, x.open, x.rest = res.columns, res.open, res.rest
	r.predicate(res.rows)
	return x
}

// tableFunc resolves a table function. The rows it makes depend on its
// arguments.
func (r *resolver) tableFunc(c *call, sc *scope) *relation {
	in := r.expr(c, sc)
	r.predicate(in)
	x := &relation{}
	parts, ok := r.resolveName(c.name)
	if !ok || c.method != nil {
		x.open, x.rest = true, r.union(in, topLabels)
		return x
	}
	x.alias = parts[len(parts)-1].name
	names, known := tableFunctionColumns(parts)
	if !known {
		if x.alias == "RESULT_SCAN" {
			r.reads(Object{ObjectOther, ObjectName{Name: "RESULT_SCAN"}})
		}
		r.doubt("the columns of table function " + x.alias + " are not known")
		x.open, x.rest = true, r.union(in, topLabels)
		return x
	}
	for _, n := range names {
		x.columns = append(x.columns, column{name: n, labels: in})
	}
	return x
}

func (r *resolver) joinChain(t *joinChain, sc *scope) {
	start := len(sc.relations)
	r.table(t.first, sc)
	for i := range t.steps {
		s := &t.steps[i]
		middle := len(sc.relations)
		r.table(s.table, sc)
		for _, u := range s.using {
			r.mergeColumn(sc, start, middle, u.name, s.outer)
		}
		if s.natural {
			if start > 0 { // an engine could take those before a comma for a part of the left side
				r.doubt("which columns a natural join behind a comma compares")
			}
			r.naturalJoin(sc, start, middle, s.outer)
		}
		for _, e := range s.on {
			r.predicate(r.expr(e, sc))
		}
	}
}

// naturalJoin merges every column that both sides have.
func (r *resolver) naturalJoin(sc *scope, start, middle int, outer bool) {
	left := map[string]bool{}
	open := false
	for _, x := range sc.relations[start:middle] {
		open = open || x.open
		for _, c := range x.columns {
			left[c.name] = true
		}
		r.spend(len(x.columns))
	}
	for _, x := range sc.relations[middle:] {
		open = open || x.open
		for _, c := range x.columns {
			r.spend(1)
			if left[c.name] {
				r.mergeColumn(sc, start, middle, c.name, outer)
			}
		}
	}
	if open {
		r.doubt("which columns a natural join compares is not known")
		r.predicate(topLabels)
	}
}

// mergeColumn makes one column of those called name on both sides of a join:
// the left one stays and takes the labels of both.
func (r *resolver) mergeColumn(sc *scope, start, middle int, name string, outer bool) {
	all := labelSet{}
	left := -1
	for i := start; i < len(sc.relations); i++ {
		x := sc.relations[i]
		r.spend(len(x.columns))
		c, ok := r.find(x, name)
		switch {
		case ok:
			all = r.union(all, c.labels)
		case x.open:
			all = r.union(all, r.openLabels(x, name))
		default:
			continue
		}
		if ok && i < middle && left < 0 && !x.hidden[name] {
			left = i
		}
		if ok && i >= middle {
			y := *x
			y.index = nil
			y.hidden = map[string]bool{name: true}
			for n := range x.hidden {
				y.hidden[n] = true
			}
			sc.relations[i] = &y
		}
	}
	r.predicate(all)
	if left < 0 {
		return
	}
	y := *sc.relations[left]
	y.index = nil
	y.columns = append([]column(nil), y.columns...)
	for i := range y.columns {
		if y.columns[i].name == name {
			y.columns[i].labels = all
			y.columns[i].direct = y.columns[i].direct && !outer
			y.columns[i].base = false
		}
	}
	sc.relations[left] = &y
}

func (r *resolver) openLabels(x *relation, name string) labelSet {
	if x.own && x.owner != (ObjectName{}) {
		return r.union(x.rest, r.label(Column{x.owner, name}))
	}
	return x.rest
}
