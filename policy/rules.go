package policy

import (
	_ "embed"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

//go:embed schema.cedarschema
var schemaText []byte

// action is one of the questions a bundle answers.
type action uint8

const (
	actionOpen action = iota
	actionOpenUnattended
	actionRun
	actionRunUnattended
	actionReadClear
	actionReview
	actionOpenEmergency
	actionExtendUnattended
	actionCount
)

var actionNames = [actionCount]string{"open", "openUnattended", "run", "runUnattended", "readClear", "review", "openEmergency", "extendUnattended"}

// byName reports whether only rules that name the action permit it: a permit of
// every action, written before there was this one, says nothing about it.
func (a action) byName() bool { return a == actionOpenEmergency || a == actionExtendUnattended }

func (a action) uid() cedar.EntityUID {
	return cedar.NewEntityUID("Action", cedar.String(actionNames[a]))
}

// The ids of rulings that no rule of the bundle made.
const (
	ruleError        = "policy-error"       // a rule could not be evaluated
	ruleEmpty        = "no-statement"       // there is nothing to decide on
	ruleNoPermit     = "no-permit"          // no rule permits it at all
	ruleAsk          = "ask-a-person"       // no rule permits it without a person
	ruleNotKnown     = "not-understood"     // facts are incomplete
	ruleBudget       = "session-budget"     // the session has used its share
	ruleNoReviewer   = "reviewers-conflict" // held by rules with no reviewer in common
	ruleUnreadable   = "not-readable"       // the text could not be read as statements
	ruleNoEmergency  = "no-emergency"       // the bundle names no emergency access for this
	maxApprovals     = 9
	maxReasonLength  = 300
	annotationID     = "id"
	annotationReason = "reason"
	annotationGroups = "reviewers"
	annotationCount  = "approvals"
)

var reservedIDs = []string{ruleError, ruleEmpty, ruleNoPermit, ruleAsk, ruleNotKnown, ruleBudget, ruleNoReviewer, ruleUnreadable, ruleNoEmergency}

// rule is one Cedar policy and its annotations.
type rule struct {
	id        string
	reason    string
	reviewers []string // sorted; nil = any reviewer
	approvals int      // 0 = not said
	permit    bool
	actions   []action
	uses      usage
	file      string
	line      int
	policy    *cedar.Policy
}

// ruleSet are the rules of one action, in order.
type ruleSet []*rule

// All implements cedar.PolicyIterator.
func (s ruleSet) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, r := range s {
			if !yield(cedar.PolicyID(r.id), r.policy) {
				return
			}
		}
	}
}

func (s ruleSet) byID(id cedar.PolicyID) *rule {
	i := slices.IndexFunc(s, func(r *rule) bool { return r.id == string(id) })
	if i < 0 {
		return nil
	}
	return s[i]
}

// mentions reports whether a rule of the set can see a fact.
func (s ruleSet) mentions(fact string) bool {
	return slices.ContainsFunc(s, func(r *rule) bool { return r.uses.mentions(fact) })
}

// actionRules are the rules of one action. Those that look at neither the
// resource nor the kind of access answer the same for every object of a
// statement and are asked once.
type actionRules struct {
	all, whole, object ruleSet
	estimates          bool // some rule sees the estimate
}

// index prepares the rules for evaluation.
func (b *Bundle) index() {
	b.seen = make(map[string]bool)
	for _, r := range b.rules {
		b.details = b.details || r.uses.details || r.uses.all
		for _, a := range r.actions {
			set := &b.actions[a]
			set.all = append(set.all, r)
			if r.uses.object {
				set.object = append(set.object, r)
			} else {
				set.whole = append(set.whole, r)
			}
			set.estimates = set.estimates || r.uses.mentions("estimate")
		}
	}
	for _, fact := range statementFactNames {
		if b.actions[actionRun].all.mentions(fact) || b.actions[actionRunUnattended].all.mentions(fact) {
			b.seen[fact] = true
		}
	}
}

// loadSchema compiles the embedded schema; a test loads it too.
func loadSchema() *resolved.Schema {
	var s schema.Schema
	s.SetFilename("schema.cedarschema")
	if err := s.UnmarshalCedar(schemaText); err != nil {
		panic(fmt.Errorf("parsing the embedded schema: %w", err))
	}
	r, err := s.Resolve()
	if err != nil {
		panic(fmt.Errorf("resolving the embedded schema: %w", err))
	}
	return r
}

// cedarPosition finds the line in cedar-go's parse errors, which carry it only
// as text. Without a match the problem is reported for the whole file.
var cedarPosition = regexp.MustCompile(`<input>:(\d+):\d+`)

func loadRules(name string, data []byte, s *resolved.Schema, classes *classTable, ps *problems) []*rule {
	list, err := cedar.NewPolicyListFromBytes(name, data)
	if err != nil {
		line := 0
		if m := cedarPosition.FindStringSubmatch(err.Error()); m != nil {
			line, _ = strconv.Atoi(m[1]) // digits by the pattern
		}
		ps.add(name, line, "not valid Cedar: %v", err)
		return nil
	}
	v := validate.New(s)
	var rules []*rule
	for _, p := range list {
		tree := (*ast.Policy)(p.AST())
		r := &rule{file: name, line: p.Position().Line, policy: p, permit: p.Effect() == cedar.Permit}
		r.actions = actionsOf(tree)
		r.annotate(p.Annotations(), ps)
		for _, err := range flatten(v.Policy("", tree)) {
			ps.add(name, r.line, "rule %q: %v", r.id, err)
		}
		for _, text := range deadParts(tree, classes) {
			ps.add(name, r.line, "rule %q can never fire: %s", r.id, text)
		}
		r.uses = usageOf(tree)
		rules = append(rules, r)
	}
	return rules
}

func flatten(err error) []error {
	if err == nil {
		return nil
	}
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return []error{err}
	}
	var out []error
	for _, e := range joined.Unwrap() {
		out = append(out, flatten(e)...)
	}
	return out
}

var ruleID = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

func (r *rule) annotate(notes cedar.Annotations, ps *problems) {
	r.id, r.reason = string(notes[annotationID]), string(notes[annotationReason])
	if !ruleID.MatchString(r.id) || len(r.id) > 60 {
		ps.add(r.file, r.line, "rule %q: give it an @id of a-z, 0-9 and -", r.id)
	}
	if slices.Contains(reservedIDs, r.id) {
		ps.add(r.file, r.line, "rule %q: the @id is taken by jit itself", r.id)
	}
	if r.reason == "" || len(r.reason) > maxReasonLength || strings.ContainsFunc(r.reason, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		ps.add(r.file, r.line, "rule %q: give it a @reason of one line, at most %d bytes; agents and reviewers read it", r.id, maxReasonLength)
	}
	holds := r.decidesHolds()
	for key, value := range notes {
		switch key {
		case annotationID, annotationReason:
			continue
		case annotationCount:
			n, err := strconv.Atoi(string(value))
			if err != nil || n < 1 || n > maxApprovals {
				ps.add(r.file, r.line, "rule %q: @approvals must be 1 to %d", r.id, maxApprovals)
			}
			r.approvals = n
		case annotationGroups:
			for _, g := range strings.Split(string(value), ",") {
				if g = strings.TrimSpace(g); g != "" && !slices.Contains(r.reviewers, g) {
					r.reviewers = append(r.reviewers, g)
				}
			}
			slices.Sort(r.reviewers)
			if len(r.reviewers) == 0 {
				ps.add(r.file, r.line, "rule %q: @reviewers names no group", r.id)
			}
		default:
			ps.add(r.file, r.line, "rule %q: unknown annotation @%s: id, reason, reviewers and approvals are known", r.id, key)
			continue
		}
		if !holds {
			ps.add(r.file, r.line, "rule %q: @%s has no effect here: it belongs on a forbid of runUnattended, openUnattended or extendUnattended, or on a permit of run or open", r.id, key)
		}
	}
}

// decidesHolds reports whether the rule can be one of those that hold.
func (r *rule) decidesHolds() bool {
	if r.permit {
		return slices.Contains(r.actions, actionRun) || slices.Contains(r.actions, actionOpen)
	}
	return slices.Contains(r.actions, actionRunUnattended) || slices.Contains(r.actions, actionOpenUnattended) || slices.Contains(r.actions, actionExtendUnattended)
}

func actionsOf(p *ast.Policy) []action {
	var out []action
	for a := range actionCount {
		uid := a.uid()
		switch s := p.Action.(type) {
		case ast.ScopeTypeAll:
			if a.byName() && p.Effect == ast.EffectPermit {
				continue
			}
		case ast.ScopeTypeEq:
			if s.Entity != uid {
				continue
			}
		case ast.ScopeTypeIn:
			if s.Entity != uid {
				continue
			}
		case ast.ScopeTypeInSet:
			if !slices.Contains(s.Entities, uid) {
				continue
			}
		}
		out = append(out, a)
	}
	return out
}

func checkIDs(rules []*rule, ps *problems) {
	first := make(map[string]*rule, len(rules))
	for _, r := range rules {
		if o, ok := first[r.id]; ok && r.id != "" {
			ps.add(r.file, r.line, "rule %q: the @id is taken by %s:%d", r.id, o.file, o.line)
			continue
		}
		first[r.id] = r
	}
}
