package sql

// column is one column of a relation in a scope.
type column struct {
	name   string
	labels labelSet
	direct bool // one base column unchanged
	base   bool // read straight from a base table, so that counting it tells a number only
	counts bool // a number of values of plain columns
}

// relation is one element of FROM as names see it.
type relation struct {
	alias   string
	object  ObjectName // of a table or view, unless an alias hides it
	owner   ObjectName // the same, alias or not
	columns []column
	// open relations may have columns that are not listed: a name that is not
	// in columns gets the labels in rest, and if own is set also the label of
	// object's column of that name.
	open bool
	own  bool
	rest labelSet
	// hidden names the columns that a USING or NATURAL join merged into
	// another relation's: * leaves them out.
	hidden map[string]bool
	index  map[string][]int32 // positions by name, made when there are many columns
}

// indexedColumns is the number of columns from which looking through them
// costs more than an index.
const indexedColumns = 24

// find returns the column of that name; if several have it, all of them count.
func (r *resolver) find(x *relation, name string) (c column, ok bool) {
	if len(x.columns) > indexedColumns {
		if x.index == nil {
			r.spend(len(x.columns))
			x.index = make(map[string][]int32, len(x.columns))
			for i := range x.columns {
				n := x.columns[i].name
				x.index[n] = append(x.index[n], int32(i))
			}
		}
		r.spend(len(x.index[name]) / 4)
		for _, i := range x.index[name] {
			c, ok = r.either(c, ok, x.columns[i]), true
		}
		return c, ok
	}
	for i := range x.columns {
		if x.columns[i].name == name {
			c, ok = r.either(c, ok, x.columns[i]), true
		}
	}
	return c, ok
}

func (r *resolver) either(a column, any bool, b column) column {
	if !any {
		return b
	}
	return column{name: a.name, labels: r.union(a.labels, b.labels)}
}

// scope is what names can refer to at one level of a query.
type scope struct {
	up        *scope
	relations []*relation
	ctes      map[string]*cteValue
	params    map[string]labelSet // lambda parameters
	aliases   *aliases            // of the select list
	clause    clause
	level     bool // CONNECT BY: LEVEL exists
	variables bool // pattern variables may qualify columns
	windows   map[string]*window
}

// clause says where a name stands, which decides between a column and a select
// alias of the same name.
type clause uint8

const (
	clauseItems  clause = iota // the select list: a column wins
	clauseFilter               // elsewhere: both count
)

// aliases are the names a select list gives, resolved when first asked for, so
// that they may be used in any order.
type aliases struct {
	items []selectItem
	index map[string][]int
	value []column
	state []aliasState
}

type aliasState uint8

const (
	aliasNew aliasState = iota
	aliasBusy
	aliasDone
)

// cteValue is what a CTE name stands for.
type cteValue struct {
	columns []column
	open    bool
	rest    labelSet
	macro   expr
	later   bool // not defined yet where it is seen
	rows    labelSet
}

func (s *scope) cte(name string) *cteValue {
	for ; s != nil; s = s.up {
		if c, ok := s.ctes[name]; ok {
			return c
		}
	}
	return nil
}
