package sql

import (
	"maps"
	"strings"
)

// outcome is a resolved statement and, for a ->> chain, what it returns.
type outcome struct {
	kind     Kind
	category Category
	res      result
	known    bool // res lists every column of the statement's result
	nested   []Statement
	effects  Effects
}

// statement resolves s with facts of its own.
func (r *resolver) statement(s statement) (Statement, result) {
	if r.count++; r.count > maxStatements {
		panic(&UnsupportedError{Pos: r.at, Msg: "too many statements in one text"})
	}
	outer := r.facts
	r.facts = &facts{}
	r.place(s.Pos())
	o := r.dispatch(s)
	st := Statement{Kind: o.kind, Category: o.category, Pos: s.Pos(), End: s.End(), Nested: o.nested, Effects: o.effects}
	if o.category == CategoryUnknown && len(r.facts.unknown) == 0 {
		r.doubt("no rule knows this statement")
	}
	if o.known {
		st.OutputsKnown = true
		st.Outputs = make([]Output, len(o.res.columns))
		for i, c := range o.res.columns {
			r.touch(c.labels)
			st.Outputs[i] = Output{Name: c.name, Labels: r.labels(c.labels), Direct: c.direct && !c.labels.top, Counts: c.counts && !c.labels.top}
		}
	}
	f := r.facts
	st.Reads, st.Writes, st.Functions, st.Unknown = f.reads, f.writes, f.functions, f.unknown
	st.Predicates, st.Stored, st.Touched = r.labels(f.predicates), r.labels(f.stored), r.touched()
	r.facts = outer
	if outer != nil {
		r.merge(f)
	}
	if !o.known {
		o.res = result{open: true, rest: topLabels}
	}
	o.res.rows = f.predicates
	return st, o.res
}

func (r *resolver) dispatch(s statement) outcome {
	switch s := s.(type) {
	case *queryStmt:
		return r.queryStatement(s)
	case *insertStmt:
		return r.insert(s)
	case *insertAllStmt:
		return r.insertAll(s)
	case *updateStmt:
		return r.update(s)
	case *deleteStmt:
		return r.delete(s)
	case *mergeStmt:
		return r.mergeInto(s)
	case *copyStmt:
		return r.copyInto(s)
	case *explainStmt:
		ctx := r.ctx // what is explained does not run
		inner, _ := r.statement(s.inner)
		r.ctx = ctx
		return outcome{kind: "EXPLAIN", category: CategoryMetadata, nested: []Statement{inner}}
	case *flowStmt:
		return r.flowStatement(s)
	case *setStmt:
		return r.set(s)
	case *callStmt:
		return r.callStatement(s)
	case *immediateStmt:
		return r.immediate(s)
	case *blockStmt:
		return r.block(s)
	case *commandStmt:
		return r.command(s)
	}
	panic(&UnsupportedError{Pos: r.at, Msg: "a statement of an unknown form"})
}

func (r *resolver) queryStatement(s *queryStmt) outcome {
	o := outcome{kind: "SELECT", category: CategoryQuery}
	switch b := unwrap(s.query).(type) {
	case *values:
		o.kind = "VALUES"
	case *selectCore:
		if len(b.into) > 0 {
			o.kind, o.category = "SELECT_INTO", CategoryScript
		}
	}
	if s.query.locking {
		o.kind, o.category = "SELECT_FOR_UPDATE", CategoryWrite
	}
	o.res = r.query(s.query, nil)
	o.known = !o.res.open
	return o
}

// nestedQuery resolves the query of a statement as a statement within it.
func (r *resolver) nestedQuery(q *query) (Statement, result) {
	return r.statement(&queryStmt{span: q.span, query: q})
}

// writeTarget records a table that is written and returns its name.
func (r *resolver) writeTarget(n *name) (ObjectName, bool) {
	parts, ok := r.resolveName(n)
	if !ok || len(parts) > 3 {
		r.doubt("the target is named by a value that is not known here")
		r.lost = true
		return ObjectName{}, false
	}
	o := r.qualify(parts, ObjectTable)
	r.writes(Object{r.kindOfTable(o), o})
	if o.Database == "" || o.Schema == "" {
		r.doubt("table " + o.String() + " has no known database or schema")
		r.lost = true
	}
	return o, true
}

func (r *resolver) kindOfTable(o ObjectName) ObjectKind {
	if r.cat != nil && o.Database != "" && o.Schema != "" {
		if rel, ok := r.cat.Relation(o); ok && rel.Kind == ObjectView {
			return ObjectView
		}
	}
	return ObjectTable
}

// store records that values with these labels are now in the table.
func (r *resolver) store(o ObjectName, l labelSet) {
	r.stores(l)
	if r.wrote == nil {
		r.wrote = map[ObjectName]labelSet{}
	}
	r.wrote[o] = r.union(r.wrote[o], l)
	r.tables = nil // views may read it
}

func (r *resolver) insert(s *insertStmt) outcome {
	o := outcome{kind: "INSERT", category: CategoryWrite}
	if s.overwrite {
		o.kind = "INSERT_OVERWRITE"
	}
	inner, res := r.nestedQuery(s.query)
	o.nested = []Statement{inner}
	if target, ok := r.writeTarget(s.target); ok {
		r.store(target, r.all(res))
	}
	return o
}

func (r *resolver) insertAll(s *insertAllStmt) outcome {
	o := outcome{kind: "INSERT_ALL", category: CategoryWrite}
	inner, res := r.nestedQuery(s.query)
	o.nested = []Statement{inner}
	sc := &scope{relations: []*relation{{columns: res.columns, open: res.open, rest: res.rest}}}
	for _, e := range s.conditions {
		r.predicate(r.expr(e, sc))
	}
	for _, b := range s.branches {
		l := r.all(res)
		if len(b.values) > 0 {
			l = r.exprs(b.values, sc)
		}
		if target, ok := r.writeTarget(b.target); ok {
			r.store(target, l)
		}
	}
	return o
}

// targetOf finds the table that a DML statement changes.
func targetOf(t tableExpr) *name {
	switch t := t.(type) {
	case *tableName:
		return t.name
	case *joinChain:
		return targetOf(t.first)
	}
	return nil
}

func (r *resolver) dmlTarget(t tableExpr, sc *scope) (ObjectName, bool) {
	n := targetOf(t)
	if n == nil {
		panic(&UnsupportedError{Pos: t.Pos(), Msg: "a target that is not a table"})
	}
	r.table(t, sc)
	return r.writeTarget(n)
}

func (r *resolver) update(s *updateStmt) outcome {
	sc := &scope{}
	target, ok := r.dmlTarget(s.target, sc)
	for _, t := range s.from {
		r.table(t, sc)
	}
	if s.where != nil {
		r.predicate(r.expr(s.where, sc))
	}
	if l := r.exprs(s.sets, sc); ok {
		r.store(target, l)
	}
	return outcome{kind: "UPDATE", category: CategoryWrite}
}

func (r *resolver) delete(s *deleteStmt) outcome {
	sc := &scope{}
	r.dmlTarget(s.target, sc)
	for _, t := range s.using {
		r.table(t, sc)
	}
	if s.where != nil {
		r.predicate(r.expr(s.where, sc))
	}
	return outcome{kind: "DELETE", category: CategoryWrite}
}

func (r *resolver) mergeInto(s *mergeStmt) outcome {
	sc := &scope{}
	target, ok := r.dmlTarget(s.target, sc)
	before := len(sc.relations)
	r.table(s.source, sc)
	r.predicate(r.exprs(s.conditions, sc))
	l := r.exprs(s.stored, sc)
	if s.storesAll {
		for _, x := range sc.relations[before:] {
			l = r.union(l, r.all(result{columns: x.columns, open: x.open, rest: x.rest}))
		}
	}
	if ok {
		r.store(target, l)
	}
	return outcome{kind: "MERGE", category: CategoryWrite}
}

func place(text string) Object {
	if strings.HasPrefix(text, "@") {
		return Object{ObjectStage, ObjectName{Name: text}}
	}
	return Object{ObjectLocation, ObjectName{Name: text}}
}

func (r *resolver) copyInto(s *copyStmt) outcome {
	o := outcome{kind: "COPY_INTO_TABLE", category: CategoryLoad}
	sc := &scope{}
	l := topLabels
	switch src := s.source.(type) {
	case nil:
		inner, res := r.nestedQuery(s.query)
		o.nested = []Statement{inner}
		l = r.all(res)
		sc.relations = []*relation{{columns: res.columns, open: res.open, rest: res.rest}}
	case *stageTable:
		r.reads(place(src.text))
		for _, e := range src.args {
			r.predicate(r.expr(e, sc))
		}
	default:
		r.table(src, sc)
		l = labelSet{}
		for _, x := range sc.relations {
			l = r.union(l, r.all(result{columns: x.columns, open: x.open, rest: x.rest}))
		}
	}
	for _, e := range s.extra {
		l = r.union(l, r.expr(e, sc))
	}
	for _, w := range s.options {
		if strings.HasSuffix(w.key, "INTEGRATION") && w.value != "" {
			r.reads(Object{ObjectIntegration, ObjectName{Name: foldWord(w.value)}})
		}
	}
	if s.unload {
		o.kind, o.category = "COPY_INTO_LOCATION", CategoryUnload
		r.writes(place(s.location))
		r.stores(l)
		return o
	}
	if target, ok := r.writeTarget(s.target); ok {
		r.store(target, l)
	}
	return o
}

// categoryRank orders categories by how much a mixture should be feared.
func categoryRank(c Category) int {
	switch c {
	case CategoryTransaction:
		return 1
	case CategorySession:
		return 2
	case CategoryMetadata:
		return 3
	case CategoryQuery:
		return 4
	case CategoryUnknown:
		return 1000
	}
	return 100 + int(c)
}

func (r *resolver) flowStatement(s *flowStmt) outcome {
	o := outcome{kind: "SELECT", category: CategoryTransaction}
	saved := r.flow
	r.flow = nil
	for _, step := range s.steps {
		st, res := r.statement(step)
		o.nested = append(o.nested, st)
		r.flow = append(r.flow, res)
		if st.Kind != "SELECT" {
			o.kind = "FLOW"
		}
		if categoryRank(st.Category) > categoryRank(o.category) {
			o.category = st.Category
		}
		o.res, o.known = res, st.OutputsKnown
		o.effects.CatalogChanged = o.effects.CatalogChanged || st.Effects.CatalogChanged
		o.effects.Anything = o.effects.Anything || st.Effects.Anything
		o.effects.SetVariables = append(o.effects.SetVariables, st.Effects.SetVariables...)
		if st.Category != CategoryQuery && st.Category != CategoryMetadata {
			r.lost = true
		}
	}
	r.flow = saved
	return o
}

func (r *resolver) set(s *setStmt) outcome {
	o := outcome{kind: "SET", category: CategorySession}
	o.effects.SetVariables = s.names
	r.spend(len(r.ctx.Variables))
	vars := make(map[string]string, len(r.ctx.Variables)+len(s.names))
	maps.Copy(vars, r.ctx.Variables)
	for _, n := range s.names {
		delete(vars, n)
		if folded := foldWord(n); folded != n {
			// Whether Snowflake folds a quoted name here is not documented.
			delete(vars, folded)
			o.effects.SetVariables = append(o.effects.SetVariables[:len(o.effects.SetVariables):len(o.effects.SetVariables)], folded)
			r.doubt("which variable " + FormatIdentifier(n) + " is")
		}
	}
	if s.unset {
		o.kind = "UNSET"
	}
	l := r.exprs(s.values, &scope{})
	r.predicate(l) // the value tells, once it is read back
	r.stores(l)
	if len(r.facts.reads) > 0 || len(r.facts.unknown) > 0 {
		o.category = CategoryQuery
	}
	if len(s.values) == len(s.names) {
		for i, n := range s.names {
			if text, ok := constant(s.values[i]); ok && foldWord(n) == n && len(vars) < maxVariables {
				if o.effects.Literals == nil {
					o.effects.Literals = map[string]string{}
				}
				o.effects.Literals[n], vars[n] = text, text
			}
		}
	}
	r.ctx.Variables = vars
	return o
}

// constant returns the value of a literal.
func constant(e expr) (string, bool) {
	l, ok := e.(*literal)
	if !ok {
		return "", false
	}
	switch l.kind {
	case tokenString, tokenDollar:
		return unquoteString(l.text)
	case tokenNumber:
		return l.text, true
	}
	return "", false
}

func (r *resolver) callStatement(s *callStmt) outcome {
	sc := &scope{}
	l := labelSet{}
	for _, a := range s.call.args {
		l = r.union(l, r.expr(a.value, sc))
	}
	r.predicate(l) // what the procedure does with its arguments is not known
	if parts, ok := r.resolveName(s.call.name); ok {
		name, risk := classifyFunction(parts)
		if risk == FunctionPure {
			risk = FunctionUnknown
		}
		r.called(Function{Name: name, Risk: risk})
		r.reads(Object{ObjectProcedure, r.qualify(parts, ObjectProcedure)})
		r.doubt("procedure " + name + " runs code that is not read here")
	} else {
		r.doubt("a procedure is named by a value that is not known here")
	}
	return outcome{kind: "CALL", category: CategoryCall, effects: r.scripted(r.ctx)}
}
