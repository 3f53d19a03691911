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
	actRevoke  // end the session behind a held statement, or an open session
	actComment // say something and decide nothing
)

func (a act) key() string { return [...]string{"d", "a", "x", "c"}[a] }
func (a act) verb() string {
	return [...]string{"Deny", "Approve", "End the session of", "Comment on"}[a]
}
func (a act) question() string {
	return [...]string{"Deny this?", "Approve this?", "End this session?", "Say this?"}[a]
}

// question is a decision being made: first the reason, then a yes. Enter only
// ever goes from the first to the second, or back out.
type question struct {
	act       act
	targets   []target // what it decides on; of more than one only by a bulk approval
	bulk      bool
	session   string // of actRevoke on the sessions tab
	reuse     session.Reuse
	reuses    []session.Reuse
	keepMasks bool
	canKeep   bool // there is a result that masks could be kept on
	reason    input
	confirm   bool
}

func (q *question) trimmed() string { return strings.TrimSpace(q.reason.value()) }

// target is a request as the reviewer saw it.
type target struct {
	id     string
	digest string // Case.Digest of a statement
	seen   string // its fingerprint
}

func targetOf(req session.Request) target {
	t := target{id: req.ID, seen: fingerprint(req)}
	if req.Kind == session.RequestStatement {
		t.digest = req.Case.Digest()
	}
	return t
}

// outgoing is a decision in its undo time.
type outgoing struct {
	id, seen string
	choice   session.Choice
	due      time.Time // also what one yes decided: it is undone together
	sent     bool
}

// ask opens the question, or says why this request cannot be decided here.
func (m *review) ask(a act) {
	if m.tab == tabSessions {
		m.askSession(a)
		return
	}
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
	q := &question{act: a, targets: []target{targetOf(req)}, reason: input{limit: maxReason}, reuses: []session.Reuse{session.ReuseOnce}}
	if req.Kind == session.RequestStatement && a == actApprove {
		if req.Case.Shape != "" {
			q.reuses = append(q.reuses, session.ReuseShape)
		}
		q.reuses = append(q.reuses, session.ReuseWindow)
		q.canKeep = len(req.Case.Classes) > 0
	}
	m.question = q
}

// cannot says why the viewer cannot do this to a request now; empty if they can.
func (m *review) cannot(a act, req session.Request) string {
	switch {
	case a == actComment && m.readOnly:
		return "Read-only: nothing can be said here."
	case a == actComment:
		return ""
	case a != actRevoke:
		return m.cannotDecide(req)
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
	case m.tab != tabQueue && req.State == session.StatePending:
		return "Decide in the queue (1)."
	case req.State != session.StatePending:
		return "It no longer waits."
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
		if len(q.reuses) > 0 {
			q.reuse = q.reuses[(slices.Index(q.reuses, q.reuse)+1)%len(q.reuses)]
		}
		return nil
	case "ctrl+t":
		q.keepMasks = q.canKeep && !q.keepMasks
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
	switch {
	case q.session != "":
		return m.settleSession(q)
	case q.bulk || q.act == actApprove || q.act == actDeny:
		m.settleDecision(q)
		return nil
	}
	req, ok := m.current()
	if !ok || targetOf(req) != q.targets[0] {
		m.say("The request changed: nothing was done.")
		return nil
	}
	if why := m.cannot(q.act, req); why != "" {
		m.say("%s", why)
		return nil
	}
	if q.act == actComment {
		if q.trimmed() == "" {
			m.say("Nothing was said.")
			return nil
		}
		return m.io.comment(req.ID, q.trimmed())
	}
	m.say("Ending the session…")
	return m.io.revoke(req.Case.SessionID, q.trimmed())
}

// settleDecision puts what was decided into the outbox: all of it, or, if
// anything is not what was seen, nothing.
func (m *review) settleDecision(q *question) {
	var out []outgoing
	due := m.clock().Add(undoTime)
	for _, t := range q.targets {
		req, ok := m.waitingRequest(t.id)
		if !ok || targetOf(req) != t {
			m.say("Request %s changed: nothing was decided.", oneLine(t.id))
			return
		}
		if why := m.cannotDecide(req); why != "" {
			m.say("%s", why)
			return
		}
		choice := session.Choice{Outcome: session.OutcomeDeny, Reuse: q.reuse, Reason: q.trimmed(), Digest: t.digest}
		if q.act == actApprove {
			choice.Outcome, choice.KeepMasks = session.OutcomeApprove, q.keepMasks
		}
		out = append(out, outgoing{id: t.id, seen: t.seen, due: due, choice: choice})
	}
	m.outbox = append(m.outbox, out...)
	for _, o := range out {
		delete(m.marked, o.id)
	}
}

func (m *review) onCommented(msg commentedMsg) tea.Cmd {
	if msg.err != nil {
		m.say("Not said: %s", oneLine(msg.err.Error()))
		return nil
	}
	m.say("Your comment on %s is kept.", oneLine(msg.id))
	return tea.Batch(m.reload(), m.loadShelf())
}

func (m *review) onRevoked(msg revokedMsg) tea.Cmd {
	if msg.err != nil {
		m.say("Not ended: %s", oneLine(msg.err.Error()))
		return nil
	}
	m.say("Session %s is ended.", oneLine(msg.session))
	return tea.Batch(m.reload(), m.loadShelf())
}

// undo takes back what the latest yes decided and is not sent.
func (m *review) undo() {
	var due time.Time
	var undone []string
	for i := len(m.outbox) - 1; i >= 0; i-- {
		o := m.outbox[i]
		if o.sent || len(undone) > 0 && !o.due.Equal(due) {
			continue
		}
		due = o.due
		undone = append(undone, oneLine(o.id))
		m.outbox = slices.Delete(m.outbox, i, i+1)
	}
	switch len(undone) {
	case 0:
		m.say("Nothing to undo.")
	case 1:
		m.say("Undone: nothing was decided on %s.", undone[0])
	default:
		m.say("Undone: nothing was decided on %d requests.", len(undone))
	}
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
	return tea.Batch(m.reload(), m.io.shelf(tabDecided))
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
