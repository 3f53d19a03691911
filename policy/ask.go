package policy

import (
	"fmt"

	"github.com/cedar-policy/cedar-go"
)

// question is one resource a statement is asked about.
type question struct {
	resource cedar.EntityUID
	access   string
}

// ask evaluates every rule of the set about one question. It returns the rules
// that decided: the forbids that matched, else the permits. Cedar skips a rule
// that errors, so a forbid that errors would otherwise permit: any error is
// returned as failed, and the answer is no.
func (b *Bundle) ask(w *world, set ruleSet, a action, principal, resource cedar.EntityUID, facts cedar.Record) (decided []*rule, ok bool, failed *rule) {
	if len(set) == 0 {
		return nil, false, nil
	}
	decision, diag := cedar.Authorize(set, w.entities, cedar.Request{
		Principal: principal, Action: a.uid(), Resource: resource, Context: facts,
	})
	if len(diag.Errors) > 0 {
		return nil, false, builtin(ruleError, fmt.Sprintf("Rule %s could not be evaluated, so nothing is permitted. Its author must mend it.", diag.Errors[0].PolicyID))
	}
	for _, r := range diag.Reasons {
		decided = append(decided, set.byID(r.PolicyID))
	}
	return decided, decision == cedar.Allow, nil
}

// askAll asks about a statement as a whole and about each of its objects, and
// returns the rules that said no to any of it, or those that said yes to the
// whole. Forbids win over permits, as within one question.
func (e *evaluation) askAll(a action, asked []question, context func(action, string) cedar.Record) (decided []*rule, ok bool) {
	set := &e.b.actions[a]
	whole, wholeOK, failed := e.b.ask(e.w, set.whole, a, e.w.agent, e.w.account, context(a, accessStatement))
	e.heard(a, e.w.account, accessStatement, whole)
	if failed != nil {
		e.denied(failed)
		return nil, false
	}
	if !wholeOK && len(whole) > 0 {
		decided = whole
	}
	allOK := true
	for _, q := range asked {
		rules, permitted, failed := e.b.ask(e.w, set.object, a, e.w.agent, q.resource, context(a, q.access))
		e.heard(a, q.resource, q.access, rules)
		if failed != nil {
			e.denied(failed)
			return nil, false
		}
		if !permitted && len(rules) > 0 {
			decided = append(decided, rules...)
		}
		allOK = allOK && (permitted || wholeOK)
		if permitted && !wholeOK && len(decided) == 0 {
			whole = append(whole, rules...)
		}
	}
	switch {
	case len(decided) > 0:
		return decided, false
	case !allOK:
		return nil, false
	}
	return whole, true
}
