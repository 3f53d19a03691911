package sql

import "fmt"

// walk visits n and everything below it, parents first. It descends only where
// visit returns true. A node type it does not know is a panic: skipping one
// silently would hide what is in it from every check built on walk.
func walk(n node, visit func(node) bool) {
	if n == nil || !visit(n) {
		return
	}
	w := walker{visit}
	switch n := n.(type) {
	case *literal, *bind, *variable, *positional, *columnRef, *stageRef, *flowTable:
	case *name:
		w.expr(n.dynamic)
	case *dynamicRef:
		walk(n.name, visit)
	case *star:
		w.items(n.replace)
	case *call:
		if n.name != nil {
			walk(n.name, visit)
		}
		w.expr(n.method)
		for _, a := range n.args {
			w.expr(a.value)
		}
		w.exprs(n.order)
		w.expr(n.filter)
		if n.over != nil {
			walk(n.over, visit)
		}
	case *window:
		w.exprs(n.partition)
		w.exprs(n.order)
		w.exprs(n.frame)
	case *operation:
		w.exprs(n.args)
	case *caseExpr:
		w.exprs(n.args)
	case *cast:
		w.expr(n.x)
	case *path:
		w.expr(n.x)
	case *index:
		w.expr(n.x)
		w.exprs(n.args)
	case *collection:
		w.exprs(n.args)
	case *subquery:
		walk(n.query, visit)
	case *lambda:
		w.expr(n.body)
	case *tableArg:
		walk(n.table, visit)
	case *query, *cte, *selectCore, *setOp, *values:
		w.query(n)
	case *tableName, *derivedTable, *tableFunc, *stageTable, *joinChain, *pivot, *unpivot, *matchRecognize:
		w.table(n)
	default:
		w.statement(n)
	}
}

type walker struct{ visit func(node) bool }

func (w walker) expr(e expr) {
	if e != nil {
		walk(e, w.visit)
	}
}

func (w walker) exprs(list []expr) {
	for _, e := range list {
		w.expr(e)
	}
}

func (w walker) items(list []selectItem) {
	for _, it := range list {
		w.expr(it.value)
	}
}

func (w walker) subquery(q *query) {
	if q != nil {
		walk(q, w.visit)
	}
}

func (w walker) query(n node) {
	switch n := n.(type) {
	case *query:
		for _, c := range n.with {
			walk(c, w.visit)
		}
		walk(n.body, w.visit)
		w.exprs(n.order)
		w.exprs(n.limits)
	case *cte:
		w.subquery(n.query)
		w.expr(n.macro)
	case *selectCore:
		w.items(n.items)
		for _, t := range n.from {
			walk(t, w.visit)
		}
		w.expr(n.where)
		w.exprs(n.connect)
		w.exprs(n.group)
		w.expr(n.having)
		for _, x := range n.windows {
			walk(x, w.visit)
		}
		w.expr(n.qualify)
	case *setOp:
		for _, t := range n.terms {
			walk(t, w.visit)
		}
	case *values:
		for _, row := range n.rows {
			w.exprs(row)
		}
	}
}

func (w walker) table(n node) {
	switch n := n.(type) {
	case *tableName:
		walk(n.name, w.visit)
		w.exprs(n.historic)
	case *derivedTable:
		walk(n.query, w.visit)
		w.exprs(n.historic)
	case *tableFunc:
		walk(n.call, w.visit)
		w.exprs(n.historic)
	case *stageTable:
		w.exprs(n.args)
		w.exprs(n.historic)
	case *joinChain:
		walk(n.first, w.visit)
		for _, s := range n.steps {
			walk(s.table, w.visit)
			w.exprs(s.on)
		}
	case *pivot:
		walk(n.source, w.visit)
		w.items(n.aggs)
		walk(n.column, w.visit)
		w.items(n.in)
		w.exprs(n.order)
		w.subquery(n.query)
		w.expr(n.orElse)
	case *unpivot:
		walk(n.source, w.visit)
		for _, c := range n.columns {
			walk(c, w.visit)
		}
	case *matchRecognize:
		walk(n.source, w.visit)
		w.exprs(n.partition)
		w.exprs(n.order)
		w.items(n.measures)
		w.exprs(n.define)
	}
}

func (w walker) statement(n node) {
	switch n := n.(type) {
	case *queryStmt:
		w.subquery(n.query)
	case *insertStmt:
		walk(n.target, w.visit)
		w.subquery(n.query)
	case *insertAllStmt:
		for _, b := range n.branches {
			walk(b.target, w.visit)
			w.exprs(b.values)
		}
		w.exprs(n.conditions)
		w.subquery(n.query)
	case *updateStmt:
		walk(n.target, w.visit)
		w.exprs(n.sets)
		for _, t := range n.from {
			walk(t, w.visit)
		}
		w.expr(n.where)
	case *deleteStmt:
		walk(n.target, w.visit)
		for _, t := range n.using {
			walk(t, w.visit)
		}
		w.expr(n.where)
	case *mergeStmt:
		walk(n.target, w.visit)
		walk(n.source, w.visit)
		w.exprs(n.conditions)
		w.exprs(n.stored)
	case *copyStmt:
		if n.target != nil {
			walk(n.target, w.visit)
		}
		if n.source != nil {
			walk(n.source, w.visit)
		}
		w.subquery(n.query)
		w.exprs(n.extra)
	case *explainStmt:
		walk(n.inner, w.visit)
	case *flowStmt:
		for _, s := range n.steps {
			walk(s, w.visit)
		}
	case *setStmt:
		w.exprs(n.values)
	case *callStmt:
		walk(n.call, w.visit)
	case *immediateStmt:
		w.expr(n.body)
		w.exprs(n.using)
	case *blockStmt:
		for _, p := range n.parts {
			walk(p, w.visit)
		}
	case *commandStmt:
		for _, list := range [...][]objectRef{n.targets, n.sources} {
			for _, o := range list {
				if o.name != nil {
					walk(o.name, w.visit)
				}
			}
		}
		for _, b := range n.body {
			walk(b, w.visit)
		}
	default:
		panic(fmt.Sprintf("sql: walk does not know %T", n))
	}
}
