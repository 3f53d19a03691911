package policy

import (
	"cmp"
	"fmt"
	"slices"
)

// settle turns the answers into the verdict.
func (e *evaluation) settle(out *Ruling) {
	switch {
	case e.deny != nil:
		out.decide(Deny, e.deny)
	case len(e.holds) > 0:
		out.hold(e.holds, e.demands)
	case e.allow != nil:
		out.decide(Allow, e.allow)
	default: // no statement was allowed by a rule
		out.decide(Deny, builtin(ruleNoPermit, "No rule of the policy permits this."))
	}
}

func (r *Ruling) decide(v Verdict, by *rule) {
	r.Verdict, r.Rule, r.Reason = v, by.id, by.reason
	r.Reviewers, r.Approvals = nil, 0
}

// hold combines the rules that hold.
func (r *Ruling) hold(holds, demands []*rule) {
	deciding := slices.MinFunc(holds, func(a, b *rule) int {
		return cmp.Or(cmp.Compare(b.approvals, a.approvals), cmp.Compare(len(b.reviewers), len(a.reviewers)),
			cmp.Compare(order(a), order(b)))
	})
	r.decide(Hold, deciding)
	r.Approvals = 1
	var by *rule
	for _, h := range slices.Concat(holds, demands) {
		r.Approvals = max(r.Approvals, h.approvals)
		switch {
		case h.reviewers == nil:
		case r.Reviewers == nil:
			r.Reviewers, by = slices.Clone(h.reviewers), h
		default:
			r.Reviewers = slices.DeleteFunc(r.Reviewers, func(g string) bool { return !slices.Contains(h.reviewers, g) })
			if len(r.Reviewers) == 0 {
				r.decide(Deny, builtin(ruleNoReviewer, fmt.Sprintf("Rules %s and %s name reviewers with no group in common, so nobody could approve this.", by.id, h.id)))
				return
			}
		}
	}
}

// order puts rules of the bundle before those of jit itself, which say less.
func order(r *rule) int {
	if r.policy == nil {
		return 1
	}
	return 0
}
