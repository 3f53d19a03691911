package tui

import (
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/jit-access/jit/session"
)

// filter narrows what a list shows: words that must all be found. A word of the
// form key:text looks in one place. It hides rows from the eye and decides
// nothing. The zero value shows everything.
type filter struct {
	text  string // as typed
	terms []term
}

type term struct{ key, want string }

// filterKeys are the places a term can look in.
var filterKeys = []string{"who", "table", "kind", "risk"}

// parseFilter reads what was typed, in lower case from then on.
func parseFilter(text string) (filter, error) {
	f := filter{text: strings.TrimSpace(text)}
	for _, word := range strings.Fields(strings.ToLower(text)) {
		key, want, found := strings.Cut(word, ":")
		switch {
		case !found:
			f.terms = append(f.terms, term{want: word})
		case !slices.Contains(filterKeys, key):
			return filter{}, fmt.Errorf("%s: is no filter; there are %s", key, strings.Join(filterKeys, ", "))
		case want == "":
			return filter{}, fmt.Errorf("%s: what? Write %s:something, without a space", key, key)
		default:
			f.terms = append(f.terms, term{key, want})
		}
	}
	return f, nil
}

func (f filter) empty() bool { return len(f.terms) == 0 }

func (f filter) matches(r session.Request) bool {
	return !slices.ContainsFunc(f.terms, func(t term) bool { return !strings.Contains(strings.ToLower(placeOf(r, t.key)), t.want) })
}

// placeOf is the text that a term looks in.
func placeOf(r session.Request, key string) string {
	c := r.Case
	switch key {
	case "who":
		return strings.Join([]string{r.Principal.Display(), r.Principal.Subject, agentOf(r.Agent)}, "\n")
	case "table":
		return strings.Join(slices.Concat(c.Reads, c.Writes), "\n")
	case "kind":
		return strings.Join(append(slices.Clone(c.Kinds), r.Kind.String()), "\n")
	case "risk":
		return riskOf(r).word()
	}
	return strings.Join([]string{r.ID, c.SessionID, r.Principal.Display(), agentOf(r.Agent), c.Canonical, r.Reason, r.Rule, r.RuleText, r.State.String(), scopeWords(r.Scope)}, "\n")
}

// matchesSession knows of a session only who runs what in it.
func (f filter) matchesSession(s session.Session) bool {
	for _, t := range f.terms {
		text := strings.Join([]string{s.Principal.Display(), s.Principal.Subject, agentOf(s.Agent)}, "\n")
		switch t.key {
		case "who":
		case "":
			text += "\n" + s.ID + "\n" + scopeWords(s.Scope)
		default:
			return false
		}
		if !strings.Contains(strings.ToLower(text), t.want) {
			return false
		}
	}
	return true
}

// maxFilter is what a filter may be long.
const maxFilter = 200

// startFilter opens the line in which the filter is typed.
func (m *review) startFilter() {
	in := input{limit: maxFilter}
	in.insert(m.filter.text)
	m.typing = &in
}

func (m *review) onFilterKey(k tea.KeyPressMsg) {
	switch k.String() {
	case "esc":
		m.typing = nil
		m.setFilter(filter{})
	case "enter":
		f, err := parseFilter(m.typing.value())
		if err != nil {
			m.say("%s", oneLine(err.Error()))
			return
		}
		m.typing = nil
		m.setFilter(f)
	default:
		m.typing.edit(k)
	}
}

func (m *review) setFilter(f filter) {
	at := m.index()
	m.filter = f
	m.settleCursor(at)
}
