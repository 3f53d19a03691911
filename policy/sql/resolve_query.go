package sql

import "strconv"

const maxRounds = 8 // of a recursive CTE, before its columns are lumped together

// query resolves q. What decides its rows goes to the predicates of the
// statement and is returned as well.
func (r *resolver) query(q *query, up *scope) result {
	r.enter(q)
	defer r.leave()
	outer := r.facts.predicates
	r.facts.predicates = labelSet{}
	sc := &scope{up: up}
	if len(q.with) > 0 {
		r.withClause(q, sc)
	}
	res, inner := r.body(q.body, sc)
	if len(q.order) > 0 || q.orderAll {
		r.orderBy(q, res, inner, sc)
	}
	for _, e := range q.limits {
		r.predicate(r.expr(e, sc))
	}
	res.rows = r.union(res.rows, r.facts.predicates)
	r.facts.predicates = r.union(outer, r.facts.predicates)
	return res
}

func (r *resolver) orderBy(q *query, res result, inner, sc *scope) {
	if q.orderAll {
		r.predicate(r.all(res))
		return
	}
	by := inner
	if by == nil {
		by = &scope{up: sc, relations: []*relation{{columns: res.columns, open: res.open, rest: res.rest}}}
	}
	by.clause = clauseFilter
	for _, e := range q.order {
		r.positionOr(e, res, by)
	}
}

// positionOr adds an ORDER BY or GROUP BY term to the predicates: a number is
// the position of an output.
func (r *resolver) positionOr(e expr, res result, sc *scope) {
	if l, ok := e.(*literal); ok && l.kind == tokenNumber {
		if n, err := strconv.Atoi(l.text); err == nil && n >= 1 && n <= len(res.columns) && !res.open {
			r.predicate(res.columns[n-1].labels)
		} else {
			r.predicate(r.all(res))
		}
		return
	}
	switch e.(type) {
	case *bind, *variable: // may hold a position
		r.predicate(r.all(res))
	}
	r.predicate(r.expr(e, sc))
}

func (r *resolver) all(res result) labelSet {
	l := labelSet{}
	for _, c := range res.columns {
		l = r.union(l, c.labels)
	}
	if res.open {
		l = r.union(l, res.rest)
	}
	return l
}

func (r *resolver) withClause(q *query, sc *scope) {
	sc.ctes = make(map[string]*cteValue, len(q.with))
	for _, c := range q.with {
		sc.ctes[c.name.name] = &cteValue{later: true}
	}
	for _, c := range q.with {
		switch {
		case c.macro != nil:
			sc.ctes[c.name.name] = &cteValue{macro: c.macro}
			// Read it here too, for what it reads and calls.
			r.quietly(func() { r.expr(c.macro, &scope{up: sc}) })
		default:
			r.cteQuery(c, sc)
		}
	}
}

// quietly resolves something whose names only mean something elsewhere: its
// reads and functions count, its doubts do not.
func (r *resolver) quietly(f func()) {
	inner := r.apart(f)
	inner.unknown, inner.predicates, inner.touched.top = nil, labelSet{}, false
	r.merge(inner)
}

func (r *resolver) cteQuery(c *cte, sc *scope) {
	name := c.name.name
	var anchor queryBody
	delete(sc.ctes, name)
	if mentions(c.query, name) {
		switch b := unwrap(c.query).(type) {
		case *setOp:
			anchor = b.terms[0]
		case *query: // whether the name means itself in there is anybody's guess
			r.doubt("common table expression " + FormatIdentifier(name) + " refers to itself in a way that is not understood")
			sc.ctes[name] = &cteValue{later: true}
		}
	}
	var res result
	if anchor == nil {
		res = r.query(c.query, sc)
	} else {
		res = r.recursive(c, anchor, sc)
	}
	v := r.cteOf(c, res)
	sc.ctes[name] = v
}

// unwrap removes parentheses around a body.
func unwrap(q *query) queryBody {
	for {
		inner, ok := q.body.(*query)
		if !ok {
			return q.body
		}
		if len(inner.with) > 0 {
			return inner
		}
		q = inner
	}
}

func (r *resolver) cteOf(c *cte, res result) *cteValue {
	v := &cteValue{columns: renamed(res.columns, c.columns), open: res.open, rest: res.rest, rows: res.rows}
	if res.open && len(c.columns) > 0 {
		v.columns = nil
		for _, n := range c.columns {
			v.columns = append(v.columns, column{name: n.name, labels: r.all(res)})
		}
		v.open = false
	}
	return v
}

// recursive finds the fix point of a CTE that mentions itself: labels only
// grow, and after some rounds all columns share all labels.
func (r *resolver) recursive(c *cte, anchor queryBody, sc *scope) result {
	inner := &scope{up: sc}
	res, _ := r.body(anchor, inner)
	for round := 0; ; round++ {
		v := r.cteOf(c, res)
		inner.ctes = map[string]*cteValue{c.name.name: v}
		if t, ok := r.shadowed(c.name); ok { // the name may also mean a table
			r.addBase(v, t)
		}
		next := r.query(c.query, inner)
		grown := r.mergeResults(res, next, setOperator{all: true})
		grown.rows = r.union(res.rows, next.rows)
		if r.size(grown) == r.size(res) {
			return grown
		}
		res = grown
		if round >= maxRounds {
			lump := r.all(res)
			for i := range res.columns {
				res.columns[i] = column{name: res.columns[i].name, labels: lump}
			}
		}
	}
}

func (r *resolver) shadowed(n ident) (*baseTable, bool) {
	if r.cat == nil {
		return nil, false
	}
	o := r.qualify([]ident{n}, ObjectTable)
	if o.Database == "" || o.Schema == "" {
		return nil, false
	}
	if _, ok := r.cat.Relation(o); !ok {
		return nil, false
	}
	return r.baseTable(o), true
}

func (r *resolver) addBase(v *cteValue, t *baseTable) {
	v.columns = append([]column(nil), v.columns...)
	for i := range v.columns {
		for _, c := range t.columns {
			if c.name == v.columns[i].name {
				v.columns[i] = column{name: c.name, labels: r.union(v.columns[i].labels, c.labels)}
			}
		}
	}
}

func (r *resolver) size(res result) int {
	n := len(res.columns)
	for _, c := range res.columns {
		n += len(c.labels.ids)
		if c.labels.top {
			n++
		}
	}
	r.spend(len(res.columns))
	if res.open {
		n++
	}
	return n + len(res.rows.ids)
}

// mentions tells whether q reads from the plain name n.
func mentions(q *query, n string) bool {
	found := false
	walk(q, func(x node) bool {
		if t, ok := x.(*tableName); ok && len(t.name.parts) == 1 && t.name.parts[0].name == n {
			found = true
		}
		return !found
	})
	return found
}

func renamed(columns []column, names []ident) []column {
	if len(names) == 0 {
		return columns
	}
	out := append([]column(nil), columns...)
	for i := range out {
		if i < len(names) {
			out[i].name = names[i].name
		}
	}
	for i := len(out); i < len(names); i++ {
		out = append(out, column{name: names[i].name, labels: topLabels})
	}
	return out
}

// body resolves a query body. The scope is that of a SELECT, where its ORDER
// BY may look, or nil.
func (r *resolver) body(b queryBody, sc *scope) (result, *scope) {
	switch b := b.(type) {
	case *selectCore:
		return r.selectCore(b, sc)
	case *query:
		return r.query(b, sc), nil
	case *values:
		return r.values(b, sc), nil
	case *setOp:
		res, _ := r.body(b.terms[0], &scope{up: sc})
		for i, op := range b.ops {
			next, _ := r.body(b.terms[i+1], &scope{up: sc})
			rows := r.union(res.rows, next.rows)
			if !op.all { // whether a row stays depends on all its values
				seen := r.union(r.all(res), r.all(next))
				r.predicate(seen)
				rows = r.union(rows, seen)
			}
			res = r.mergeResults(res, next, op)
			res.rows = rows
		}
		return res, nil
	}
	panic(&UnsupportedError{Pos: r.at, Msg: "a query of an unknown form"})
}

// mergeResults puts the columns of two results on top of each other.
func (r *resolver) mergeResults(a, b result, op setOperator) result {
	out := result{open: a.open || b.open, rest: r.union(a.rest, b.rest)}
	if out.open { // positions are unknown: everything may be anywhere
		out.rest = r.union(out.rest, r.union(r.all(a), r.all(b)))
		out.rest.top = true
	}
	out.columns = append([]column(nil), a.columns...)
	both := func(x, y column) column {
		same := x.direct && y.direct && len(x.labels.ids) == len(y.labels.ids)
		for i := 0; same && i < len(x.labels.ids); i++ {
			same = x.labels.ids[i] == y.labels.ids[i]
		}
		return column{name: x.name, labels: r.union(x.labels, y.labels), direct: same}
	}
	if op.byName {
		at := make(map[string][]int, len(out.columns))
		for i, c := range out.columns {
			at[c.name] = append(at[c.name], i)
		}
		for _, c := range b.columns {
			for _, i := range at[c.name] {
				out.columns[i] = both(out.columns[i], c)
			}
			if len(at[c.name]) == 0 {
				out.columns = append(out.columns, column{name: c.name, labels: c.labels})
			}
		}
	} else {
		for i, c := range b.columns {
			if i < len(out.columns) {
				out.columns[i] = both(out.columns[i], c)
			} else {
				out.columns = append(out.columns, column{name: c.name, labels: r.union(c.labels, topLabels)})
			}
		}
		for i := len(b.columns); i < len(out.columns); i++ {
			out.columns[i] = column{name: out.columns[i].name, labels: r.union(out.columns[i].labels, topLabels)}
		}
	}
	if out.open {
		for i := range out.columns {
			out.columns[i] = column{name: out.columns[i].name, labels: r.union(out.columns[i].labels, out.rest)}
		}
	}
	return out
}

func (r *resolver) values(v *values, sc *scope) result {
	res := result{}
	for _, row := range v.rows {
		for i, e := range row {
			l := r.expr(e, sc)
			if i == len(res.columns) {
				res.columns = append(res.columns, column{name: "COLUMN" + strconv.Itoa(i+1)})
			}
			res.columns[i].labels = r.union(res.columns[i].labels, l)
		}
	}
	return res
}

func (r *resolver) selectCore(s *selectCore, up *scope) (result, *scope) {
	r.enter(s)
	defer r.leave()
	if len(s.into) > 0 {
		r.doubt("a query result is kept in a variable")
	}
	sc := &scope{up: up, level: len(s.connect) > 0}
	for _, t := range s.from {
		r.table(t, sc)
	}
	if len(s.windows) > 0 {
		sc.windows = make(map[string]*window, len(s.windows))
		for _, w := range s.windows {
			sc.windows[w.name] = w
		}
	}
	sc.aliases = newAliases(s.items)
	res := r.items(s, sc)
	sc.clause = clauseFilter
	for _, e := range [...]expr{s.where, s.having, s.qualify} {
		if e != nil {
			r.predicate(r.expr(e, sc))
		}
	}
	for _, e := range s.connect {
		r.predicate(r.expr(e, sc))
	}
	for _, e := range s.group {
		r.positionOr(e, res, sc)
	}
	for _, w := range s.windows {
		r.predicate(r.windowLabels(w, sc))
	}
	if s.groupAll {
		r.groupAll(s, res)
	}
	if s.distinct {
		r.predicate(r.all(res))
	}
	return res, sc
}

// items resolves the select list.
func (r *resolver) items(s *selectCore, sc *scope) result {
	res := result{columns: make([]column, 0, len(s.items))}
	for i := range s.items {
		it := &s.items[i]
		if st, ok := it.value.(*star); ok {
			part := r.star(st, sc)
			res.columns = append(res.columns, part.columns...)
			res.open = res.open || part.open
			res.rest = r.union(res.rest, part.rest)
			r.spend(len(part.columns))
			if len(res.columns) > maxOutputs {
				panic(&UnsupportedError{Pos: r.at, Msg: "too many columns in a result"})
			}
			continue
		}
		c := r.aliasValue(sc, i)
		c.name = itemName(it)
		res.columns = append(res.columns, c)
	}
	return res
}

// itemName is the name Snowflake gives an output, where it is certain.
func itemName(it *selectItem) string {
	if it.alias.name != "" {
		return it.alias.name
	}
	switch x := it.value.(type) {
	case *columnRef:
		return x.parts[len(x.parts)-1].name
	case *positional:
		return "$" + strconv.Itoa(x.n)
	}
	return ""
}

// groupAll adds what GROUP BY ALL groups by: every output without an
// aggregate.
func (r *resolver) groupAll(s *selectCore, res result) {
	if len(res.columns) != len(s.items) {
		r.predicate(r.all(res))
		return
	}
	for i, it := range s.items {
		aggregates := false
		walk(it.value, func(n node) bool {
			if c, ok := n.(*call); ok && c.over == nil && c.method == nil && len(c.name.parts) == 1 && isAggregate(c.name.parts[0].name) {
				aggregates = true
			}
			_, sub := n.(*subquery)
			return !sub && !aggregates
		})
		if !aggregates {
			r.predicate(res.columns[i].labels)
		}
	}
}
