package sql

import (
	"maps"
	"slices"
)

// scripted marks the end of something that may have run any statement in any
// order: nothing known about names before holds after it.
func (r *resolver) scripted(ctx Context) Effects {
	r.lost = true
	r.spend(len(ctx.Variables))
	r.ctx = Context{Database: ctx.Database, Schema: ctx.Schema}
	return Effects{CatalogChanged: true, Anything: true, SetVariables: slices.Sorted(maps.Keys(ctx.Variables))}
}

func (r *resolver) immediate(s *immediateStmt) outcome {
	o := outcome{kind: "EXECUTE_IMMEDIATE", category: CategoryScript}
	ctx := r.ctx
	for _, e := range s.using {
		r.predicate(r.expr(e, &scope{}))
	}
	if s.from != "" {
		o.kind = "EXECUTE_IMMEDIATE_FROM"
		r.reads(place(s.from))
		r.doubt("it runs a file that is not read here")
		o.effects = r.scripted(ctx)
		return o
	}
	text, ok := constant(s.body)
	if v, isVariable := s.body.(*variable); isVariable && !r.script {
		text, ok = r.ctx.Variables[v.name]
	}
	if !ok {
		r.predicate(r.expr(s.body, &scope{}))
		r.doubt("it runs a text that is not known here")
		o.effects = r.scripted(ctx)
		return o
	}
	o.nested = r.dynamicText(text)
	o.effects = r.scripted(ctx)
	return o
}

// dynamicText resolves the statements of a text that is run as SQL.
func (r *resolver) dynamicText(text string) []Statement {
	if r.dynamic >= maxDynamic {
		panic(&UnsupportedError{Pos: r.at, Msg: "statements within statements, too deeply"})
	}
	l, err := lex(text)
	var cuts [][2]int
	if err == nil {
		cuts, err = split(l, 0, len(l.tokens))
	}
	if err != nil {
		r.doubt("it runs a text that is not understood")
		return nil
	}
	fixed := r.fixed
	r.fixed = true
	r.dynamic++
	defer func() { r.fixed = fixed; r.dynamic-- }()
	var list []Statement
	for _, c := range cuts {
		s, err := parseStatement(l, c[0], c[1], true)
		if err != nil {
			r.doubt("it runs a text that is not understood")
			return list
		}
		script := r.script
		r.script = true
		st, _ := r.statement(s)
		r.script = script
		st.Pos, st.End = r.at, r.at
		st.Text = format(l, c[0], c[1])
		list = append(list, st)
	}
	return list
}

func (r *resolver) block(s *blockStmt) outcome {
	o := outcome{kind: "BLOCK", category: CategoryScript}
	ctx, script := r.ctx, r.script
	r.script = true
	r.ctx.Variables = nil
	for _, p := range s.parts {
		if st, ok := p.(statement); ok && isStatement(p) {
			inner, _ := r.statement(st)
			o.nested = append(o.nested, inner)
			continue
		}
		r.predicate(r.expr(p, &scope{})) // it may decide what runs
	}
	if s.stuck {
		o.category = CategoryUnknown
		r.doubt("the block is not understood")
	}
	r.script = script
	o.effects = r.scripted(ctx)
	return o
}

func isStatement(n node) bool {
	switch n.(type) {
	case *queryStmt, *insertStmt, *insertAllStmt, *updateStmt, *deleteStmt, *mergeStmt, *copyStmt, *explainStmt, *flowStmt,
		*setStmt, *callStmt, *immediateStmt, *blockStmt, *commandStmt:
		return true
	}
	return false
}

func (r *resolver) command(s *commandStmt) outcome {
	o := outcome{kind: s.rule.kind, category: s.rule.category, effects: s.effects}
	for _, b := range s.body {
		switch {
		case isStatement(b):
			inner, _ := r.statement(b)
			o.nested = append(o.nested, inner)
		default:
			q, ok := b.(*query)
			if sub, isSub := b.(*subquery); isSub {
				q, ok = sub.query, true
			}
			if !ok {
				r.predicate(r.expr(b, &scope{}))
				continue
			}
			inner, res := r.nestedQuery(q)
			o.nested = append(o.nested, inner)
			r.stores(r.all(res))
		}
	}
	for _, t := range s.targets {
		if obj, ok := r.object(t); ok {
			r.writes(obj)
			r.changed(obj, s)
		}
	}
	for _, t := range s.sources {
		if obj, ok := r.object(t); ok {
			r.reads(obj)
		}
	}
	if s.stuck != "" {
		r.doubt(s.stuck)
	}
	if s.rule.reason != "" {
		r.doubt(s.rule.reason)
	}
	if len(s.body) > 0 && categoryRank(o.category) < categoryRank(CategoryQuery) {
		o.category = CategoryUnknown
		r.doubt("a query where none is expected")
	}
	if o.category == CategoryUnknown || o.category == CategoryScript {
		o.effects = r.scripted(r.ctx)
	}
	r.use(o.effects)
	return o
}

// object resolves the name of something a command touches.
func (r *resolver) object(t objectRef) (Object, bool) {
	if t.name == nil {
		if t.kind == ObjectStage || t.kind == ObjectLocation {
			return Object{t.kind, ObjectName{Name: t.text}}, true
		}
		return Object{}, false
	}
	parts, ok := r.resolveName(t.name)
	if !ok {
		r.doubt("an object is named by a value that is not known here")
		r.lost = true
		return Object{}, false
	}
	o := r.qualify(parts, t.kind)
	kind := t.kind
	if kind == ObjectTable {
		kind = r.kindOfTable(o)
	}
	return Object{kind, o}, true
}

// changed notes that a name may mean something else from here on.
func (r *resolver) changed(o Object, s *commandStmt) {
	if !s.effects.CatalogChanged {
		return
	}
	r.tables = nil
	switch o.Kind {
	case ObjectTable, ObjectView:
		if r.stale == nil {
			r.stale = map[ObjectName]bool{}
		}
		r.stale[o.Name] = true
	case ObjectDatabase, ObjectSchema, ObjectShare, ObjectRole, ObjectUser, ObjectOther:
		r.lost = true
	}
}

// use applies what a statement does to the session to those after it.
func (r *resolver) use(e Effects) {
	if e.UseDatabase != "" {
		r.ctx.Database = e.UseDatabase
	}
	if e.UseSchema != "" {
		r.ctx.Schema = e.UseSchema
	}
	if e.UseRole != "" { // another role may see other objects under a name
		r.lost = true
	}
	if r.script && e.UseDatabase+e.UseSchema != "" { // who knows whether it runs
		r.lost = true
	}
}
