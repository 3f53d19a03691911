package policy

import (
	"cmp"
	"time"

	"github.com/cedar-policy/cedar-go"
)

// Open decides on opening a session of the given length: Allow is a grant
// without a person, Hold needs a reviewer.
func (b *Bundle) Open(sub Subject, set Setting, ttl time.Duration) Ruling {
	q := b.sessionQuestion(sub, set, ttl)
	return q.unattended(actionOpenUnattended, "A person must let this session open.")
}

// Extend decides on making an open session as long as ttl, from its first use.
// What may be opened for so long at all may be asked for. Without a person it is
// extended only if a rule permits extendUnattended, and if no rule that forbids to
// open it without one applies: Hold, like that of Open, names who decides then.
func (b *Bundle) Extend(sub Subject, set Setting, ttl time.Duration) Ruling {
	q := b.sessionQuestion(sub, set, ttl)
	out := q.unattended(actionExtendUnattended, "A person must let this session go on.")
	forbids, ok, failed := q.ask(actionOpenUnattended)
	switch {
	case failed != nil:
		out.decide(Deny, failed)
	case out.Verdict != Deny && !ok && len(forbids) > 0:
		both := forbids
		if again, ok, _ := q.ask(actionExtendUnattended); !ok {
			both = append(both, again...)
		}
		out.hold(both, q.permits)
	}
	return out
}

// OpenEmergency decides on opening a session at once, without a reviewer. It is
// Allow only if a permit names openEmergency and nothing forbids to open the
// session; it is never Hold.
func (b *Bundle) OpenEmergency(sub Subject, set Setting, ttl time.Duration) Ruling {
	set.Emergency = true
	var out Ruling
	q := b.sessionQuestion(sub, set, ttl)
	forbids, opens, failed := q.ask(actionOpen)
	rules, ok, emergencyFailed := q.ask(actionOpenEmergency)
	switch {
	case failed != nil || emergencyFailed != nil:
		out.decide(Deny, cmp.Or(failed, emergencyFailed))
	case !ok && len(rules) > 0:
		out.decide(Deny, first(rules))
	case !ok || ttl <= 0:
		out.decide(Deny, builtin(ruleNoEmergency, "The policy gives you no emergency access to this. Ask for a session without --emergency."))
	case !opens && len(forbids) > 0:
		out.decide(Deny, first(forbids))
	default:
		out.decide(Allow, first(rules))
	}
	return out
}

// sessionQuestion is what is asked about a session.
type sessionQuestion struct {
	b       *Bundle
	w       *world
	facts   cedar.Record
	ttl     time.Duration
	permits []*rule // of open, once asked
}

func (b *Bundle) sessionQuestion(sub Subject, set Setting, ttl time.Duration) *sessionQuestion {
	m := settingFacts(set)
	m["ttlMinutes"] = cedar.Long((ttl + time.Minute - 1) / time.Minute)
	return &sessionQuestion{b: b, w: newWorld(sub, set, b.details), facts: cedar.NewRecord(m), ttl: ttl}
}

func (q *sessionQuestion) ask(a action) ([]*rule, bool, *rule) {
	return q.b.ask(q.w, q.b.actions[a].all, a, q.w.agent, q.w.account, q.facts)
}

// unattended asks open, then whether it needs a person.
func (q *sessionQuestion) unattended(a action, why string) Ruling {
	var out Ruling
	permits, ok, failed := q.ask(actionOpen)
	if failed != nil {
		out.decide(Deny, failed)
		return out
	}
	if !ok || q.ttl <= 0 {
		out.decide(Deny, cmp.Or(first(permits), builtin(ruleNoPermit, "No rule of the policy lets you ask for this session.")))
		return out
	}
	q.permits = permits
	rules, ok, failed := q.ask(a)
	switch {
	case failed != nil:
		out.decide(Deny, failed)
	case ok:
		out.decide(Allow, first(rules))
	case len(rules) == 0:
		out.hold([]*rule{builtin(ruleAsk, why)}, permits)
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
