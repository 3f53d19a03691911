package tui

import (
	"fmt"
	"strings"

	"github.com/jit-access/jit/session"
)

// maxChanges is how many changed places are listed; more say nothing.
const maxChanges = 12

// lastAlike is the latest request that was approved for a statement of the same
// shape: the same text but for its literals.
func (m *review) lastAlike(req session.Request) (session.Request, bool) {
	if req.Case.Shape == "" {
		return session.Request{}, false
	}
	for _, past := range m.shelves[tabDecided].requests { // newest first
		if past.ID != req.ID && past.Case.Shape == req.Case.Shape && wasApproved(past) {
			return past, true
		}
	}
	return session.Request{}, false
}

func wasApproved(r session.Request) bool {
	n := 0
	for _, d := range r.Decisions {
		if d.Outcome != session.OutcomeApprove {
			return false
		}
		n++
	}
	return n > 0 && n >= r.Approvals
}

// compare writes what differs from the last approved statement of the same
// shape.
func (p *paper) compare(past, req session.Request, when string) {
	p.heading("Against the last one approved of this shape")
	p.field("that was", when)
	changes, same := literalChanges(past.Case.Canonical, req.Case.Canonical)
	if past.Case.Binds != req.Case.Binds {
		same = false
		changes = append(changes, change{line: 0, was: past.Case.Binds, is: req.Case.Binds})
	}
	switch {
	case same:
		p.field("text", "the same, byte for byte")
	case len(changes) == 0 || len(changes) > maxChanges:
		p.field("text", "differs in many places: read the whole of it")
	default:
		for _, c := range changes {
			label := fmt.Sprintf("line %d", c.line)
			if c.line == 0 {
				label = "binds"
			}
			p.listStyled(label, []string{"- " + orNothing(c.was)}, p.style.bad.Render)
			p.listStyled("", []string{"+ " + orNothing(c.is)}, p.style.good.Render)
		}
	}
}

func orNothing(s string) string {
	if s == "" {
		return "(nothing)"
	}
	return s
}

// change is one place where two statements of a shape differ.
type change struct {
	line    int // in the new one, from 1; 0: the binds
	was, is string
}

// literalChanges lists the tokens in which two texts of one shape differ. Texts
// whose tokens do not pair up have no list. same means equal bytes.
func literalChanges(was, is string) (changes []change, same bool) {
	if was == is {
		return nil, true
	}
	line := 1
	for was != "" && is != "" {
		a, aClass := sqlToken(was)
		b, bClass := sqlToken(is)
		if was[:a] != is[:b] {
			if aClass != bClass || aClass != sqlString && aClass != sqlNumber {
				return nil, false
			}
			changes = append(changes, change{line, was[:a], is[:b]})
		}
		line += strings.Count(is[:b], "\n")
		was, is = was[a:], is[b:]
	}
	if was != "" || is != "" {
		return nil, false
	}
	return changes, false
}
