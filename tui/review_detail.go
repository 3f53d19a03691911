package tui

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session"
)

const (
	labelColumn = 14
	indent      = 2
)

func (m *review) maxScroll() int { return max(len(m.openLines())-m.bodyHeight(), 0) }

// unread reports whether part of the statement has not been on the screen
// since the request was opened.
func (m *review) unread(req session.Request) bool {
	return m.detailPaper(req).statementEnd > max(m.seen, m.scroll+m.bodyHeight())
}

// detailLines is everything a reviewer judges by, what decides first.
func (m *review) detailLines(req session.Request) []string { return m.detailPaper(req).lines }

func (m *review) detailPaper(req session.Request) paper {
	p := paper{style: m.style, width: m.width}
	r := riskOf(req)
	now := m.clock()
	p.line(r.style(m.style).Render(r.glyph()+" "+r.word()+" risk") + "  " + m.style.strong.Render(oneLine(whoIs(req))))
	left := span(req.ExpiresAt.Sub(now)) + " left"
	if req.State != session.StatePending {
		left = req.State.String()
	}
	p.line(m.style.dim.Render(fmt.Sprintf("%s · asked %s ago · %s · %s", oneLine(req.ID), span(now.Sub(req.CreatedAt)), left, needs(req))))
	if req.Emergency {
		p.line(m.style.bad.Render("EMERGENCY: opened without a reviewer. Look at what it did."))
	}
	if req.Principal.ID() == m.viewer.ID() {
		p.line(m.style.warn.Render("You asked for this yourself: somebody else must decide."))
	}
	p.gap()
	if req.Kind == session.RequestStatement {
		p.heading("Statement, as it will be sent")
		p.lines = append(p.lines, m.statementLines(req.Case.Canonical)...)
		p.field("binds", req.Case.Binds)
		p.statementEnd = len(p.lines)
		p.gap()
		if past, ok := m.lastAlike(req); ok {
			p.compare(past, req, m.approvedWords(past))
			p.gap()
		}
	}
	p.heading("Why a person must decide")
	p.field("rule", req.Rule)
	p.field("because", req.RuleText)
	p.field("they say", req.Reason)
	p.field("ticket", req.Ticket)
	p.gap()
	p.asked(req)
	if m.past.id == req.ID {
		p.history(m.past)
	}
	p.heading("Who asks")
	p.field("person", req.Principal.Display())
	p.field("groups", strings.Join(req.Principal.Groups, ", "))
	p.field("agent", agentOf(req.Agent))
	p.field("on", joinNonEmpty(", jit ", req.Agent.Host, req.Agent.Version))
	p.said(req, now)
	return p
}

// asked writes what a request would let happen.
func (p *paper) asked(req session.Request) {
	switch req.Kind {
	case session.RequestStatement:
		p.touched(req.Case)
	case session.RequestExtension:
		p.heading("What it extends")
		p.field("session", req.Case.SessionID)
		p.scope(req.Scope)
		p.field("for", span(req.Scope.TTL)+" more")
	default:
		p.heading("What it opens")
		p.scope(req.Scope)
		p.field("for", span(req.Scope.TTL)+", from first use")
	}
	p.gap()
}

// touched writes what a statement touches, and where it runs.
func (p *paper) touched(c session.Case) {
	p.heading("What it touches")
	p.list("kind", c.Kinds)
	p.list("reads", c.Reads)
	p.list("writes", c.Writes)
	p.list("classes", c.Classes)
	p.list("functions", c.Functions)
	p.listStyled("not understood", c.Unknown, p.style.bad.Render)
	p.list("columns", c.Lineage)
	p.field("estimate", c.Estimate)
	p.gap()
	p.heading("Where it runs")
	p.field("session", c.SessionID)
	p.field("role", c.Role)
	p.field("warehouse", c.Warehouse)
	p.field("database", joinNonEmpty(".", c.Database, c.Schema))
}

// scope writes where a session leads.
func (p *paper) scope(s session.Scope) {
	p.field("connection", s.Connection)
	p.field("role", s.Role)
	p.field("warehouse", s.Warehouse)
	p.field("database", joinNonEmpty(".", s.Database, s.Schema))
}

// said writes what people decided and said so far.
func (p *paper) said(req session.Request, now time.Time) {
	if len(req.Decisions) > 0 {
		p.gap()
		p.heading("Decided so far")
		for _, d := range req.Decisions {
			what := d.Outcome.String()
			if d.KeepMasks {
				what += ", masked"
			}
			p.field(what, fmt.Sprintf("%s, %s ago: %s", d.Reviewer.Display(), span(now.Sub(d.At)), d.Reason))
		}
	}
	if len(req.Comments) > 0 {
		p.gap()
		p.heading("What people say")
		for _, cm := range req.Comments {
			p.field(span(now.Sub(cm.At))+" ago", cm.By.Display()+": "+cm.Text)
		}
	}
}

// approvedWords says when and by whom a request was approved.
func (m *review) approvedWords(req session.Request) string {
	last := req.Decisions[len(req.Decisions)-1]
	return fmt.Sprintf("%s, approved %s ago by %s", req.ID, span(m.clock().Sub(last.At)), last.Reviewer.Display())
}

// wrapped is a statement laid out for a width. A statement may be a megabyte,
// and the screen is drawn several times a second.
type wrapped struct {
	text  string
	width int
	lines []string
}

func (m *review) statementLines(text string) []string {
	if m.wrapped.text != text || m.wrapped.width != m.width || m.wrapped.lines == nil {
		p := paper{style: m.style, width: m.width}
		p.numbered(text)
		m.wrapped = wrapped{text, m.width, p.lines}
	}
	return m.wrapped.lines
}

func whoIs(req session.Request) string {
	switch req.Kind {
	case session.RequestSession:
		return req.Principal.Display() + " asks for a session"
	case session.RequestExtension:
		return req.Principal.Display() + " asks for more time"
	}
	return req.Principal.Display() + " asks to run a statement"
}

func needs(req session.Request) string {
	who := "any reviewer"
	if len(req.Reviewers) > 0 {
		who = "one of " + oneLine(strings.Join(req.Reviewers, ", "))
	}
	if req.Approvals > 1 {
		return fmt.Sprintf("%d of %d approvals, by %s", approvals(req), req.Approvals, who)
	}
	return "decided by " + who
}

func joinNonEmpty(sep string, parts ...string) string {
	var kept []string
	for _, s := range parts {
		if s != "" {
			kept = append(kept, s)
		}
	}
	return strings.Join(kept, sep)
}

// paper collects the lines of the detail. All text given to it may be anyone's.
type paper struct {
	style style
	width int
	lines []string
	// statementEnd is the number of lines up to the end of the statement.
	statementEnd int
}

func (p *paper) line(styled string) { p.lines = append(p.lines, styled) }
func (p *paper) gap()               { p.line("") }
func (p *paper) heading(s string)   { p.line(p.style.heading.Render(s)) }

func (p *paper) field(label, value string) {
	if value != "" {
		p.listStyled(label, []string{value}, nil)
	}
}

func (p *paper) list(label string, values []string) { p.listStyled(label, values, nil) }

// listStyled writes values one below the other, wrapped beside their label.
func (p *paper) listStyled(label string, values []string, render func(...string) string) {
	width := max(p.width-indent-labelColumn-1, 10)
	head := label
	if ansi.StringWidth(label) > labelColumn {
		p.line(strings.Repeat(" ", indent) + p.style.dim.Render(label))
		head = ""
	}
	if len(values) == 0 && head == "" {
		p.lines = p.lines[:len(p.lines)-1] // a label without values says nothing
	}
	for _, v := range values {
		for _, l := range textLines(v, width) {
			if render != nil {
				l = render(l)
			}
			p.line(strings.Repeat(" ", indent) + p.style.dim.Render(pad(head, labelColumn)) + " " + l)
			head = ""
		}
	}
}

// numbered writes SQL with line numbers, so that reviewers can talk about it.
func (p *paper) numbered(text string) {
	const gutter = 4
	visible := replay.Visible(strings.ReplaceAll(text, "\r\n", "\n"))
	for i, wrapped := range p.style.sqlLines(visible, max(p.width-gutter-2, 10)) {
		number := fmt.Sprintf("%*d", gutter, i+1)
		for _, l := range wrapped {
			p.line(p.style.dim.Render(number) + "  " + l)
			number = strings.Repeat(" ", gutter)
		}
	}
}

// questionLines asks for the reason, then for the yes. What is asked always
// shows; what it is about gives way, however much of it there is.
func (m *review) questionLines() []string {
	asked := m.askedLines()
	about := m.aboutLines(m.bodyHeight() - len(asked) - 1)
	if len(about)+1+len(asked) <= m.bodyHeight() {
		about = append(about, "")
	}
	return append(about, asked...)
}

// aboutLines says in at most n lines what a question is about.
func (m *review) aboutLines(n int) []string {
	q := m.question
	p := paper{style: m.style, width: m.width}
	if q.bulk {
		return m.bulkLines(n)
	}
	if s, ok := m.currentSession(); ok {
		p.line(m.style.bad.Render(q.act.verb()) + " " + oneLine(s.Principal.Display()))
		p.short("session", s.ID)
		p.short("agent", agentOf(s.Agent))
		return p.lines[:min(len(p.lines), max(n, 0))]
	}
	req, ok := m.current()
	if !ok {
		return nil
	}
	r := riskOf(req)
	verb := m.style.bad.Render(q.act.verb())
	if q.act == actApprove {
		verb = m.style.good.Render(q.act.verb())
	}
	p.line(verb + " " + oneLine(req.ID) + "  " + r.style(m.style).Render(r.glyph()+" "+r.word()+" risk") + "  " + m.style.dim.Render(span(req.ExpiresAt.Sub(m.clock()))+" left"))
	p.short("who", whoOf(req))
	if req.Kind == session.RequestStatement {
		p.preview(m.statementLines(req.Case.Canonical), n-len(p.lines))
	} else {
		p.short("what", m.whatOf(req))
	}
	return p.lines[:min(len(p.lines), max(n, 0))]
}

// roomy is the height from which all choices are shown at once; below it tab
// still goes through them.
const roomy = 10

func (m *review) askedLines() []string {
	q := m.question
	p := paper{style: m.style, width: m.width}
	switch {
	case q.act != actApprove:
	case q.confirm || len(q.reuses) == 1 || m.bodyHeight() < roomy:
		p.field("allow it", reuseWords(q.reuse))
	default:
		var choices []string
		for _, x := range q.reuses {
			mark := "( ) "
			if x == q.reuse {
				mark = "(*) "
			}
			choices = append(choices, mark+reuseWords(x))
		}
		p.list("allow it", choices)
	}
	if q.canKeep && (!q.confirm || q.keepMasks) {
		masks := "as the policy says"
		if q.keepMasks {
			masks = "every class masked"
		}
		p.field("results", masks)
	}
	if !q.confirm {
		p.line(strings.Repeat(" ", indent) + m.style.dim.Render(pad("reason", labelColumn)) + " " + q.reason.view(m.style, max(m.width-indent-labelColumn-1, 10)))
		return p.lines
	}
	p.short("reason", q.reason.value())
	p.line("  " + m.style.strong.Render(q.act.question()) + "  y = yes, else " + m.style.strong.Render("No"))
	after := fmt.Sprintf("After a yes you have %d s to take it back.", int(undoTime/time.Second))
	switch q.act {
	case actComment:
		after = "It decides nothing; whoever asked, and other reviewers, can read it."
	case actRevoke:
		after = "Its statements stop at once; this cannot be taken back."
	}
	p.line("  " + m.style.dim.Render(after))
	return p.lines
}

// short writes a field on one line, cut to fit.
func (p *paper) short(label, value string) {
	p.line(strings.Repeat(" ", indent) + p.style.dim.Render(pad(label, labelColumn)) + " " + fit(oneLine(value), p.width-indent-labelColumn-1))
}

// preview shows the head of a statement in at most n lines and says how much
// is not shown.
func (p *paper) preview(statement []string, n int) {
	if len(statement) <= n {
		p.lines = append(p.lines, statement...)
		return
	}
	shown := max(n-1, 0)
	p.lines = append(p.lines, statement[:shown]...)
	p.line(p.style.warn.Render(fmt.Sprintf("      … %d more lines, shown before you pressed the key", len(statement)-shown)))
}
