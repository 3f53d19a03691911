package sql

// inside resolves source alone and returns its scope.
func (r *resolver) inside(source tableExpr, sc *scope) (*scope, *relation) {
	in := &scope{up: sc.up, relations: append([]*relation(nil), sc.relations...)}
	before := len(in.relations)
	r.table(source, in)
	in.relations = in.relations[before:]
	in.up = sc.up
	whole := &relation{}
	for _, x := range in.relations {
		for _, c := range x.columns {
			if !x.hidden[c.name] {
				whole.columns = append(whole.columns, c)
			}
		}
		r.spend(len(x.columns))
		if x.open {
			whole.open = true
			whole.rest = r.union(whole.rest, x.rest)
		}
	}
	return in, whole
}

// pivot: every pivoted column depends on the aggregated values and on the
// column that chooses; the rest are grouped by.
func (r *resolver) pivot(t *pivot, sc *scope) *relation {
	in, whole := r.inside(t.source, sc)
	x := &relation{open: whole.open, rest: whole.rest}
	used := r.expr(t.column, in)
	drop := map[string]bool{t.column.parts[len(t.column.parts)-1].name: true}
	r.predicate(used)
	for _, a := range t.aggs {
		used = r.union(used, r.expr(a.value, in))
		walk(a.value, func(n node) bool {
			if c, ok := n.(*columnRef); ok {
				drop[c.parts[len(c.parts)-1].name] = true
			}
			return true
		})
	}
	for _, e := range t.order {
		used = r.union(used, r.expr(e, in))
	}
	if t.query != nil {
		res := r.query(t.query, sc)
		used = r.union(used, r.union(r.all(res), res.rows))
	}
	if t.orElse != nil {
		used = r.union(used, r.expr(t.orElse, in))
	}
	for _, c := range whole.columns {
		if !drop[c.name] {
			x.columns = append(x.columns, c)
			r.predicate(c.labels)
		}
	}
	for _, it := range t.in {
		l := r.union(used, r.expr(it.value, in))
		n := it.alias.name
		if v, ok := it.value.(*literal); ok && n == "" {
			n = v.text
		}
		for _, a := range t.aggs {
			name := n
			if len(t.aggs) > 1 || a.alias.name != "" {
				name += "_" + a.alias.name
			}
			x.columns = append(x.columns, column{name: name, labels: l})
		}
	}
	if t.any {
		x.open = true
		x.rest = r.union(x.rest, used)
		r.doubt("a pivot's columns depend on the data")
	}
	return x
}

// unpivot: rows whose value is NULL disappear, so rows depend on the values.
func (r *resolver) unpivot(t *unpivot, sc *scope) *relation {
	in, whole := r.inside(t.source, sc)
	x := &relation{open: whole.open, rest: whole.rest}
	value := labelSet{}
	drop := map[string]bool{}
	for _, c := range t.columns {
		value = r.union(value, r.expr(c, in))
		drop[c.parts[len(c.parts)-1].name] = true
	}
	r.predicate(value)
	for _, c := range whole.columns {
		if !drop[c.name] {
			x.columns = append(x.columns, c)
		}
	}
	x.columns = append(x.columns, column{name: t.name.name}, column{name: t.value.name, labels: value})
	return x
}

// matchRecognize: which rows match depends on the definitions, and so do the
// measures.
func (r *resolver) matchRecognize(t *matchRecognize, sc *scope) *relation {
	in, whole := r.inside(t.source, sc)
	in.variables = true
	control := labelSet{}
	for _, list := range [...][]expr{t.partition, t.order, t.define} {
		for _, e := range list {
			control = r.union(control, r.expr(e, in))
		}
	}
	r.predicate(control)
	x := &relation{}
	if t.allRows {
		x.columns = append(x.columns, whole.columns...)
		x.open, x.rest = whole.open, whole.rest
	} else {
		for _, e := range t.partition {
			if c, ok := e.(*columnRef); ok {
				x.columns = append(x.columns, r.column(c, in))
			} else {
				x.open, x.rest = true, r.union(x.rest, r.expr(e, in))
			}
			if n := len(x.columns); n > 0 && x.columns[n-1].name == "" {
				x.columns[n-1].name = itemName(&selectItem{value: e})
			}
		}
	}
	for _, m := range t.measures {
		x.columns = append(x.columns, column{name: m.alias.name, labels: r.union(control, r.expr(m.value, in))})
	}
	return x
}
