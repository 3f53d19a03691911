package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/jit-access/jit/policy/sql"
)

// vocabulary lists the values of facts that have few. A rule that compares
// such a fact with anything else is a typing mistake that would never fire.
func vocabulary(fact string) []string {
	switch fact {
	case "category":
		var words []string
		for c := sql.CategoryUnknown; c <= sql.CategoryScript; c++ {
			words = append(words, c.String())
		}
		return words
	case "access":
		return []string{accessStatement, accessRead, accessWrite}
	case "risks":
		return []string{riskUnknown, riskSystem, riskEgress, riskAI}
	}
	return nil
}

var classFacts = []string{"outputClasses", "maskedOutputs", "predicateClasses", "maskedPredicates", "storedClasses"}

// deadParts finds, without evaluating anything, parts of a rule that can never
// hold: constant conditions, facts compared with words that do not exist, and
// classes that classes.yaml does not know.
func deadParts(p *ast.Policy, classes *classTable) []string {
	var out []string
	class := func(name string) {
		if !classes.known(name) {
			out = append(out, fmt.Sprintf("classes.yaml has no class %q", name))
		}
	}
	word := func(fact string, v types.Value) {
		s, ok := v.(types.String)
		if !ok {
			return
		}
		if slices.Contains(classFacts, fact) {
			class(string(s))
		}
		if words := vocabulary(fact); words != nil && !slices.Contains(words, string(s)) {
			out = append(out, fmt.Sprintf("context.%s is one of %s, not %q", fact, strings.Join(words, ", "), s))
		}
	}
	if uid, ok := resourceUID(p.Resource); ok && uid.Type == "Class" {
		class(string(uid.ID))
	}
	out = append(out, contradictions(p)...)
	for _, c := range p.Conditions {
		if b, ok := constant(c.Body); ok && b != bool(c.Condition) {
			out = append(out, "a condition is constant")
		}
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			switch t := n.(type) {
			case ast.NodeTypeEquals:
				compare(t.Left, t.Right, word)
			case ast.NodeTypeNotEquals:
				compare(t.Left, t.Right, word)
			case ast.NodeTypeContains:
				compare(t.Left, t.Right, word)
			case ast.NodeTypeContainsAny:
				compare(t.Left, t.Right, word)
			case ast.NodeTypeContainsAll:
				compare(t.Left, t.Right, word)
			case ast.NodeValue:
				if uid, ok := t.Value.(types.EntityUID); ok && uid.Type == "Class" {
					class(string(uid.ID))
				}
			}
			return true
		})
	}
	return out
}

// contradictions finds facts of one word that must be two different words.
func contradictions(p *ast.Policy) []string {
	var out []string
	must := make(map[string]types.Value)
	var walk func(n ast.IsNode)
	walk = func(n ast.IsNode) {
		switch t := n.(type) {
		case ast.NodeTypeAnd:
			walk(t.Left)
			walk(t.Right)
		case ast.NodeTypeEquals:
			compare(t.Left, t.Right, func(fact string, v types.Value) {
				if !slices.Contains([]string{"category", "access", "kind", "verb"}, fact) {
					return
				}
				if had, ok := must[fact]; ok && !had.Equal(v) {
					out = append(out, fmt.Sprintf("context.%s cannot be both %s and %s", fact, had, v))
				}
				must[fact] = v
			})
		}
	}
	for _, c := range p.Conditions {
		if c.Condition == ast.ConditionWhen {
			walk(c.Body)
		}
	}
	return out
}

// compare calls found for every pair of a context fact and a literal.
func compare(l, r ast.IsNode, found func(fact string, v types.Value)) {
	fact, other := contextFact(l), r
	if fact == "" {
		fact, other = contextFact(r), l
	}
	if fact == "" {
		return
	}
	for _, v := range literals(other) {
		found(fact, v)
	}
}

func literals(n ast.IsNode) []types.Value {
	switch t := n.(type) {
	case ast.NodeValue:
		if s, ok := t.Value.(types.Set); ok {
			return s.Slice()
		}
		return []types.Value{t.Value}
	case ast.NodeTypeSet:
		var out []types.Value
		for _, e := range t.Elements {
			out = append(out, literals(e)...)
		}
		return out
	}
	return nil
}

// contextFact returns x for context.x, else "".
func contextFact(n ast.IsNode) string {
	if a, ok := n.(ast.NodeTypeAccess); ok {
		if v, ok := a.Arg.(ast.NodeTypeVariable); ok && v.Name == "context" {
			return string(a.Value)
		}
	}
	return ""
}

func constant(n ast.IsNode) (value, ok bool) {
	v, ok := n.(ast.NodeValue)
	if !ok {
		return false, false
	}
	b, ok := v.Value.(types.Boolean)
	return bool(b), ok
}

func resourceUID(s ast.IsResourceScopeNode) (types.EntityUID, bool) {
	switch t := s.(type) {
	case ast.ScopeTypeEq:
		return t.Entity, true
	case ast.ScopeTypeIn:
		return t.Entity, true
	case ast.ScopeTypeIsIn:
		return t.Entity, true
	}
	return types.EntityUID{}, false
}

// usage says which parts of a question a rule looks at, so that the others
// need not be built and a rule that looks at no object is asked once.
type usage struct {
	facts   map[string]bool // names of context facts
	all     bool            // the context as a whole
	object  bool            // the resource
	details bool            // attributes of entities
}

func usageOf(p *ast.Policy) usage {
	u := usage{facts: make(map[string]bool)}
	if _, ok := p.Resource.(ast.ScopeTypeAll); !ok {
		u.object = true
	}
	fact := func(arg ast.IsNode, name types.String) bool {
		if v, ok := arg.(ast.NodeTypeVariable); ok && v.Name == "context" {
			u.facts[string(name)] = true
			return false // the variable below is accounted for
		}
		u.details = true
		return true
	}
	for _, c := range p.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			switch t := n.(type) {
			case ast.NodeTypeAccess:
				return fact(t.Arg, t.Value)
			case ast.NodeTypeHas:
				return fact(t.Arg, t.Value)
			case ast.NodeTypeVariable:
				u.object = u.object || t.Name == "resource"
				u.all = u.all || t.Name == "context"
			}
			return true
		})
	}
	u.object = u.object || u.all || u.facts["access"]
	return u
}

// mentions reports whether the rule can see a fact.
func (u usage) mentions(fact string) bool { return u.all || u.facts[fact] }
