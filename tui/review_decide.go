package tui

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/jit-access/jit/session"
)

// undoTime is how long a decision waits before it is sent.
const undoTime = 5 * time.Second

// maxReason is what a reviewer may write.
const maxReason = 500

// act is what a question is about. The zero value takes nothing away from
// anybody and gives nothing to anybody.
type act uint8

const (
	actDeny act = iota
	actApprove
	actRevoke // end the session behind a held statement
)

func (a act) key() string { return [...]string{"d", "a", "x"}[a] }
func (a act) verb() string {
	return [...]string{"Deny", "Approve", "End the session of"}[a]
}
func (a act) question() string {
	return [...]string{"Deny this?", "Approve this?", "End this session?"}[a]
}

// question is a decision being made: first the reason, then a yes. Enter only
// ever goes from the first to the second, or back out.
type question struct {
	act     act
	id      string
	digest  string // of what the reviewer saw
	seen    string // its fingerprint
	reuse   session.Reuse
	reuses  []session.Reuse
	reason  input
	confirm bool
}

// outgoing is a decision in its undo time.
type outgoing struct {
	id, seen string
	choice   session.Choice
	due      time.Time
	sent     bool
}

// ask opens the question, or says why this request cannot be decided here.
func (m *review) ask(a act) {
	req, ok := m.current()
	if !ok {
		return
	}
	if why := m.cannot(a, req); why != "" {
		m.say("%s", why)
		return
	}
	if !m.detail {
		m.detail, m.scroll, m.seen = true, 0, 0
		m.say("Read it first, then press %s again.", a.key())
		return
	}
	if a == actApprove && m.unread(req) {
		m.say("The statement goes on below: read it to its end (space), then press a again.")
		return
	}
	q := &question{act: a, id: req.ID, seen: fingerprint(req), reason: input{limit: maxReason}, reuses: []session.Reuse{session.ReuseOnce}}
	if req.Kind == session.RequestStatement {
		q.digest = req.Case.Digest()
		if a == actApprove {
			if req.Case.Shape != "" {
				q.reuses = append(q.reuses, session.ReuseShape)
			}
			q.reuses = append(q.reuses, session.ReuseWindow)
		}
	}
	m.question = q
}

// cannot says why the viewer cannot do this to a request now; empty if they can.
func (m *review) cannot(a act, req session.Request) string {
	if a != actRevoke {
		return m.cannotDecide(req)
	}
	switch {
	case m.readOnly:
		return "Read-only: nothing can be ended here."
	case req.Case.SessionID == "":
		return "No session runs behind this request yet."
	case !m.canRevoke:
		return "Sessions cannot be ended from here."
	}
	return ""
}

func (m *review) cannotDecide(req session.Request) string {
	switch {
	case m.readOnly:
		return "Read-only: nothing can be decided here."
	case req.Principal.ID() == m.viewer.ID():
		return "You asked for this yourself: somebody else must decide."
	case m.waiting(req.ID):
		return "Already decided; press u to undo."
	case decidedBy(req, m.viewer):
		return "You have decided on this; it waits for somebody else."
	case !m.clock().Before(req.ExpiresAt):
		return "It has expired: whoever asked must ask again."
	case m.ended:
		return "Your access to the queue has ended."
	case m.clock().Sub(m.changedAt) < steadyTime:
		return "This row just changed: look again, then decide."
	}
	return ""
}

func decidedBy(req session.Request, who session.Principal) bool {
	return slices.ContainsFunc(req.Decisions, func(d session.Decision) bool { return d.Reviewer.ID() == who.ID() })
}

func (m *review) waiting(id string) bool {
	return slices.ContainsFunc(m.outbox, func(o outgoing) bool { return o.id == id })
}

func (m *review) onQuestionKey(k tea.KeyPressMsg) tea.Cmd {
	q := m.question
	if q.confirm {
		switch k.String() {
		case "y", "Y":
			return m.settle()
		case "b", "left":
			q.confirm = false
		default: // Enter, n, Esc and every slip of the finger: No
			m.question = nil
			m.say("Nothing was decided.")
		}
		return nil
	}
	switch k.String() {
	case "esc":
		m.question = nil
		m.say("Nothing was decided.")
		return nil
	case "enter":
		q.confirm = true
		return nil
	case "tab", "shift+tab":
		q.reuse = q.reuses[(slices.Index(q.reuses, q.reuse)+1)%len(q.reuses)]
		return nil
	}
	q.reason.edit(k)
	return nil
}

// settle acts on a yes. A decision goes into the outbox, where it can be
// undone; ending a session takes only away, and is done at once.
func (m *review) settle() tea.Cmd {
	q := m.question
	m.question = nil
	req, ok := m.current()
	if !ok || req.ID != q.id || fingerprint(req) != q.seen {
		m.say("The request changed: nothing was decided.")
		return nil
	}
	if why := m.cannot(q.act, req); why != "" {
		m.say("%s", why)
		return nil
	}
	reason := strings.TrimSpace(q.reason.value())
	choice := session.Choice{Outcome: session.OutcomeDeny, Reuse: q.reuse, Reason: reason, Digest: q.digest}
	switch q.act {
	case actRevoke:
		m.say("Ending the session…")
		return m.io.revoke(req.Case.SessionID, reason)
	case actApprove:
		choice.Outcome = session.OutcomeApprove
	}
	m.outbox = append(m.outbox, outgoing{id: q.id, seen: q.seen, due: m.clock().Add(undoTime), choice: choice})
	return nil
}

func (m *review) onRevoked(msg revokedMsg) tea.Cmd {
	if msg.err != nil {
		m.say("Not ended: %s", oneLine(msg.err.Error()))
		return nil
	}
	m.say("Session %s is ended.", oneLine(msg.session))
	return m.reload()
}

// undo takes back the latest decision that is not sent.
func (m *review) undo() {
	for i := len(m.outbox) - 1; i >= 0; i-- {
		if !m.outbox[i].sent {
			m.say("Undone: nothing was decided on %s.", oneLine(m.outbox[i].id))
			m.outbox = slices.Delete(m.outbox, i, i+1)
			return
		}
	}
	m.say("Nothing to undo.")
}

// sendDue sends what has waited long enough.
func (m *review) sendDue(now time.Time) []tea.Cmd {
	var cmds []tea.Cmd
	for i := range m.outbox {
		if o := &m.outbox[i]; !o.sent && !now.Before(o.due) {
			o.sent = true
			cmds = append(cmds, m.io.decide(o.id, o.choice))
		}
	}
	return cmds
}

// recheckOutbox drops decisions on requests that are not what was seen.
func (m *review) recheckOutbox() {
	m.outbox = slices.DeleteFunc(m.outbox, func(o outgoing) bool {
		if o.sent {
			return false // its answer decides
		}
		i := slices.IndexFunc(m.requests, func(r session.Request) bool { return r.ID == o.id })
		if i >= 0 && fingerprint(m.requests[i]) == o.seen {
			return false
		}
		m.say("Not sent: request %s changed or no longer waits.", oneLine(o.id))
		return true
	})
}

func (m *review) onDecided(msg decidedMsg) tea.Cmd {
	m.outbox = slices.DeleteFunc(m.outbox, func(o outgoing) bool { return o.id == msg.id && o.sent })
	m.settled = msg.id
	id := oneLine(msg.id)
	switch {
	case errors.Is(msg.err, session.ErrConflict):
		m.say("Not decided: request %s changed meanwhile.", id)
	case errors.Is(msg.err, session.ErrOwnRequest):
		m.say("Not decided: you asked for %s yourself.", id)
	case msg.err != nil:
		m.say("Not decided: %s", oneLine(msg.err.Error()))
	case msg.outcome == session.OutcomeDeny:
		m.say("Denied %s.", id)
	case msg.request.State == session.StatePending:
		m.say("Approved %s; it waits for one more person.", id)
	default:
		m.say("Approved %s.", id)
	}
	return m.reload()
}

func reuseWords(r session.Reuse) string {
	switch r {
	case session.ReuseShape:
		return "this shape, in this session"
	case session.ReuseWindow:
		return "this statement, for 15 minutes"
	}
	return "once"
}

// notice is what the outbox has to say: the latest decision and how long it
// can be undone.
func (m *review) notice() string {
	if len(m.outbox) == 0 {
		return ""
	}
	o := m.outbox[len(m.outbox)-1]
	verb := "Denying"
	if o.choice.Outcome == session.OutcomeApprove {
		verb = "Approving"
	}
	if o.sent {
		return fmt.Sprintf("%s %s: sending…", verb, oneLine(o.id))
	}
	left := max(o.due.Sub(m.clock()), 0).Round(time.Second)
	return fmt.Sprintf("%s %s in %s. Press u to undo.", verb, oneLine(o.id), left)
}
