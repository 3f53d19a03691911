package tui

import (
	"fmt"

	"github.com/jit-access/jit/session"
)

// toggleMark marks a request to be approved together with others. Only what
// has been opened and read to its end, as it stands now, can be marked.
func (m *review) toggleMark() {
	req, ok := m.current()
	switch {
	case !ok || m.tab != tabQueue:
		m.say("Only what waits in the queue can be marked.")
	case m.isMarked(req):
		delete(m.marked, req.ID)
	case m.cannotDecide(req) != "":
		m.say("%s", m.cannotDecide(req))
	case m.read[req.ID] != fingerprint(req):
		m.say("Only what you have opened and read to its end can be marked.")
	default:
		m.marked[req.ID] = fingerprint(req)
	}
}

// isMarked reports whether a request is marked as it stands now.
func (m *review) isMarked(req session.Request) bool {
	seen, ok := m.marked[req.ID]
	return ok && seen == fingerprint(req)
}

// noteRead remembers that the open request has been read to its end.
func (m *review) noteRead() {
	if req, ok := m.current(); ok && m.detail && m.tab == tabQueue && !m.unread(req) {
		m.read[req.ID] = fingerprint(req)
	}
}

// askMarked opens one question for everything that is marked.
func (m *review) askMarked() {
	q := &question{act: actApprove, reason: input{limit: maxReason}, reuses: []session.Reuse{session.ReuseOnce}, bulk: true}
	for _, req := range m.requests {
		if !m.isMarked(req) {
			continue
		}
		if why := m.cannotDecide(req); why != "" {
			m.say("%s: %s", oneLine(req.ID), why)
			return
		}
		q.targets = append(q.targets, targetOf(req))
	}
	if len(q.targets) == 0 {
		m.say("Nothing is marked: open a request, read it, then mark it with m.")
		return
	}
	m.question = q
}

// bulkLines says in at most n lines which requests a question is about.
func (m *review) bulkLines(n int) []string {
	q := m.question
	p := paper{style: m.style, width: m.width}
	p.line(m.style.good.Render(q.act.verb()) + " " + m.style.strong.Render(fmt.Sprintf("%d requests", len(q.targets))) + ", each once")
	for i, t := range q.targets {
		if len(p.lines) >= n-1 && i < len(q.targets)-1 {
			p.line(m.style.warn.Render(fmt.Sprintf("      … %d more, each read and marked by you", len(q.targets)-i)))
			break
		}
		if req, ok := m.waitingRequest(t.id); ok {
			r := riskOf(req)
			p.line("  " + r.style(m.style).Render(pad(r.glyph()+" "+r.word(), riskColumn)) + fit(m.whatOf(req), m.width-riskColumn-indent))
		}
	}
	return p.lines[:min(len(p.lines), max(n, 0))]
}
