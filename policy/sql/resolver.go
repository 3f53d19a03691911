package sql

import "strings"

// resolver finds out which base columns values and rows depend on. One
// resolver serves one Analyze; its facts belong to the statement at hand.
type resolver struct {
	cat     Catalog
	ctx     Context
	columns columnTable
	tables  map[ObjectName]*baseTable
	missing []ObjectName
	wrote   map[ObjectName]labelSet // stored by earlier statements of the batch
	stale   map[ObjectName]bool     // defined anew by earlier statements of the batch
	lost    bool                    // an earlier statement may have changed anything

	steps   int
	count   int // of statements
	depth   int
	at      int  // position that a reason refers to
	fixed   bool // within other text than the author's: at stays where it is
	views   int
	dynamic int
	script  bool

	facts *facts
	flow  []result // earlier results of a ->> chain
}

// facts are what is collected about one statement.
type facts struct {
	reads, writes []Object
	functions     []Function
	predicates    labelSet
	stored        labelSet
	touched       columnSet
	unknown       []Reason
}

// result is what a query returns.
type result struct {
	columns []column
	open    bool // there are more columns, or others
	rest    labelSet
	rows    labelSet // what decided which rows there are
}

func (r *resolver) spend(n int) {
	r.steps += n
	if r.steps > maxSteps {
		panic(&UnsupportedError{Pos: r.at, Msg: "too much work to find out what depends on what"})
	}
}

func (r *resolver) enter(n node) {
	r.spend(1)
	r.depth++
	if r.depth > maxDepth {
		panic(&UnsupportedError{Pos: r.at, Msg: "nested too deeply"})
	}
	r.place(n.Pos())
}

func (r *resolver) leave() { r.depth-- }

func (r *resolver) place(pos int) {
	if !r.fixed {
		r.at = pos
	}
}

const (
	maxReasons = 32
	maxReason  = 200 // bytes: names come from the text and may be of any length
)

// doubt records why the facts are incomplete.
func (r *resolver) doubt(text string) { r.doubtOf(text, "") }

// doubtOf is doubt, about a column that is absent if it has a name.
func (r *resolver) doubtOf(text, absent string) {
	if len(absent) > maxReason {
		absent = ""
	}
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	for _, u := range r.facts.unknown {
		if u.Text == text {
			return
		}
	}
	if len(r.facts.unknown) < maxReasons {
		r.facts.unknown = append(r.facts.unknown, Reason{Pos: r.at, Text: text, Absent: absent})
	}
}

func (r *resolver) predicate(l labelSet) {
	r.facts.predicates = r.union(r.facts.predicates, l)
	r.touch(l)
}

// stores records that values with these labels are kept somewhere.
func (r *resolver) stores(l labelSet) {
	r.facts.stored = r.union(r.facts.stored, l)
	r.touch(l)
}

func addObject(list []Object, o Object) []Object {
	for _, x := range list {
		if x == o {
			return list
		}
	}
	return append(list, o)
}

func (r *resolver) reads(o Object) {
	r.spend(len(r.facts.reads)/8 + 1)
	r.facts.reads = addObject(r.facts.reads, o)
}

func (r *resolver) writes(o Object) {
	r.spend(len(r.facts.writes)/8 + 1)
	r.facts.writes = addObject(r.facts.writes, o)
}

func (r *resolver) called(f Function) {
	r.spend(len(r.facts.functions)/8 + 1)
	for _, x := range r.facts.functions {
		if x == f {
			return
		}
	}
	r.facts.functions = append(r.facts.functions, f)
}

// apart runs f with facts of its own and returns them.
func (r *resolver) apart(f func()) *facts {
	outer := r.facts
	r.facts = &facts{}
	f()
	inner := r.facts
	r.facts = outer
	return inner
}

// merge adds the facts of a part to the statement at hand.
func (r *resolver) merge(f *facts) {
	for _, o := range f.reads {
		r.reads(o)
	}
	for _, o := range f.writes {
		r.writes(o)
	}
	for _, fn := range f.functions {
		r.called(fn)
	}
	r.predicate(f.predicates)
	r.stores(f.stored)
	r.touchAll(f.touched)
	at := r.at
	for _, u := range f.unknown {
		r.at = u.Pos
		r.doubtOf(u.Text, u.Absent)
	}
	r.at = at
}

// qualify completes a name from the session's context. A part nobody knows
// stays empty.
func (r *resolver) qualify(parts []ident, kind ObjectKind) ObjectName {
	n := len(parts)
	switch kind {
	case ObjectDatabase, ObjectWarehouse, ObjectRole, ObjectUser, ObjectShare, ObjectIntegration:
		o := ObjectName{Name: parts[n-1].name}
		if n > 1 { // database role, or a network rule in a schema
			o.Database = parts[0].name
		}
		if n > 2 {
			o.Schema = parts[1].name
		}
		return o
	case ObjectSchema:
		if n > 1 {
			return ObjectName{Database: parts[n-2].name, Name: parts[n-1].name}
		}
		return ObjectName{Database: r.ctx.Database, Name: parts[0].name}
	}
	switch n {
	case 1:
		return ObjectName{r.ctx.Database, r.ctx.Schema, parts[0].name}
	case 2:
		return ObjectName{r.ctx.Database, parts[0].name, parts[1].name}
	}
	return ObjectName{parts[n-3].name, parts[n-2].name, parts[n-1].name}
}

// resolveName returns the parts of n, following IDENTIFIER($variable) where
// the variable is tracked; ok is false if nobody knows what it names.
func (r *resolver) resolveName(n *name) (parts []ident, ok bool) {
	if n.dynamic == nil {
		return n.parts, len(n.parts) > 0 && len(n.parts) <= 4
	}
	if v, isVariable := n.dynamic.(*variable); isVariable && !r.script {
		if text, known := r.ctx.Variables[v.name]; known {
			if parts, err := parseName(text); err == nil {
				return parts, len(parts) <= 4
			}
		}
	}
	return nil, false
}
