package replay

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jit-access/jit/session/recording"
)

// Filter narrows the timeline. The zero value keeps everything.
type Filter struct {
	Only []string // any of: allowed, held, denied, masked, failed, aborted
}

// filterWord is a word of Only, and what it keeps.
type filterWord struct {
	word string
	keep func(Entry) bool
}

var filterWords = [...]filterWord{
	{"allowed", func(e Entry) bool { return e.Verdict == "allow" }},
	{"held", Entry.Held},
	{"denied", Entry.Denied},
	{"masked", func(e Entry) bool { return e.Masked }},
	{"failed", func(e Entry) bool { return e.Outcome == OutcomeFailed }},
	{"aborted", func(e Entry) bool { return e.Outcome == OutcomeAborted }},
}

// ParseFilter reads a comma-separated list of words.
func ParseFilter(s string) (Filter, error) {
	var f Filter
	for w := range strings.SplitSeq(s, ",") {
		w = strings.TrimSpace(w)
		if w == "" {
			continue
		}
		if !slices.ContainsFunc(filterWords[:], func(k filterWord) bool { return k.word == w }) {
			return Filter{}, fmt.Errorf("%q is none of allowed, held, denied, masked, failed, aborted", w)
		}
		f.Only = append(f.Only, w)
	}
	return f, nil
}

// Keep reports whether the entry passes. With words given, only statements do.
func (f Filter) Keep(e Entry) bool {
	if len(f.Only) == 0 {
		return true
	}
	for _, k := range filterWords {
		if slices.Contains(f.Only, k.word) && e.Statement() && k.keep(e) {
			return true
		}
	}
	return false
}

// Query finds statements: every term must be found.
type Query struct{ terms []term }

type term struct{ field, text string }

var queryFields = [...]string{"table", "column", "verdict", "rule", "outcome", "who"}

// ParseQuery reads words separated by spaces. A word is looked for in the text
// and everything else known about a statement; table:, column:, verdict:, rule:,
// outcome: and who: (the reviewer) narrow it. Case does not matter.
func ParseQuery(s string) (Query, error) {
	var q Query
	for _, w := range strings.Fields(strings.ToLower(s)) {
		t := term{text: w}
		if field, text, ok := strings.Cut(w, ":"); ok && slices.Contains(queryFields[:], field) {
			t = term{field, text}
			if text == "" {
				return Query{}, fmt.Errorf("%s: what comes after the colon is missing", field)
			}
		}
		q.terms = append(q.terms, t)
	}
	if len(q.terms) == 0 {
		return Query{}, errors.New("nothing to search for")
	}
	return q, nil
}

// Match reports whether an entry with these events has every term.
func (q Query) Match(d Detail) bool {
	for _, t := range q.terms {
		if !t.match(d) {
			return false
		}
	}
	return true
}

func (t term) match(d Detail) bool {
	has := func(items ...string) bool {
		return slices.ContainsFunc(items, func(s string) bool { return strings.Contains(strings.ToLower(s), t.text) })
	}
	if t.field == "outcome" {
		return has(d.Entry.Outcome.String(), d.Entry.Decision)
	}
	for _, e := range d.Events {
		if matchEvent(t.field, e, has) {
			return true
		}
	}
	return t.field == "" && has(d.Entry.Title, d.Entry.Verdict, d.Entry.Decision, d.Entry.Outcome.String())
}

func matchEvent(field string, e recording.Event, has func(...string) bool) bool {
	if s := e.SQL; s != nil {
		switch field {
		case "table":
			return has(s.Reads...) || has(s.Writes...)
		case "column":
			return has(s.Predicates...) || slices.ContainsFunc(s.Outputs, func(o recording.OutputFacts) bool {
				return has(o.Name) || has(o.From...)
			})
		case "verdict":
			return has(s.Verdict)
		case "rule":
			return has(s.Rule)
		case "":
			return has(s.Text, s.Rule, s.Reason) || has(s.Reads...) || has(s.Writes...) || has(s.Kinds...)
		}
	}
	if x := e.Decision; x != nil && (field == "who" || field == "") {
		return has(x.Reviewer...) || field == "" && has(x.Reason)
	}
	if x := e.Result; x != nil && field == "" {
		return has(x.QueryID, x.Error)
	}
	return false
}

// Search returns the positions in entries of those that match, in order. It
// reads every statement again from the recording, and keeps none.
func (r *Recording) Search(entries []Entry, q Query) ([]int, error) {
	var found []int
	for i, e := range entries {
		if !e.Statement() {
			continue
		}
		d, err := r.Detail(e)
		if err != nil {
			return nil, err
		}
		if q.Match(d) {
			found = append(found, i)
		}
	}
	return found, nil
}
