package policy

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/cedar-policy/cedar-go"

	"github.com/jit-access/jit/policy/sql"
)

// Statement decides on one batch. It never fails: what cannot be decided is
// Deny.
//
// For every statement of the batch, and every statement inside one, the bundle
// is asked `run` and then `runUnattended` about the statement as a whole (the
// resource is the account) and about each object it reads and writes. The
// strictest answer counts.
//
// The deciding rule is, for Deny, the first forbid that matched; for Hold, the
// forbid on runUnattended that asks for most approvals. When several rules
// hold, the approvals are the largest number among them and the reviewers are
// the groups they have in common; with none in common, nobody could approve
// for all of them, so the answer is Deny. @approvals and @reviewers of the
// `run` permits that matched count like those of the rules that hold.
func (b *Bundle) Statement(in Input) Ruling { return b.statement(in, nil) }

// statement is Statement; trace, if not nil, hears of every rule that decided
// a question.
func (b *Bundle) statement(in Input, trace func(Match)) Ruling {
	e := &evaluation{b: b, in: &in, w: newWorld(in.Subject, in.Setting, b.details), clear: make(map[string]bool), trace: trace}
	var out Ruling
	for i := range in.Statements {
		s := &in.Statements[i]
		f := e.find(s)
		out.Masks = append(out.Masks, f.masks)
		out.Rest = append(out.Rest, f.rest)
		e.statement(s, f, false)
	}
	out.Classes, out.ReadsClassed = e.classes()
	out.Clear = e.readable()
	limits, spent := b.limits.limit(in.Usage)
	out.Limits = limits
	switch {
	case len(in.Statements) == 0:
		e.denied(builtin(ruleEmpty, "There is no statement to run."))
	case spent != "":
		e.denied(builtin(ruleBudget, fmt.Sprintf("The session has used its budget of %s. Open a new session.", spent)))
	}
	e.settle(&out)
	return out
}

// evaluation collects the answers about one Input.
type evaluation struct {
	b     *Bundle
	in    *Input
	w     *world
	clear map[string]bool // readClear answers by class

	deny    *rule   // the first rule that denies
	holds   []*rule // rules that hold
	demands []*rule // run permits that matched statements which are held
	allow   *rule   // the first rule that allows

	trace     func(Match)
	touched   []string
	scrub     bool
	estimated bool
	estimate  Estimate
}

func builtin(id, reason string) *rule { return &rule{id: id, reason: reason} }

func (e *evaluation) denied(r *rule) {
	if e.deny == nil {
		e.deny = r
	}
}

// find looks up classes and masks, and remembers them for the ruling.
func (e *evaluation) find(s *sql.Statement) *findings {
	f := e.b.classes.find(s, func(class string) bool { return e.mayRead(class, s) })
	e.touched = append(append(append(e.touched, f.outputs...), f.predicates...), f.stored...)
	e.scrub = e.scrub || f.touches()
	return &f
}

func (e *evaluation) mayRead(class string, s *sql.Statement) bool {
	if e.in.MaskAll || len(e.b.actions[actionReadClear].all) == 0 {
		return false
	}
	key := class + "\x00" + string(s.Kind) + "\x00" + s.Category.String()
	if ok, seen := e.clear[key]; seen {
		return ok
	}
	facts := settingFacts(e.in.Setting)
	facts["kind"], facts["verb"], facts["category"] = cedar.String(s.Kind), cedar.String(verbOf(s.Kind)), cedar.String(s.Category.String())
	_, ok, failed := e.b.ask(e.w, e.b.actions[actionReadClear].all, actionReadClear, e.w.agent, e.w.class(class), cedar.NewRecord(facts))
	if failed != nil {
		e.denied(failed)
	}
	e.clear[key] = ok
	return ok
}

// readable lists the classes the subject may read in every statement of the
// batch: a value detector need not hide them.
func (e *evaluation) readable() []string {
	var out []string
	for _, c := range e.b.classes.sorted {
		ok := len(e.in.Statements) > 0
		for i := range e.in.Statements {
			ok = ok && e.mayRead(c.name, &e.in.Statements[i])
		}
		if ok {
			out = append(out, c.name)
		}
	}
	return out
}

func (e *evaluation) classes() ([]string, bool) {
	slices.Sort(e.touched)
	return slices.Compact(e.touched), e.scrub
}

// statement asks about one statement and everything inside it.
func (e *evaluation) statement(s *sql.Statement, f *findings, nested bool) {
	facts := e.b.statementFacts(e.in, s, f, nested)
	asked := []question{{e.w.account, accessStatement}}
	for _, o := range s.Reads {
		asked = append(asked, question{e.w.touched(o), accessRead})
	}
	for _, o := range s.Writes {
		asked = append(asked, question{e.w.touched(o), accessWrite})
	}
	contexts := make(map[contextKey]cedar.Record, 3)
	context := func(a action, access string) cedar.Record {
		key := contextKey{access, e.b.actions[a].estimates}
		c, ok := contexts[key]
		if !ok {
			facts["access"] = cedar.String(access)
			delete(facts, "estimate")
			if key.estimate {
				facts["estimate"] = e.estimateFor(s).record()
			}
			c = cedar.NewRecord(facts)
			contexts[key] = c
		}
		return c
	}

	demands, ok := e.askAll(actionRun, asked, context)
	if !ok {
		e.denied(cmp.Or(first(demands), builtin(ruleNoPermit, "No rule of the policy permits this.")))
		return
	}
	rules, ok := e.askAll(actionRunUnattended, asked, context)
	held := !ok
	switch {
	case ok:
		e.allow = cmp.Or(e.allow, first(rules))
	case len(rules) == 0:
		e.holds = append(e.holds, builtin(ruleAsk, "No rule of the policy lets this run without a person."))
	default:
		e.holds = append(e.holds, rules...)
	}
	if !held && (f.unknown || s.Category == sql.CategoryQuery && !s.OutputsKnown) {
		// Invariant 2: whatever the bundle says.
		held = true
		e.holds = append(e.holds, builtin(ruleNotKnown, "Not all of this statement was understood, so a person must look at it."))
	}
	if held {
		e.demands = append(e.demands, demands...)
	}
	for i := range s.Nested {
		e.statement(&s.Nested[i], e.find(&s.Nested[i]), true)
	}
}

// contextKey tells the contexts of one statement apart.
type contextKey struct {
	access   string
	estimate bool // a rule sees the estimate
}

// estimateFor asks Snowflake at most once per batch, and only if a rule wants
// to know.
func (e *evaluation) estimateFor(s *sql.Statement) Estimate {
	switch {
	case scansNothing(s.Category):
		return Estimate{Known: true}
	case e.in.Estimate == nil:
		return noEstimate()
	}
	if !e.estimated {
		e.estimated, e.estimate = true, noEstimate()
		if got, err := e.in.Estimate(); err == nil {
			e.estimate = got
		}
	}
	return e.estimate
}

// first is the deciding rule among several of the same kind.
func first(rules []*rule) *rule {
	if len(rules) == 0 {
		return nil
	}
	return rules[0]
}
