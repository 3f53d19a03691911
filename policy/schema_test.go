package policy

import (
	"slices"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/jit-access/jit/policy/sql"
)

// What the engine hands to Cedar is what the schema promises to rules: else a
// rule that was checked could err, and an error is a denial.
func TestFactsFitTheSchema(t *testing.T) {
	schema := loadSchema()
	v := validate.New(schema)
	b := mustLoadOver(t, nil)
	for _, fact := range statementFactNames {
		b.seen[fact] = true
	}
	s := query(direct("EMAIL"))
	s.Functions = []sql.Function{{Name: "F"}}
	s.Predicates = labels("SSN")
	name := sql.ObjectName{Database: "D", Schema: "S", Name: "n 1"}
	for _, kind := range []sql.ObjectKind{sql.ObjectTable, sql.ObjectView, sql.ObjectStage, sql.ObjectShare, sql.ObjectIntegration,
		sql.ObjectDatabase, sql.ObjectSchema, sql.ObjectWarehouse, sql.ObjectRole, sql.ObjectUser, sql.ObjectFunction,
		sql.ObjectProcedure, sql.ObjectLocation, sql.ObjectOther, "a new kind"} {
		s.Reads = append(s.Reads, sql.Object{Kind: kind, Name: name}, sql.Object{Kind: kind, Name: sql.ObjectName{Name: "only"}},
			sql.Object{Kind: kind, Name: sql.ObjectName{Database: "D", Name: "half"}})
	}
	in := Input{Subject: ana(), Setting: prod(), Statements: []sql.Statement{s}, Usage: Usage{Rows: 1, Elapsed: time.Second}}
	w := newWorld(in.Subject, in.Setting, true)
	e := &evaluation{b: b, in: &in, w: w, clear: map[string]bool{}}
	facts := b.statementFacts(&in, &s, e.find(&s), true)
	facts["access"], facts["estimate"] = cedar.String(accessRead), noEstimate().record()
	ask := func(a action, principal, resource cedar.EntityUID, context cedar.Record) {
		t.Helper()
		if err := v.Request(cedar.Request{Principal: principal, Action: a.uid(), Resource: resource, Context: context}); err != nil {
			t.Errorf("%s %s: %v", actionNames[a], resource, err)
		}
	}
	ask(actionRun, w.agent, w.account, cedar.NewRecord(facts))
	for _, o := range s.Reads {
		ask(actionRunUnattended, w.agent, w.touched(o), cedar.NewRecord(facts))
	}
	m := settingFacts(in.Setting)
	m["ttlMinutes"] = cedar.Long(1)
	for _, a := range []action{actionOpen, actionOpenUnattended, actionOpenEmergency, actionExtendUnattended} {
		ask(a, w.agent, w.account, cedar.NewRecord(m))
	}
	m = settingFacts(in.Setting)
	m["requester"], m["kinds"] = w.user(ana()), cedar.NewSet()
	ask(actionReview, w.user(Subject{User: "rex", Groups: []string{"g"}}), w.account, cedar.NewRecord(m))
	m = settingFacts(in.Setting)
	m["kind"], m["verb"], m["category"] = cedar.String(""), cedar.String(""), cedar.String("")
	ask(actionReadClear, w.agent, w.class("pii.email"), cedar.NewRecord(m))
	for uid, entity := range w.entities {
		if err := v.Entity(entity); err != nil {
			t.Errorf("%s: %v", uid, err)
		}
	}

	declared := []string{}
	for fact := range schema.Actions[actionRun.uid()].AppliesTo.Context {
		if fact != "access" && fact != "estimate" {
			declared = append(declared, string(fact))
		}
	}
	listed := slices.Sorted(slices.Values(statementFactNames[:]))
	slices.Sort(declared)
	if !slices.Equal(declared, listed) {
		t.Errorf("the schema declares %v, the engine makes %v", declared, listed)
	}
}
