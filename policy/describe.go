package policy

import (
	"slices"
	"strings"
)

// Rule describes one rule of a bundle.
type Rule struct {
	ID, Reason string
	Permit     bool
	Actions    []string
	Reviewers  []string
	Approvals  int // 0 = not said
	File       string
	Line       int
	Text       string // as Cedar formats it
}

// Rules lists the rules of the bundle, in order.
func (b *Bundle) Rules() []Rule {
	out := make([]Rule, len(b.rules))
	for i, r := range b.rules {
		out[i] = Rule{ID: r.id, Reason: r.reason, Permit: r.permit, Reviewers: slices.Clone(r.reviewers),
			Approvals: r.approvals, File: r.file, Line: r.line, Text: string(r.policy.MarshalCedar())}
		for _, a := range r.actions {
			out[i].Actions = append(out[i].Actions, actionNames[a])
		}
	}
	return out
}

// Class describes one data class of a bundle.
type Class struct {
	Name, About string
	Mask        Mask
	Counts      bool     // how many values there are is shown
	Detect      string   // "" = no value detector
	Columns     []string // patterns
}

// Classes lists the data classes of the bundle by name.
func (b *Bundle) Classes() []Class {
	out := make([]Class, len(b.classes.sorted))
	for i, c := range b.classes.sorted {
		out[i] = Class{Name: c.name, About: c.about, Mask: c.mask, Counts: c.counts, Detect: c.word}
		for _, g := range b.classes.globs() {
			if g.class == c {
				out[i].Columns = append(out[i].Columns, g.String())
			}
		}
	}
	return out
}

// String formats the pattern as classes.yaml has it, folded.
func (g glob) String() string {
	var parts [len(g.parts)]string
	for i, p := range g.parts {
		parts[i] = p.text
		if p.exact {
			parts[i] = `"` + strings.ReplaceAll(p.text, `"`, `""`) + `"`
		}
	}
	return strings.Join(parts[:], ".")
}

// Budgets returns what one statement, and what a session, may use.
func (b *Bundle) Budgets() (statement, session Limits, statements int64) {
	return b.limits.statement, b.limits.session, b.limits.statements
}

// Cases lists the tests of the bundle.
func (b *Bundle) Cases() []Case { return slices.Clone(b.tests) }

// ParseScene reads the subject, setting and catalog of a file of tests, with
// or without tests in it. Its problems are a *BundleError.
func ParseScene(name string, data []byte) (Case, error) {
	var ps problems
	var c Case
	if guard(name, data, &ps) {
		c, _ = readScene(yamlFile{name, &ps}, data)
	}
	return c, ps.err()
}
