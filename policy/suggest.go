package policy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"

	"github.com/jit-access/jit/policy/sql"
)

// Witnessed is what one recording says of a session.
type Witnessed struct {
	Subject Subject
	Setting Setting
	Past    []Past // in order
	// Approved has an entry per Past: it was allowed by the bundle or by a
	// reviewer.
	Approved []bool
}

// Suggestion is a bundle made from what was approved, for a person to edit.
type Suggestion struct {
	Bundle  *Bundle
	Allowed int       // distinct statements that it lets run
	Rules   int       // that do so
	Left    []LeftOut // approved, and still not allowed
}

// LeftOut is a statement that a suggestion does not cover.
type LeftOut struct {
	Text string
	Why  string
}

const (
	suggestedRules = "suggested.cedar"
	suggestedTests = testsDir + "/suggested-%d.yaml"
)

// Suggest makes the tightest bundle that would have let run without a person
// what was approved. Every other statement is held, or denied as b denies it:
//
//   - the permits of runUnattended of b are left out;
//   - each approved statement has one: for its principal, connection, role, kind,
//     objects, functions and classes, all of them exactly;
//   - the rules of b that would hold an approved statement spare exactly it, and
//     keep their reviewers and approvals for everything else.
//
// Statements that differ in values alone have the same facts, so one rule covers
// them. What was not understood, or would need more than a recording holds to be
// decided on again, is left out, as are batches and what holds other statements.
func (b *Bundle) Suggest(sessions []Witnessed) (Suggestion, error) {
	d := draft{base: b, cases: map[string]*seenCase{}}
	for _, w := range sessions {
		d.read(w)
	}
	for {
		made, err := d.build()
		if err != nil {
			return Suggestion{}, fmt.Errorf("suggesting a policy: %w", err)
		}
		failed := d.drop(made)
		if failed == 0 {
			return Suggestion{Bundle: made, Allowed: len(d.order), Rules: len(d.conditions()), Left: d.left}, nil
		}
	}
}

// seenCase is a distinct approved statement.
type seenCase struct {
	subject   Subject
	setting   Setting
	text      string
	catalog   Tables
	condition string
	spared    []string // ids of rules of the base that would hold it
}

// draft collects what a suggestion is made of.
type draft struct {
	base  *Bundle
	cases map[string]*seenCase
	order []string // keys of cases, as first seen
	left  []LeftOut
}

func (d *draft) leave(text, why string) {
	if !slices.Contains(d.left, LeftOut{text, why}) {
		d.left = append(d.left, LeftOut{text, why})
	}
}

// read takes in the approved statements of one session.
func (d *draft) read(w Witnessed) {
	catalog := make(Tables)
	for _, p := range w.Past {
		for _, c := range p.Columns {
			catalog.add(c)
		}
	}
	set := w.Setting
	set.SessionID = ""
	for i, p := range w.Past {
		if i >= len(w.Approved) || !w.Approved[i] {
			continue
		}
		x := d.base.Explain(p.Text, Input{Subject: w.Subject, Setting: set}, catalog)
		d.add(w.Subject, set, p.Text, catalog, x)
		if x.Analysis != nil {
			for j := range x.Analysis.Statements {
				set = set.after(x.Analysis.Statements[j].Effects)
			}
		}
	}
}

func (d *draft) add(sub Subject, set Setting, text string, catalog Tables, x Explanation) {
	switch {
	case x.Analysis == nil:
		d.leave(text, "it cannot be read again: "+x.Problem.Error())
		return
	case len(x.Analysis.Missing) > 0:
		d.leave(text, "the recording does not say what its tables hold")
		return
	case len(x.Analysis.Statements) != 1 || len(x.Analysis.Statements[0].Nested) > 0:
		d.leave(text, "it is a batch, or holds other statements")
		return
	case x.Ruling.Verdict == Deny:
		d.leave(text, "the base denies it now: "+x.Ruling.Rule)
		return
	}
	key := strings.Join([]string{sub.User, set.Connection, set.Role, set.Warehouse, set.Database, set.Schema, text}, "\x00")
	if d.cases[key] != nil {
		return
	}
	c := &seenCase{subject: sub, setting: set, text: text, catalog: catalog}
	c.condition = d.base.exactly(Input{Subject: sub, Setting: set, Statements: x.Analysis.Statements})
	for _, m := range x.Matches {
		if m.Action == actionNames[actionRunUnattended] && !m.Permit && !slices.Contains(c.spared, m.Rule) {
			c.spared = append(c.spared, m.Rule)
		}
	}
	d.cases[key], d.order = c, append(d.order, key)
}

// exactFacts are the facts of a statement that a suggested rule fixes. Those it
// leaves out follow from them, or are settings that names are already resolved by.
var exactFacts = [...]string{
	"connection", "role", "kind", "replaces", "reads", "writes", "functions", "outputClasses", "predicateClasses", "storedClasses",
	"unknown", "unknownOutputs", "unknownPredicates", "useRole", "useWarehouse", "useDatabase", "useSchema", "statements", "nested",
}

// exactly is the condition that holds for one statement of these facts and
// principal only.
func (b *Bundle) exactly(in Input) string {
	e := &evaluation{b: b, in: &in, w: newWorld(in.Subject, in.Setting, b.details), clear: map[string]bool{}}
	s := &in.Statements[0]
	f := e.find(s)
	user := cedar.NewEntityUID("User", cedar.String(in.Subject.User))
	parts := []string{"principal in " + string(user.MarshalCedar())}
	for _, name := range exactFacts {
		parts = append(parts, factEquals(name, b.classes.statementFact(name, &in, s, f, false)))
	}
	return strings.Join(parts, " &&\n  ")
}

// factEquals is the comparison of one fact, with sets in order.
func factEquals(name string, v cedar.Value) string {
	switch v := v.(type) {
	case cedar.Boolean:
		if v {
			return "context." + name
		}
		return "!context." + name
	case cedar.Set:
		var items []string
		for item := range v.All() {
			items = append(items, string(item.MarshalCedar()))
		}
		if len(items) == 0 {
			return "context." + name + ".isEmpty()"
		}
		slices.Sort(items)
		return "context." + name + " == [" + strings.Join(items, ", ") + "]"
	}
	return "context." + name + " == " + string(v.MarshalCedar())
}

// conditions are the distinct conditions of the cases, in order.
func (d *draft) conditions() []string {
	var out []string
	for _, key := range d.order {
		if c := d.cases[key].condition; !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}

// build makes the bundle of the cases at hand.
func (d *draft) build() (*Bundle, error) {
	files := map[string][]byte{}
	for _, f := range d.base.files {
		switch {
		case f.name == suggestedRules:
			return nil, errors.New("the base holds suggested rules already; give the bundle that they were made from")
		case path.Dir(f.name) == testsDir: // they expect what the base lets run
		case path.Ext(f.name) == ".cedar":
			data, err := d.rewrite(f)
			if err != nil {
				return nil, err
			}
			files[f.name] = data
		default:
			files[f.name] = f.data
		}
	}
	files[suggestedRules] = d.permits()
	d.tests(files)
	var list []file
	for _, name := range slices.Sorted(maps.Keys(files)) {
		list = append(list, file{name, files[name]})
	}
	return build(list)
}

// rewrite is a file of the base without its permits of runUnattended, and with
// rules that spare the cases. A file with neither stays as it is.
func (d *draft) rewrite(f file) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString("// Made from the base; its comments are left out. Edit it.\n")
	changed := false
	for _, r := range d.base.rules {
		if r.file != f.name {
			continue
		}
		unattended := slices.Contains(r.actions, actionRunUnattended)
		if r.permit && unattended {
			if len(r.actions) > 1 {
				return nil, fmt.Errorf("rule %q of the base permits runUnattended and something else; split it", r.id)
			}
			changed = true
			continue
		}
		text := bytes.TrimRight(bytes.TrimSpace(r.policy.MarshalCedar()), ";")
		out.WriteByte('\n')
		out.Write(text)
		if spared := d.spared(r.id); len(spared) > 0 && unattended {
			changed = true
			fmt.Fprintf(&out, "\nunless {\n  (%s)\n}", strings.Join(spared, ") ||\n  ("))
		}
		out.WriteString(";\n")
	}
	if !changed {
		return f.data, nil
	}
	return out.Bytes(), nil
}

// spared are the conditions of the cases that a rule would hold.
func (d *draft) spared(rule string) []string {
	var out []string
	for _, key := range d.order {
		c := d.cases[key]
		if slices.Contains(c.spared, rule) && !slices.Contains(out, c.condition) {
			out = append(out, c.condition)
		}
	}
	return out
}

// permits are the rules that let the cases run.
func (d *draft) permits() []byte {
	var out bytes.Buffer
	out.WriteString("// What was approved, one rule each. Widen a rule where it is too tight: name a\n// group in place of the user, drop a line that does not matter.\n")
	for i, condition := range d.conditions() {
		n := 0
		for _, key := range d.order {
			if d.cases[key].condition == condition {
				n++
			}
		}
		fmt.Fprintf(&out, "\n@id(\"approved-%d\")\n@reason(\"Statements like this were approved before (%d seen).\")\n", i+1, n)
		fmt.Fprintf(&out, "permit (principal, action == Action::\"runUnattended\", resource)\nwhen {\n  %s\n};\n", condition)
	}
	return out.Bytes()
}

// tests writes the cases as tests that the bundle must pass: a file for each
// subject, setting and catalog.
func (d *draft) tests(files map[string][]byte) {
	type scene struct {
		head  string
		cases []*seenCase
	}
	var scenes []*scene
	for _, key := range d.order {
		c := d.cases[key]
		head := c.scene()
		i := slices.IndexFunc(scenes, func(s *scene) bool { return s.head == head })
		if i < 0 {
			i, scenes = len(scenes), append(scenes, &scene{head: head})
		}
		scenes[i].cases = append(scenes[i].cases, c)
	}
	for i, s := range scenes {
		var out bytes.Buffer
		out.WriteString(s.head + "tests:\n")
		for n, c := range s.cases {
			fmt.Fprintf(&out, "  - name: approved %d\n    sql: %s\n    verdict: allow\n", n+1, yamlText(c.text))
		}
		files[fmt.Sprintf(suggestedTests, i+1)] = out.Bytes()
	}
}

// scene is what the tests of a case share, as YAML.
func (c *seenCase) scene() string {
	var out strings.Builder
	fmt.Fprintf(&out, "subject: {user: %s, email: %s}\n", yamlText(c.subject.User), yamlText(c.subject.Email))
	fmt.Fprintf(&out, "setting: {connection: %s, role: %s, warehouse: %s, database: %s, schema: %s}\n", yamlText(c.setting.Connection),
		yamlText(c.setting.Role), yamlText(c.setting.Warehouse), yamlText(c.setting.Database), yamlText(c.setting.Schema))
	out.WriteString("catalog:\n")
	names := slices.SortedFunc(maps.Keys(c.catalog), func(a, b sql.ObjectName) int { return cmp.Compare(a.String(), b.String()) })
	for _, n := range names {
		columns := make([]string, 0, len(c.catalog[n].Columns))
		for _, col := range c.catalog[n].Columns {
			columns = append(columns, yamlText(col))
		}
		fmt.Fprintf(&out, "  %s: [%s]\n", yamlText(n.String()), strings.Join(columns, ", "))
	}
	if len(names) == 0 {
		return strings.TrimSuffix(out.String(), "catalog:\n")
	}
	return out.String()
}

// yamlText quotes a text: a JSON string is one in YAML too.
func yamlText(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return strings.TrimSuffix(b.String(), "\n")
}

// drop leaves out the cases that a bundle does not let run after all, and counts
// them.
func (d *draft) drop(made *Bundle) int {
	failed := 0
	for _, key := range slices.Clone(d.order) {
		c := d.cases[key]
		x := made.Explain(c.text, Input{Subject: c.subject, Setting: c.setting}, c.catalog)
		if x.Ruling.Verdict == Allow {
			continue
		}
		failed++
		d.leave(c.text, fmt.Sprintf("no rule can allow it without a person: %s", x.Ruling.Rule))
		d.order = slices.DeleteFunc(d.order, func(k string) bool { return k == key })
		delete(d.cases, key)
	}
	return failed
}
