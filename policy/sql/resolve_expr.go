package sql

// value resolves a select item: as expr, but telling apart a column that is
// passed on unchanged.
func (r *resolver) value(e expr, sc *scope) column {
	switch e := e.(type) {
	case *columnRef:
		c := r.column(e, sc)
		return c
	case *positional:
		return r.positional(e, sc)
	case *call:
		l := r.expr(e, sc)
		return column{labels: l, counts: r.counts(e, sc)}
	}
	return column{labels: r.expr(e, sc)}
}

// counts tells whether a call only counts the values of plain columns.
func (r *resolver) counts(c *call, sc *scope) bool {
	if c.method != nil || c.over != nil || c.filter != nil || len(c.name.parts) != 1 || len(c.args) == 0 {
		return false
	}
	switch c.name.parts[0].name {
	case "COUNT", "APPROX_COUNT_DISTINCT", "HLL":
	default:
		return false
	}
	for _, a := range c.args {
		ref, ok := a.value.(*columnRef)
		if !ok || ref.datePart || !r.column(ref, sc).base {
			return false
		}
	}
	return true
}

func (r *resolver) exprs(list []expr, sc *scope) labelSet {
	l := labelSet{}
	for _, e := range list {
		l = r.union(l, r.expr(e, sc))
	}
	return l
}

// expr returns every base column the value of e can depend on.
func (r *resolver) expr(e expr, sc *scope) labelSet {
	r.enter(e)
	defer r.leave()
	switch e := e.(type) {
	case *literal:
		return labelSet{}
	case *bind:
		if r.script && e.name != "" && !isDigit(e.name[0]) {
			r.doubt("a script variable may hold any data")
			return topLabels
		}
		return labelSet{}
	case *variable:
		return r.variable(e)
	case *positional:
		return r.positional(e, sc).labels
	case *columnRef:
		return r.column(e, sc).labels
	case *dynamicRef:
		if parts, ok := r.resolveName(e.name); ok {
			return r.column(&columnRef{span: e.span, parts: parts}, sc).labels
		}
		r.doubt("a column is named by a value that is not known here")
		return topLabels
	case *star:
		return r.all(r.star(e, sc))
	case *call:
		return r.call(e, sc)
	case *operation:
		return r.exprs(e.args, sc)
	case *caseExpr:
		return r.exprs(e.args, sc)
	case *collection:
		return r.exprs(e.args, sc)
	case *cast:
		return r.expr(e.x, sc)
	case *path:
		return r.expr(e.x, sc)
	case *index:
		return r.union(r.expr(e.x, sc), r.exprs(e.args, sc))
	case *subquery: // its rows decide the value as much as its columns
		res := r.query(e.query, sc)
		return r.union(r.all(res), res.rows)
	case *lambda:
		return r.lambda(e, topLabels, sc)
	case *stageRef:
		r.reads(Object{Kind: ObjectStage, Name: ObjectName{Name: e.text}})
		return labelSet{}
	case *tableArg:
		in := &scope{up: sc}
		before := r.facts.predicates
		r.facts.predicates = labelSet{}
		r.table(e.table, in)
		l := r.facts.predicates
		r.facts.predicates = r.union(before, l)
		for _, x := range in.relations {
			l = r.union(l, r.all(result{columns: x.columns, open: x.open, rest: x.rest}))
		}
		return l
	}
	panic(&UnsupportedError{Pos: r.at, Msg: "an expression of an unknown form"})
}

func (r *resolver) variable(v *variable) labelSet {
	if _, known := r.ctx.Variables[v.name]; known && !r.script {
		return labelSet{}
	}
	r.doubt("session variable $" + v.name + " may hold any data")
	return topLabels
}

func (r *resolver) lambda(e *lambda, in labelSet, sc *scope) labelSet {
	params := make(map[string]labelSet, len(e.params))
	for _, p := range e.params {
		params[p] = in
	}
	return r.expr(e.body, &scope{up: sc, params: params})
}

// call resolves a function call: it depends on all its arguments, on what
// filters and orders it, and on more if the function is not known.
func (r *resolver) call(c *call, sc *scope) labelSet {
	l := r.function(c)
	in := labelSet{}
	if !r.countsRows(c) {
		for _, a := range c.args {
			if _, ok := a.value.(*lambda); !ok {
				in = r.union(in, r.expr(a.value, sc))
			}
		}
	}
	if c.method != nil {
		in = r.union(in, r.expr(c.method, sc))
	}
	for _, a := range c.args {
		if f, ok := a.value.(*lambda); ok {
			in = r.union(in, r.lambda(f, in, sc))
		}
	}
	l = r.union(l, in)
	l = r.union(l, r.exprs(c.order, sc))
	if c.filter != nil {
		l = r.union(l, r.expr(c.filter, sc))
	}
	if c.over != nil {
		w := r.windowLabels(c.over, sc)
		r.predicate(w) // rows come back in the order of a window
		l = r.union(l, w)
	}
	return l
}

// countsRows tells whether c is COUNT(*), which depends on no value.
func (r *resolver) countsRows(c *call) bool {
	if c.method != nil || len(c.args) != 1 || c.distinct || len(c.name.parts) != 1 || c.name.parts[0].name != "COUNT" {
		return false
	}
	s, ok := c.args[0].value.(*star)
	return ok && len(s.qualifier) == 0 && !s.hasILike && len(s.exclude)+len(s.rename)+len(s.replace) == 0
}

func (r *resolver) windowLabels(w *window, sc *scope) labelSet {
	r.enter(w)
	defer r.leave()
	l := r.union(r.exprs(w.partition, sc), r.union(r.exprs(w.order, sc), r.exprs(w.frame, sc)))
	if w.name == "" {
		return l
	}
	for s := sc; s != nil; s = s.up {
		if named, ok := s.windows[w.name]; ok {
			if named == w {
				return l
			}
			return r.union(l, r.windowLabels(&window{span: named.span, partition: named.partition, order: named.order, frame: named.frame}, s))
		}
	}
	r.doubt("window " + FormatIdentifier(w.name) + " is not defined")
	return topLabels
}

// function records what is called and returns what its result may depend on
// besides its arguments.
func (r *resolver) function(c *call) labelSet {
	if c.method != nil {
		r.called(Function{Name: "." + c.name.parts[0].name})
		r.doubt("method " + FormatIdentifier(c.name.parts[0].name) + " is not known")
		return topLabels
	}
	parts, ok := r.resolveName(c.name)
	if !ok {
		r.called(Function{Name: "IDENTIFIER"})
		r.doubt("a function is named by a value that is not known here")
		return topLabels
	}
	name, risk := classifyFunction(parts)
	if risk != FunctionPure || len(r.facts.functions) < 64 {
		r.called(Function{Name: name, Risk: risk})
	}
	if risk != FunctionPure {
		r.stagesNamed(c)
	}
	switch risk {
	case FunctionPure, FunctionEgress:
		return labelSet{}
	case FunctionSystem:
		r.doubt("function " + name + " may tell more than its arguments")
	default:
		r.doubt("function " + name + " is not known")
	}
	return topLabels
}

// stagesNamed records the stages that a function is told by name in a string.
func (r *resolver) stagesNamed(c *call) {
	for _, a := range c.args {
		if text, ok := constant(a.value); ok && len(text) > 1 && text[0] == '@' {
			r.reads(place(text))
		}
	}
}
