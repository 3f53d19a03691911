package policy

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
)

// Change is one difference between two bundles.
type Change struct {
	What string // "rule writes", "class pii.email", "limits", "recording", "test …"
	How  string // added, removed, changed, or what changed into what
}

// Diff lists what differs between two bundles: rules by @id, classes, budgets,
// and the tests of either whose decision is not the same in both.
func Diff(before, after *Bundle) []Change {
	var out []Change
	out = append(out, diffSets("rule ", before.ruleTexts(), after.ruleTexts())...)
	out = append(out, diffSets("class ", before.classTexts(), after.classTexts())...)
	if before.limits != after.limits {
		out = append(out, Change{"limits", "changed"})
	}
	if !before.keeping.equal(after.keeping) {
		out = append(out, Change{"recording", "changed"})
	}
	seen := make(map[string]bool)
	for _, c := range slices.Concat(before.tests, after.tests) {
		key := fmt.Sprintf("%+v", c)
		if seen[key] {
			continue
		}
		seen[key] = true
		if how := decisionChange(before.try(c).Explanation, after.try(c).Explanation); how != "" {
			out = append(out, Change{"test " + c.Name, how})
		}
	}
	return out
}

// decisionChange says how two rulings differ for whoever sent the statement:
// in verdict, approvals or masked columns. "" if they do not.
func decisionChange(a, b Explanation) string {
	switch {
	case a.Ruling.Verdict != b.Ruling.Verdict:
		return fmt.Sprintf("%v by %s becomes %v by %s", a.Ruling.Verdict, a.Ruling.Rule, b.Ruling.Verdict, b.Ruling.Rule)
	case a.Ruling.Approvals != b.Ruling.Approvals:
		return fmt.Sprintf("%d approvals become %d", a.Ruling.Approvals, b.Ruling.Approvals)
	case !slices.Equal(a.Ruling.Reviewers, b.Ruling.Reviewers):
		return fmt.Sprintf("reviewers %v become %v", a.Ruling.Reviewers, b.Ruling.Reviewers)
	case !slices.EqualFunc(a.Ruling.Masks, b.Ruling.Masks, slices.Equal[[]ColumnMask]):
		return fmt.Sprintf("masked columns %v become %v", a.Masked(), b.Masked())
	}
	return ""
}

func (b *Bundle) ruleTexts() map[string]string {
	out := make(map[string]string, len(b.rules))
	for _, r := range b.rules {
		out[r.id] = string(r.policy.MarshalCedar())
	}
	return out
}

func (b *Bundle) classTexts() map[string]string {
	out := make(map[string]string)
	for _, c := range b.classes.sorted {
		out[c.name] = fmt.Sprintf("%v %v %v", c.mask, c.counts, c.word)
	}
	for _, g := range b.classes.globs() {
		out[g.class.name] += fmt.Sprintf(" %+v", g.parts)
	}
	return out
}

func diffSets(prefix string, before, after map[string]string) []Change {
	names := slices.Sorted(maps.Keys(before))
	for name := range after {
		if _, ok := before[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var out []Change
	for _, name := range names {
		old, was := before[name]
		now, is := after[name]
		switch {
		case !was:
			out = append(out, Change{prefix + name, "added"})
		case !is:
			out = append(out, Change{prefix + name, "removed"})
		case old != now:
			out = append(out, Change{prefix + name, "changed"})
		}
	}
	return out
}

// Files lists the names of the bundle's files.
func (b *Bundle) Files() []string {
	var out []string
	for _, f := range b.files {
		out = append(out, f.name)
	}
	return out
}

// File returns the text of one file.
func (b *Bundle) File(name string) ([]byte, bool) {
	i := slices.IndexFunc(b.files, func(f file) bool { return f.name == name })
	if i < 0 {
		return nil, false
	}
	return bytes.Clone(b.files[i].data), true
}
