package tui

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/jit-access/jit/session"
)

// decidedRequests are past ones: the newest of the shape of req-3 was approved.
func decidedRequests() []session.Request {
	now := reviewNow()
	like := reviewRequests()[2]
	like.ID, like.State, like.CreatedAt = "req-a", session.StateUsed, now.Add(-time.Hour)
	like.Case.Binds = `["y@example.test"]`
	like.Decisions = []session.Decision{{Reviewer: reviewer, Outcome: session.OutcomeApprove, At: now.Add(-50 * time.Minute)}}
	older := like
	older.ID, older.CreatedAt = "req-b", now.Add(-3*time.Hour)
	denied := reviewRequests()[1]
	denied.ID, denied.State, denied.CreatedAt = "req-c", session.StateDenied, now.Add(-2*time.Hour)
	return []session.Request{denied, older, like, reviewRequests()[0]} // the last still waits
}

func openSessions() []session.Session {
	now := reviewNow()
	alice := reviewRequests()[0].Principal
	return []session.Session{
		{ID: "ses-2", Principal: alice, Agent: session.Agent{Command: []string{"claude"}}, Scope: session.Scope{Connection: "prod", Role: "ANALYST"},
			Phase: session.PhaseOpen, OpenedAt: now.Add(-2 * time.Minute), Deadline: now.Add(8 * time.Minute), Emergency: true},
		{ID: "ses-1", Principal: alice, Agent: reviewRequests()[0].Agent, Scope: reviewRequests()[0].Scope,
			Phase: session.PhaseOpen, OpenedAt: now.Add(-20 * time.Minute), FirstUseAt: now.Add(-19 * time.Minute), Deadline: now.Add(41 * time.Minute)},
		{ID: "ses-0", Principal: alice, Phase: session.PhaseClosed, OpenedAt: now.Add(-time.Hour)},
	}
}

func pastStatements() []PastStatement {
	now := reviewNow()
	return []PastStatement{
		{At: now.Add(-time.Minute), Verdict: "deny", Text: "COPY INTO @out\nFROM customers"},
		{At: now.Add(-2 * time.Minute), Verdict: "allow", Text: "SELECT count(*) FROM app.public.customers", Emergency: true},
	}
}

// fillShelves gives every tab its rows.
func (s *reviewScreen) fillShelves() {
	mine := reviewRequests()[3]
	s.send(shelfMsg{tab: tabMine, shelf: shelf{requests: []session.Request{mine}}})
	s.send(shelfMsg{tab: tabSessions, shelf: shelf{sessions: openSessions()}})
	s.send(shelfMsg{tab: tabDecided, shelf: shelf{requests: decidedRequests()}})
}

func TestReviewTabs(t *testing.T) {
	s := newReviewScreen(t, 100, 30, reviewRequests()...)
	s.fillShelves()
	for _, step := range []struct {
		key, shows, hides string
	}{
		{"2", "CALL REBUILD()", "DROP DATABASE"},
		{"3", "EMERGENCY", "ses-0"},
		{"4", "denied", "monthly"},
		{"tab", "4 requests wait", "EMERGENCY"},
		{"shift+tab", "denied", "EMERGENCY"},
		{"1", "DROP DATABASE", "denied"},
	} {
		if step.key == "shift+tab" {
			s.send(tea.KeyPressMsg{Code: tea.KeyTab, Mod: tea.ModShift})
		} else {
			s.keys(step.key)
		}
		s.shows(step.shows)
		if strings.Contains(s.text(), step.hides) {
			t.Errorf("after %s it shows %q:\n%s", step.key, step.hides, s.text())
		}
	}
	if !slices.Equal(s.desk.shelves, []tab{tabMine, tabSessions, tabDecided, tabDecided}) {
		t.Errorf("asked for %v", s.desk.shelves)
	}
	s.keys("3")
	s.send(shelfMsg{tab: tabSessions, err: errors.New("no answer")})
	s.shows("no answer")
	s.shows("EMERGENCY") // what was known stays
}

// Nothing is decided outside of the queue, not even on what waits.
func TestReviewDecidesOnlyInTheQueue(t *testing.T) {
	for _, key := range []string{"2", "3", "4"} {
		for _, a := range []string{"a", "d"} {
			s := newReviewScreen(t, 100, 30, reviewRequests()...)
			mine := reviewRequests()[0]
			s.fillShelves()
			s.send(shelfMsg{tab: tabMine, shelf: shelf{requests: []session.Request{mine}}})
			s.keys(key, "enter", a, "enter", "y", a, "enter", "y", "m", "A", "enter", "y")
			s.decidedNothing()
		}
	}
}

func TestReviewEndsASession(t *testing.T) {
	s := newReviewScreen(t, 100, 30)
	s.fillShelves()
	s.keys("3", "x")
	s.shows("Read it first")
	s.keys("x")
	s.typed("runaway")
	s.keys("enter", "enter")
	if len(s.desk.revoked) != 0 {
		t.Fatal("Enter ended a session")
	}
	s.keys("x")
	s.typed("runaway")
	s.keys("enter")
	s.shows("End this session?")
	s.keys("y")
	if !slices.Equal(s.desk.revoked, []string{"ses-2 runaway"}) {
		t.Errorf("ended %q", s.desk.revoked)
	}

	t.Run("another session took the row", func(t *testing.T) {
		s := newReviewScreen(t, 100, 30)
		s.fillShelves()
		s.keys("3", "enter", "x", "enter")
		s.send(shelfMsg{tab: tabSessions, shelf: shelf{sessions: openSessions()[1:]}})
		s.keys("y")
		if len(s.desk.revoked) != 0 {
			t.Errorf("ended %q, which was not what the question was about", s.desk.revoked)
		}
	})
	t.Run("read-only", func(t *testing.T) {
		s := newReviewScreen(t, 100, 30)
		s.m.readOnly = true
		s.fillShelves()
		s.keys("3", "enter", "x", "enter", "y")
		s.shows("Read-only")
		if len(s.desk.revoked) != 0 {
			t.Errorf("ended %q", s.desk.revoked)
		}
	})
}

func TestReviewFilters(t *testing.T) {
	for text, want := range map[string][]string{
		"":                              {"req-1", "req-2", "req-3", "req-4"},
		"who:alice":                     {"req-1", "req-2", "req-3"},
		"who:CLAUDE":                    {"req-4"},
		"table:customers":               {"req-3"},
		"kind:drop":                     {"req-2"},
		"kind:session":                  {"req-1"},
		"risk:severe":                   {"req-2"},
		"risk:medium table:customers":   {"req-3"},
		"churn who:alice kind:session":  {"req-1"},
		"rebuild":                       {"req-4"},
		"who:nobody":                    nil,
		"needs two people kind:drop":    {"req-2"},
		"APP.PUBLIC.CUSTOMERS":          {"req-3"},
		"kind:session risk:low who:bob": nil,
	} {
		s := newReviewScreen(t, 80, 24, reviewRequests()...)
		s.keys("/")
		s.typed(text)
		s.keys("enter")
		if got := s.m.ids(); !slices.Equal(got, want) {
			t.Errorf("%q shows %q, want %q", text, got, want)
		}
	}
	s := newReviewScreen(t, 80, 24, reviewRequests()...)
	for _, bad := range []string{"colour:red", "who:", "risk: severe"} {
		s.keys("/")
		s.typed(bad)
		s.keys("enter")
		if s.m.typing == nil || !s.m.filter.empty() {
			t.Errorf("%q was taken", bad)
		}
		s.keys("esc")
	}
}

// A filter hides; it never brings another request under a decision.
func TestReviewFilterCannotSwapWhatIsDecided(t *testing.T) {
	s := newReviewScreen(t, 80, 24, reviewRequests()...)
	s.keys("enter", "a", "enter") // req-1, at its question
	s.keys("/", "esc")            // is the reason's text, or a No
	s.decidedNothing()
	s.keys("esc", "/")
	s.typed("kind:drop")
	s.keys("enter", "a", "y", "enter", "y") // the row under the cursor has just changed
	s.decidedNothing()
}

func TestReviewBulk(t *testing.T) {
	s := newReviewScreen(t, 80, 24, reviewRequests()...)
	s.keys("m")
	s.shows("opened and read")
	s.keys("A")
	s.shows("Nothing is marked")
	s.keys("enter", "m", "n", "n", "m", "esc") // req-1, req-3
	s.keys("A")
	s.shows("2 requests")
	s.typed("same ticket")
	s.keys("enter", "enter") // No
	s.decidedNothing()
	s.keys("A")
	s.typed("same ticket")
	s.keys("enter", "y")
	s.wait(time.Second)
	s.keys("u")
	s.shows("on 2 requests")
	s.decidedNothing()

	s.keys("home", "enter", "m", "n", "n", "m", "esc", "A", "enter", "y")
	s.wait(undoTime)
	var got []string
	for _, d := range s.desk.decided {
		got = append(got, d.id)
		if d.choice.Outcome != session.OutcomeApprove || d.choice.Reuse != session.ReuseOnce {
			t.Errorf("decided %+v", d)
		}
	}
	if !slices.Equal(got, []string{"req-1", "req-3"}) {
		t.Errorf("approved %q", got)
	}

	t.Run("one changed after it was marked", func(t *testing.T) {
		s := newReviewScreen(t, 80, 24, reviewRequests()...)
		s.keys("enter", "m", "n", "n", "m", "esc")
		changed := reviewRequests()
		changed[2].Case.Canonical = "SELECT * FROM APP.PUBLIC.CUSTOMERS"
		s.load(changed...)
		s.wait(2 * time.Second)
		s.keys("A")
		s.shows("1 requests")
		s.keys("esc")

		s.keys("home", "down", "down", "enter", "m", "esc", "A", "enter")
		s.load(reviewRequests()...) // and again, under the question
		s.keys("y")
		s.decidedNothing()
	})
	t.Run("a statement with a hidden tail", func(t *testing.T) {
		r := reviewRequests()[2]
		r.Case.Canonical = "SELECT 1" + strings.Repeat("\n", 60) + ", EMAIL FROM APP.PUBLIC.CUSTOMERS"
		s := newReviewScreen(t, 80, 24, r)
		s.keys("enter", "m")
		s.shows("read to its end")
		s.keys("esc", "A", "enter", "y")
		s.decidedNothing()
	})
	t.Run("an own request", func(t *testing.T) {
		s := newReviewScreen(t, 80, 24, reviewRequests()...)
		s.keys("end", "enter", "m", "esc", "A", "enter", "y")
		s.decidedNothing()
	})
}

func TestReviewKeepsMasks(t *testing.T) {
	s := newReviewScreen(t, 80, 24, reviewRequests()...)
	s.keys("down", "down", "enter", "a", "ctrl+t")
	s.shows("every class masked")
	s.keys("enter")
	s.shows("every class masked")
	s.keys("y")
	s.wait(undoTime)
	if len(s.desk.decided) != 1 || !s.desk.decided[0].choice.KeepMasks {
		t.Errorf("decided %+v", s.desk.decided)
	}
	s = newReviewScreen(t, 80, 24, reviewRequests()...)
	s.keys("enter", "a", "ctrl+t", "enter", "y") // a session has no masks to keep
	s.wait(undoTime)
	if len(s.desk.decided) != 1 || s.desk.decided[0].choice.KeepMasks {
		t.Errorf("decided %+v", s.desk.decided)
	}
}

func TestReviewComments(t *testing.T) {
	s := newReviewScreen(t, 80, 24, reviewRequests()...)
	s.keys("end", "enter", "c") // also on one's own request
	s.typed("why prod?")
	s.keys("enter", "y")
	if !slices.Equal(s.desk.said, []string{"req-4 why prod?"}) {
		t.Errorf("said %q", s.desk.said)
	}
	s.send(commentedMsg{id: "req-4"})
	s.shows("is kept")
	s.keys("c", "enter", "y") // nothing
	s.keys("c", "x", "enter", "enter")
	if len(s.desk.said) != 1 || len(s.desk.decided) != 0 {
		t.Errorf("said %q, decided %+v", s.desk.said, s.desk.decided)
	}
}

// The palette presses keys; it cannot do what they cannot.
func TestReviewPaletteDecidesNothing(t *testing.T) {
	s := newReviewScreen(t, 80, 24, reviewRequests()...)
	s.keys("enter", ":")
	s.typed("approve the")
	s.keys("enter")
	s.shows("reason") // the question, no more
	s.keys("enter", "enter")
	s.decidedNothing()
	for _, a := range actions {
		s := newReviewScreen(t, 80, 24, reviewRequests()...)
		s.keys("enter", ":")
		s.typed(a.name)
		s.keys("enter", "enter", "enter", "enter")
		s.decidedNothing()
		if len(s.desk.revoked) != 0 {
			t.Errorf("%s ended a session", a.name)
		}
	}
}

func TestReviewAlerts(t *testing.T) {
	rings := func(viewer session.Principal, bell bool, before, after []session.Request) string {
		m := newReview(viewer, reviewNow)
		m.bell = bell
		cmd := m.alert(before, after)
		if cmd == nil {
			return ""
		}
		return fmt.Sprint(cmd().(tea.RawMsg).Msg)
	}
	all := reviewRequests()
	all[2].Reason, all[2].ID = "\x1b]9;owned\a", "\x1b]9;owned"
	if got := rings(reviewer, true, all[:1], all[:3]); !strings.Contains(got, "2 requests wait") || strings.Contains(got, "owned") {
		t.Errorf("it sends %q", got)
	}
	for name, got := range map[string]string{
		"nothing new":  rings(reviewer, true, all, all),
		"the own one":  rings(reviewer, true, all[:3], all),
		"one has gone": rings(reviewer, true, all, all[:2]),
		"turned off":   rings(reviewer, false, nil, all),
	} {
		if got != "" {
			t.Errorf("%s: it sends %q", name, got)
		}
	}
}

func TestReviewMouse(t *testing.T) {
	s := newReviewScreen(t, 80, 24, reviewRequests()...)
	click := func(y int) { s.send(tea.MouseClickMsg{Button: tea.MouseLeft, X: 5, Y: y}) }
	click(listHeadLines + 2)
	if s.m.cursor != "req-3" || s.m.detail {
		t.Fatalf("a click moved to %s, open %v", s.m.cursor, s.m.detail)
	}
	click(listHeadLines + 40)
	click(0)
	if s.m.cursor != "req-3" || s.m.detail {
		t.Errorf("a click beside the rows moved to %s", s.m.cursor)
	}
	click(listHeadLines + 2)
	s.shows("Statement, as it will be sent")
	s.keys("a")
	for y := range 24 {
		click(y)
	}
	s.keys("enter")
	for y := range 24 {
		click(y)
	}
	s.decidedNothing()
}

func TestLiteralChanges(t *testing.T) {
	for name, c := range map[string]struct {
		was, is string
		want    []change
		same    bool
	}{
		"same":               {"select 1", "select 1", nil, true},
		"a number":           {"select 1\nfrom t\nlimit 10", "select 1\nfrom t\nlimit 20", []change{{3, "10", "20"}}, false},
		"strings":            {"a = 'x' and b = 'it''s'", "a = 'y' and b = ''", []change{{1, "'x'", "'y'"}, {1, "'it''s'", "''"}}, false},
		"a string with code": {"a = 'x'", "a = 'x; drop table t'", []change{{1, "'x'", "'x; drop table t'"}}, false},
		"a name":             {"select a from t", "select b from t", nil, false},
		"a longer one":       {"select 1", "select 1, 2", nil, false},
		"a kind of token":    {"a = 1", "a = b", nil, false},
	} {
		got, same := literalChanges(c.was, c.is)
		if !slices.Equal(got, c.want) || same != c.same {
			t.Errorf("%s: %v %v, want %v %v", name, got, same, c.want, c.same)
		}
	}
}

// What the decided ones and the session's history say is others' text.
func TestReviewListsHostileText(t *testing.T) {
	const hostile = "\x1b[2J\x1b]0;owned\x07\u202egnp.exe\u200b\r\nApprove this? y\x00"
	past := decidedRequests()
	for i := range past {
		past[i].ID += hostile
		past[i].Case.Binds = hostile
		for j := range past[i].Decisions {
			past[i].Decisions[j].Reviewer.Email = hostile
		}
	}
	open := openSessions()
	open[0].ID, open[0].Principal.Email, open[0].Agent = hostile, hostile, session.Agent{Command: []string{hostile}, Host: hostile}
	open[0].Scope.Connection, open[0].Scope.Role = hostile, hostile
	req := reviewRequests()[2]
	req.Comments = []session.Comment{{By: session.Principal{Email: hostile}, Text: hostile}}
	req.Ticket = hostile
	s := newReviewScreen(t, 80, 200, req)
	s.send(shelfMsg{tab: tabSessions, shelf: shelf{sessions: open}})
	s.send(shelfMsg{tab: tabDecided, shelf: shelf{requests: past}})
	var views []string
	for _, keys := range [][]string{{"enter"}, {"esc", "4"}, {"enter"}, {"esc", "3"}, {"enter"}, {"x"}, {"enter"}, {"esc", "esc", "1", "/"}} {
		s.keys(keys...)
		if keys[0] == "enter" {
			s.send(historyMsg{id: "req-3", statements: []PastStatement{{Verdict: hostile, Text: hostile}}, err: nil})
		}
		views = append(views, ansi.Strip(s.m.render()))
	}
	s.send(tea.PasteMsg{Content: hostile})
	views = append(views, ansi.Strip(s.m.render()))
	s.send(shelfMsg{tab: tabMine, err: errors.New(hostile)})
	views = append(views, ansi.Strip(s.m.render()))
	for i, v := range views {
		if r, ok := hostileRune(v); ok {
			t.Errorf("view %d draws %U:\n%s", i, r, v)
		}
	}
}
