package sql

import "strings"

// Shape returns the text of canonical with the constants that are compared,
// computed with or inserted replaced by ?, comments dropped and every gap one
// blank: two statements of one shape touch the same objects, columns and
// functions and differ in such values only.
//
// A constant that can change what is read stays: function arguments, paths and
// indexes, positions in ORDER BY and GROUP BY, LIMIT, time travel, and every
// constant of a statement that is neither a query nor DML.
func Shape(canonical string) (string, error) {
	l, err := lex(canonical)
	if err != nil {
		return "", err
	}
	cuts, err := split(l, 0, len(l.tokens))
	if err != nil {
		return "", err
	}
	free := map[int32]bool{} // positions of tokens to replace
	for _, c := range cuts {
		s, err := parseStatement(l, c[0], c[1], false)
		if err != nil {
			return "", err
		}
		freeLiterals(s, free)
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

func freeLiterals(s statement, free map[int32]bool) {
	switch s.(type) {
	case *queryStmt, *insertStmt, *insertAllStmt, *updateStmt, *deleteStmt, *mergeStmt:
	default:
		return
	}
	release := func(list []expr) {
		for _, e := range list {
			if l, ok := e.(*literal); ok && l.kind != tokenWord {
				free[l.pos] = true
			}
		}
	}
	var kept []expr // the times of time travel, the sizes of samples
	walk(s, func(n node) bool {
		if tail := tailOf(n); tail != nil {
			kept = append(kept, tail.historic...)
		}
		switch n := n.(type) {
		case *operation:
			release(n.args)
		case *caseExpr:
			release(n.args)
		case *values:
			for _, row := range n.rows {
				release(row)
			}
		case *updateStmt:
			release(n.sets)
		case *mergeStmt:
			release(n.stored)
		case *call, *index, *tableFunc, *stageTable, *pivot, *star:
			return false
		}
		return true
	})
	for _, e := range kept {
		walk(e, func(n node) bool {
			if l, ok := n.(*literal); ok {
				delete(free, l.pos)
			}
			return true
		})
	}
}
