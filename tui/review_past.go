package tui

import (
	"time"

	tea "charm.land/bubbletea/v2"
)

// past is what the session of the open request ran before it.
type past struct {
	id         string // the request it was read for
	loaded     bool
	statements []PastStatement
	err        error
}

// wantHistory reads the history of the open request, once.
func (m *review) wantHistory() tea.Cmd {
	req, ok := m.current()
	if !ok || !m.detail || req.Case.SessionID == "" || m.past.id == req.ID {
		return nil
	}
	m.past = past{id: req.ID}
	return m.io.history(req.ID)
}

func (m *review) onHistory(msg historyMsg) {
	if msg.id == m.past.id {
		m.past = past{msg.id, true, msg.statements, msg.err}
	}
}

// history lists what the session ran before, newest first.
func (p *paper) history(past past) {
	switch {
	case !past.loaded:
		return
	case past.err != nil:
		p.heading("Before, in this session")
		p.field("not known", past.err.Error())
	case len(past.statements) > 0:
		p.heading("Before, in this session")
		for _, s := range past.statements {
			verdict := s.Verdict
			if s.Emergency {
				verdict = "EMERGENCY " + verdict
			}
			p.short(s.At.Local().Format(time.TimeOnly), verdict+"  "+s.Text)
		}
	default:
		return
	}
	p.gap()
}
