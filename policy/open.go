package policy

import (
	"cmp"
	"time"

	"github.com/cedar-policy/cedar-go"
)

// Open decides on opening a session of the given length: Allow is a grant
// without a person, Hold needs a reviewer.
func (b *Bundle) Open(sub Subject, set Setting, ttl time.Duration) Ruling {
	var out Ruling
	w := newWorld(sub, set, b.details)
	m := settingFacts(set)
	m["ttlMinutes"] = cedar.Long((ttl + time.Minute - 1) / time.Minute)
	facts := cedar.NewRecord(m)

	permits, ok, failed := b.ask(w, b.actions[actionOpen].all, actionOpen, w.agent, w.account, facts)
	if failed != nil {
		out.decide(Deny, failed)
		return out
	}
	if !ok || ttl <= 0 {
		out.decide(Deny, cmp.Or(first(permits), builtin(ruleNoPermit, "No rule of the policy lets you ask for this session.")))
		return out
	}
	rules, ok, failed := b.ask(w, b.actions[actionOpenUnattended].all, actionOpenUnattended, w.agent, w.account, facts)
	switch {
	case failed != nil:
		out.decide(Deny, failed)
	case ok:
		out.decide(Allow, first(rules))
	case len(rules) == 0:
		out.hold([]*rule{builtin(ruleAsk, "A person must let this session open.")}, permits)
	default:
		out.hold(rules, permits)
	}
	return out
}

// MayReview reports whether reviewer may decide on a request of requester in
// this setting. kinds are the kinds of a statement request, empty for a
// session. @reviewers of the rule that held a request narrows this further;
// the approval server checks that.
func (b *Bundle) MayReview(reviewer, requester Subject, set Setting, kinds []string) bool {
	if reviewer.User == "" || reviewer.User == requester.User {
		return false // whatever the bundle says
	}
	w := newWorld(requester, set, b.details)
	m := settingFacts(set)
	m["requester"] = w.user(requester)
	values := make([]cedar.Value, len(kinds))
	for i, k := range kinds {
		values[i] = cedar.String(k)
	}
	m["kinds"] = cedar.NewSet(values...)
	_, ok, failed := b.ask(w, b.actions[actionReview].all, actionReview, w.user(reviewer), w.account, cedar.NewRecord(m))
	return ok && failed == nil
}
