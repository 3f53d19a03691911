package policy

import (
	"cmp"

	"github.com/jit-access/jit/policy/sql"
)

// Past is one statement of a recording: what was decided then, and the columns
// its labels named.
type Past struct {
	ID      string
	Text    string // canonical
	Verdict Verdict
	Rule    string
	Columns []string // DATABASE.SCHEMA.TABLE.COLUMN
}

// Revisited is a past statement under another bundle.
type Revisited struct {
	Past   Past
	Ruling Ruling
	// Unsure is true if the recording does not say enough to decide again: the
	// text needs relations that no recorded label names.
	Unsure bool
}

// Changed reports whether the decision is another one now.
func (r Revisited) Changed() bool { return !r.Unsure && r.Ruling.Verdict != r.Past.Verdict }

// Revisit decides on the statements of one recording again, in order. A
// recording holds no catalog; what its labels name stands in for one, which is
// enough for every column a statement touched then. Session settings follow
// the USE statements that ran.
func (b *Bundle) Revisit(sub Subject, set Setting, past []Past) []Revisited {
	catalog := make(Tables)
	for _, p := range past {
		for _, c := range p.Columns {
			catalog.add(c)
		}
	}
	out := make([]Revisited, 0, len(past))
	for _, p := range past {
		x := b.Explain(p.Text, Input{Subject: sub, Setting: set}, catalog)
		r := Revisited{Past: p, Ruling: x.Ruling}
		if x.Analysis != nil {
			r.Unsure = len(x.Analysis.Missing) > 0
			if p.Verdict == Allow {
				for i := range x.Analysis.Statements {
					set = set.after(x.Analysis.Statements[i].Effects)
				}
			}
		}
		out = append(out, r)
	}
	return out
}

// add puts a column named by a label into the catalog.
func (t Tables) add(column string) {
	parts, err := parseGlob(column)
	if err != nil {
		return
	}
	name := sql.ObjectName{Database: parts[0].text, Schema: parts[1].text, Name: parts[2].text}
	r := t[name]
	for _, have := range r.Columns {
		if have == parts[3].text {
			return
		}
	}
	r.Kind, r.Columns = sql.ObjectTable, append(r.Columns, parts[3].text)
	t[name] = r
}

// after is the setting once a statement has changed it.
func (s Setting) after(e sql.Effects) Setting {
	s.Database = cmp.Or(e.UseDatabase, s.Database)
	s.Schema = cmp.Or(e.UseSchema, s.Schema)
	s.Warehouse = cmp.Or(e.UseWarehouse, s.Warehouse)
	s.Role = cmp.Or(e.UseRole, s.Role)
	return s
}
