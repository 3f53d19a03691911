package sql

import (
	"cmp"
	"slices"
	"strings"
)

// Shape returns the text of canonical with the constants that columns are
// compared with and those that are stored replaced by ?, comments dropped and
// every gap one blank: two statements of one shape touch the same objects,
// columns and functions and differ in such values only.
//
// A constant that can change what is read stays: function arguments, paths and
// indexes, positions in ORDER BY and GROUP BY, LIMIT, time travel, arithmetic,
// what only meets other constants (1 = 0), and every constant of a statement
// that is neither a query nor DML.
//
// The value of a bind or a session variable is not in the text, so it may be
// anything within one shape. A statement with one that stands elsewhere has no
// shape: the error is an *UnsupportedError.
func Shape(canonical string) (string, error) {
	l, err := lex(canonical)
	if err != nil {
		return "", err
	}
	cuts, err := split(l, 0, len(l.tokens))
	if err != nil {
		return "", err
	}
	free := map[int32]bool{} // positions of values that may differ
	for _, c := range cuts {
		s, err := parseStatement(l, c[0], c[1], false)
		if err != nil {
			return "", err
		}
		f := &freer{lexed: l, free: free}
		f.statement(s)
		if pos := f.fixedOutside(s, c[0], c[1]); pos >= 0 {
			return "", &UnsupportedError{Pos: pos, Msg: "a value that is not in the text decides what the statement means"}
		}
	}
	var b strings.Builder
	b.Grow(len(canonical))
	for i, t := range l.tokens {
		if i > 0 && l.tokens[i-1].end < t.pos {
			b.WriteByte(' ')
		}
		if free[t.pos] && (t.kind == tokenNumber || t.kind == tokenString || t.kind == tokenDollar) {
			b.WriteByte('?')
			continue
		}
		b.WriteString(l.text[t.pos:t.end])
	}
	return b.String(), nil
}

// freer finds the values of a statement that may differ within its shape.
type freer struct {
	*lexed
	free map[int32]bool
}

func (f *freer) release(list ...expr) {
	for _, e := range list {
		switch e := e.(type) {
		case *literal:
			if e.kind != tokenWord {
				f.free[e.pos] = true
			}
		case *bind, *variable:
			f.free[int32(e.Pos())] = true
		}
	}
}

func (f *freer) statement(s statement) {
	switch s.(type) {
	case *queryStmt, *insertStmt, *insertAllStmt, *updateStmt, *deleteStmt, *mergeStmt:
	default:
		return
	}
	var kept []expr // the times of time travel, the sizes of samples
	walk(s, func(n node) bool {
		if tail := tailOf(n); tail != nil {
			kept = append(kept, tail.historic...)
		}
		switch n := n.(type) {
		case *operation:
			f.operation(n)
		case *insertStmt:
			if v, ok := unwrap(n.query).(*values); ok {
				for _, row := range v.rows {
					f.release(row...)
				}
			}
		case *updateStmt:
			f.release(n.sets...)
		case *mergeStmt:
			f.release(n.stored...)
		case *call, *index, *tableFunc, *stageTable, *pivot, *star:
			return false
		}
		return true
	})
	for _, e := range kept {
		walk(e, func(n node) bool {
			delete(f.free, int32(n.Pos()))
			return true
		})
	}
}

// operation releases the constants of each comparison with a column, between
// AND and OR. 1 = 0 is no comparison of values but a decision about every row,
// and so is id * 0 = 0.
func (f *freer) operation(o *operation) {
	start, between := 0, false
	for i := 1; i <= len(o.args); i++ {
		if i < len(o.args) {
			g := f.gap(o.args[i-1], o.args[i])
			if !g.and || between {
				between = g.between && !between
				continue
			}
		}
		if part := o.args[start:i]; f.compares(part) {
			f.release(part...)
		}
		start, between = i, false
	}
}

// compares tells whether part is a plain comparison with a column.
func (f *freer) compares(part []expr) bool {
	column := false
	for i, e := range part {
		column = column || hasColumn(e)
		if i > 0 && !f.gap(part[i-1], e).plain {
			return false
		}
	}
	return column
}

// gap is what stands between two operands.
type gap struct {
	and     bool // AND or OR
	between bool
	plain   bool // nothing but what compares
}

func (f *freer) gap(a, b expr) gap {
	g := gap{plain: true}
	i, _ := slices.BinarySearchFunc(f.tokens, int32(a.End()), func(t token, pos int32) int { return cmp.Compare(t.pos, pos) })
	for ; i < len(f.tokens) && f.tokens[i].pos < int32(b.Pos()); i++ {
		t := f.tokens[i]
		switch {
		case t.kind == tokenWord:
			g.and = g.and || t.word == wAnd || t.word == wOr
			g.between = g.between || t.word == wBetween
			g.plain = g.plain && comparisonWords[t.word]
		case t.kind == tokenOp:
			switch t.op {
			case '=', '<', '>', opNotEqual, opLess, opMore, opBang, '(', ')', ',':
				continue
			}
			g.plain = false
		default:
			g.plain = false
		}
	}
	return g
}

var comparisonWords = keywordSet(wAnd, wOr, wNot, wLike, wIlike, wRlike, wRegexp, wIn, wBetween, wAny, wAll, wSome, wIs, wDistinct, wFrom)

// hasColumn tells whether e reads a column.
func hasColumn(e expr) (found bool) {
	walk(e, func(n node) bool {
		switch n := n.(type) {
		case *columnRef:
			found = found || len(n.parts) > 1 || n.parts[0].quoted || !isContextWord(n.parts[0].name)
		case *positional:
			found = true
		}
		return !found
	})
	return found
}

// fixedOutside returns the position of a bind or a variable in the tokens
// [from, to) of s that is not free, or -1.
func (f *freer) fixedOutside(s statement, from, to int) int {
	at := -1
	walk(s, func(n node) bool {
		switch n := n.(type) {
		case *bind, *variable:
			if !f.free[int32(n.Pos())] {
				at = n.Pos()
			}
		case *immediateStmt:
			if text, ok := constant(n.body); !ok || strings.ContainsAny(text, "$?:") {
				at = n.Pos() // the text may name a variable as well
			}
		}
		return at < 0
	})
	for i := from; i < to && at < 0; i++ { // and in what the parser skips
		t := f.tokens[i]
		number := i+1 < to && f.tokens[i+1].kind == tokenNumber
		switch {
		case f.free[t.pos]:
		case t.kind == tokenVariable && !isDigit(f.text[t.pos+1]), t.kind == tokenOp && (t.op == '?' || t.op == ':' && number):
			at = int(t.pos)
		}
	}
	return at
}
