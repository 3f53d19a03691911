package sql

import "strings"

func newAliases(items []selectItem) *aliases {
	a := &aliases{items: items, value: make([]column, len(items)), state: make([]aliasState, len(items))}
	for i := range items {
		if n := items[i].alias.name; n != "" {
			if a.index == nil {
				a.index = make(map[string][]int, len(items))
			}
			a.index[n] = append(a.index[n], i)
		}
	}
	return a
}

// aliasValue resolves item i of the select list of sc, once.
func (r *resolver) aliasValue(sc *scope, i int) column {
	a := sc.aliases
	if a.state[i] != aliasNew {
		return a.value[i]
	}
	a.state[i] = aliasBusy
	saved := sc.clause
	sc.clause = clauseItems
	v := r.value(a.items[i].value, sc)
	sc.clause = saved
	a.value[i], a.state[i] = v, aliasDone
	return v
}

// aliasColumn returns what the aliases called name stand for, ok if there are
// any besides the one being resolved.
func (r *resolver) aliasColumn(sc *scope, name string) (c column, ok bool) {
	if sc.aliases == nil {
		return column{}, false
	}
	r.spend(len(sc.aliases.index[name]) / 4)
	for _, i := range sc.aliases.index[name] {
		if sc.aliases.state[i] == aliasBusy {
			continue
		}
		v := r.aliasValue(sc, i)
		if !ok {
			c, ok = v, true
			continue
		}
		c = column{labels: r.union(c.labels, v.labels)}
	}
	return c, ok
}

// found collects what a name can stand for.
type found struct {
	r     *resolver
	value column
	n     int
}

func (f *found) add(c column) {
	if f.n++; f.n == 1 {
		f.value = c
		return
	}
	f.value = column{labels: f.r.union(f.value.labels, c.labels)}
}

// column resolves a name used as a value. Where Snowflake's rules leave
// several meanings, all of them count.
func (r *resolver) column(ref *columnRef, sc *scope) column {
	c := r.named(ref, sc)
	r.touch(c.labels)
	return c
}

func (r *resolver) named(ref *columnRef, sc *scope) column {
	r.enter(ref)
	defer r.leave()
	f := &found{r: r}
	first := ref.parts[0]
	if len(ref.parts) == 1 {
		if !first.quoted && isContextWord(first.name) {
			return column{}
		}
		r.plainName(first.name, sc, f)
	} else {
		r.dottedName(ref.parts, sc, f)
	}
	if f.n > 0 {
		return f.value
	}
	switch last := ref.parts[len(ref.parts)-1].name; {
	case ref.datePart:
		return column{}
	case len(ref.parts) == 1 && last == "LEVEL" && sc.connects():
		return column{}
	case len(ref.parts) > 1 && (last == "NEXTVAL" || last == "CURRVAL"):
		r.called(Function{Name: dottedText(ref.parts), Risk: FunctionSystem})
		return column{}
	case r.script:
		r.doubt("a name in a script may be a variable")
	default:
		name, absent := dottedText(ref.parts), ""
		if sc.complete() {
			absent = name
		}
		r.doubtOf("column "+name+" is not known", absent)
	}
	return column{labels: topLabels}
}

// complete tells whether names refer to relations here, all of them fully known.
func (s *scope) complete() bool {
	any := false
	for ; s != nil; s = s.up {
		for _, x := range s.relations {
			if any = true; x.open {
				return false
			}
		}
	}
	return any
}

func (s *scope) connects() bool {
	for ; s != nil; s = s.up {
		if s.level {
			return true
		}
	}
	return false
}

func dottedText(parts []ident) string {
	list := make([]string, len(parts))
	for i, p := range parts {
		list[i] = FormatIdentifier(p.name)
	}
	return strings.Join(list, ".")
}

// plainName looks a name without qualifier up, innermost scope first. A column
// of a relation that is fully known ends the search; an alias or a relation
// with unknown columns does not, because the name may still mean an outer one.
func (r *resolver) plainName(name string, sc *scope, f *found) {
	for s := sc; s != nil; s = s.up {
		r.spend(1)
		if l, ok := s.params[name]; ok { // and perhaps a column of that name
			f.add(column{labels: l})
		}
		hit := false
		for _, x := range s.relations {
			r.spend(len(x.columns)/8 + 1)
			if c, ok := r.find(x, name); ok {
				f.add(r.merged(x, name, c))
				hit = true
			}
		}
		if !hit {
			for _, x := range s.relations {
				if x.open {
					f.add(column{labels: r.openLabels(x, name)})
				}
			}
		}
		if !hit || s.clause == clauseFilter {
			if c, ok := r.aliasColumn(s, name); ok {
				f.add(c)
			}
		}
		if hit {
			break
		}
	}
	if m := sc.cte(name); m != nil && m.macro != nil {
		f.add(column{labels: r.expr(m.macro, sc)})
	}
}

// merged returns the column a hidden copy was merged into as well: a plain
// name of a USING column means both.
func (r *resolver) merged(x *relation, name string, c column) column {
	if x.hidden[name] {
		return column{name: c.name, labels: c.labels}
	}
	return c
}

// dottedName looks a.b.c up: qualifier and column, possibly with a path into
// the column's value behind it. Only a table that answers to the whole
// qualifier and has the column ends the search; every other meaning counts
// besides those further out.
func (r *resolver) dottedName(parts []ident, sc *scope, f *found) {
	for s := sc; s != nil; s = s.up {
		r.spend(1)
		if l, ok := s.params[parts[0].name]; ok {
			f.add(column{labels: l})
		}
		if r.qualified(parts, s, f) {
			return
		}
		r.spend(len(s.relations))
		for _, x := range s.relations { // a path into a column
			if c, ok := r.find(x, parts[0].name); ok {
				f.add(column{labels: c.labels})
			}
			if s.variables { // a pattern variable may have any name, even a column's
				if c, ok := r.find(x, parts[1].name); ok {
					f.add(column{labels: c.labels})
				} else if x.open {
					f.add(column{labels: r.openLabels(x, parts[1].name)})
				}
			}
			if x.open && x.rest.top { // may have a column called like the qualifier
				f.add(column{labels: x.rest})
			}
		}
		if c, ok := r.aliasColumn(s, parts[0].name); ok {
			f.add(column{labels: c.labels})
		}
	}
}

// qualified looks for tables of one scope that a.b.c names a column of, and
// tells whether one does for certain.
func (r *resolver) qualified(parts []ident, s *scope, f *found) (certain bool) {
	for k := len(parts) - 1; k >= 1; k-- {
		r.spend(len(s.relations)/16 + 1)
		for _, x := range s.relations {
			if !x.answersTo(parts[:k]) {
				continue
			}
			r.spend(len(x.columns)/8 + 1)
			c, ok := r.find(x, parts[k].name)
			switch {
			case ok && k == len(parts)-1:
				f.add(c)
				certain = true
			case ok:
				f.add(column{labels: c.labels})
			case x.open:
				f.add(column{labels: r.openLabels(x, parts[k].name)})
			}
		}
	}
	return certain
}

// answersTo tells whether a qualifier means this relation.
func (x *relation) answersTo(q []ident) bool {
	switch len(q) {
	case 1:
		return x.alias == q[0].name && x.alias != ""
	case 2:
		return x.object.Name == q[1].name && x.object.Schema == q[0].name && x.object.Name != ""
	case 3:
		return x.object.Name == q[2].name && x.object.Schema == q[1].name && x.object.Database == q[0].name && x.object.Name != ""
	}
	return false
}

// positional resolves $n or t.$n: the n-th column of what is in FROM.
//
// Without a qualifier and with several relations both the n-th column of all
// and the n-th of each count. Where a USING or NATURAL join made one column of
// two, nobody says how they are counted: it may be any column.
func (r *resolver) positional(p *positional, sc *scope) column {
	c := r.anyPositional(p, sc)
	r.touch(c.labels)
	return c
}

func (r *resolver) anyPositional(p *positional, sc *scope) column {
	c := r.nthColumn(p, sc)
	if len(p.qualifier) > 0 {
		return c
	}
	for s := sc; s != nil; s = s.up {
		if len(s.relations) == 0 {
			continue
		}
		if len(s.relations) > 1 {
			for _, x := range s.relations {
				if x.hidden != nil {
					for _, y := range s.relations {
						c = column{labels: r.union(c.labels, r.all(result{columns: y.columns, open: y.open, rest: y.rest}))}
					}
					break
				}
				if p.n >= 1 && p.n <= len(x.columns) {
					c = column{labels: r.union(c.labels, x.columns[p.n-1].labels)}
				}
			}
		}
		break
	}
	return c
}

func (r *resolver) nthColumn(p *positional, sc *scope) column {
	for s := sc; s != nil; s = s.up {
		r.spend(len(s.relations)/16 + 1)
		at, any := 0, false
		for _, x := range s.relations {
			if len(p.qualifier) > 0 && !x.answersTo(p.qualifier) {
				continue
			}
			any = true
			if p.n >= 1 && p.n-at <= len(x.columns) && p.n > at {
				c := x.columns[p.n-at-1]
				c.name = ""
				if x.open { // unknown columns may stand before it
					c = column{labels: r.union(c.labels, x.rest)}
				}
				return c
			}
			if x.open {
				return column{labels: r.union(x.rest, topLabels)}
			}
			at += len(x.columns)
		}
		if any {
			break
		}
	}
	r.doubt("a positional column is not known")
	return column{labels: topLabels}
}

// star expands * or t.*.
func (r *resolver) star(st *star, sc *scope) result {
	r.place(st.Pos())
	res := result{}
	matched := false
	for s := sc; s != nil && !matched; s = s.up {
		r.spend(len(s.relations)/16 + 1)
		for _, x := range s.relations {
			if len(st.qualifier) > 0 && !x.answersTo(st.qualifier) {
				continue
			}
			matched = true
			r.spend(len(x.columns) + 1)
			for _, c := range x.columns {
				if len(st.qualifier) > 0 || !x.hidden[c.name] {
					res.columns = append(res.columns, c)
				}
			}
			if x.open {
				res.open = true
				res.rest = r.union(res.rest, x.rest)
				if x.own && !x.rest.top {
					res.rest = r.union(res.rest, r.label(Column{x.owner, "*"}))
				}
			}
		}
		if len(st.qualifier) == 0 {
			break
		}
	}
	if !matched {
		r.doubt("what * stands for is not known")
		res.open, res.rest = true, topLabels
	}
	for _, c := range res.columns {
		r.touch(c.labels)
	}
	if res.open {
		r.touch(res.rest)
	}
	r.starFilters(st, &res, sc)
	return res
}

func (r *resolver) starFilters(st *star, res *result, sc *scope) {
	if st.hasILike && !plainPattern(st.ilike) {
		r.doubt("which columns * ILIKE keeps is not known")
		res.open, res.rest = true, r.union(r.all(*res), topLabels)
		return
	}
	if !st.hasILike && len(st.exclude)+len(st.rename)+len(st.replace) == 0 {
		return
	}
	drop := map[string]bool{}
	for _, x := range st.exclude {
		drop[x.name] = true
	}
	rename := map[string]string{}
	for _, x := range st.rename {
		rename[x.from.name] = x.to.name
	}
	replace := map[string]column{}
	for _, x := range st.replace {
		v := r.value(x.value, sc)
		replace[x.alias.name] = v
		if res.open {
			res.rest = r.union(res.rest, v.labels)
		}
	}
	kept := make([]column, 0, len(res.columns))
	for _, c := range res.columns {
		if drop[c.name] || st.hasILike && !r.ilike(c.name, st.ilike) {
			continue
		}
		if v, ok := replace[c.name]; ok {
			v.name = c.name
			c = v
		}
		if n, ok := rename[c.name]; ok {
			c.name = n
		}
		kept = append(kept, c)
	}
	res.columns = kept
}

// plainPattern tells whether a pattern has neither escapes nor letters whose
// case is hard to fold.
func plainPattern(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 || s[i] == '\\' {
			return false
		}
	}
	return true
}

// ilike matches a column name against the pattern of * ILIKE: % and _, no
// escapes, in any case.
func (r *resolver) ilike(name, pattern string) bool {
	name, pattern = strings.ToUpper(name), strings.ToUpper(pattern)
	r.spend((len(name) + 1) * (len(pattern)/16 + 1))
	n, p, star, mark := 0, 0, -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '%':
			star, mark = p, n
			p++
		case p < len(pattern) && (pattern[p] == '_' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			mark++
			n, p = mark, star+1
			r.spend(1)
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '%' {
		p++
	}
	return p == len(pattern)
}
