package tui

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/jit-access/jit/session"
)

// fakeDesk records what the screen asks of the outside. Its answers are given
// by the test, as messages.
type fakeDesk struct {
	decided []decision
	revoked []string
	said    []string
	shelves []tab
	asked   []string // histories
	loads   int
	watches int
}

type decision struct {
	id     string
	choice session.Choice
}

func (f *fakeDesk) load() tea.Msg { f.loads++; return nil }

func (f *fakeDesk) watch() tea.Msg { f.watches++; return nil }

func (f *fakeDesk) next(<-chan session.Event) tea.Cmd { return nil }

func (f *fakeDesk) decide(id string, c session.Choice) tea.Cmd {
	return func() tea.Msg { f.decided = append(f.decided, decision{id, c}); return nil }
}

func (f *fakeDesk) revoke(id, reason string) tea.Cmd {
	return func() tea.Msg { f.revoked = append(f.revoked, id+" "+reason); return nil }
}

func (f *fakeDesk) comment(id, text string) tea.Cmd {
	return func() tea.Msg { f.said = append(f.said, id+" "+text); return nil }
}

func (f *fakeDesk) shelf(t tab) tea.Cmd {
	return func() tea.Msg { f.shelves = append(f.shelves, t); return nil }
}

func (f *fakeDesk) history(id string) tea.Cmd {
	return func() tea.Msg { f.asked = append(f.asked, id); return nil }
}

// reviewScreen is a review screen on a clock of the test's own.
type reviewScreen struct {
	t    *testing.T
	m    *review
	desk *fakeDesk
	now  time.Time
}

var reviewer = session.Principal{Issuer: "https://idp.test", Subject: "bob", Email: "bob@example.test", Groups: []string{"approvers"}}

func newReviewScreen(t *testing.T, width, height int, requests ...session.Request) *reviewScreen {
	t.Helper()
	s := &reviewScreen{t: t, desk: &fakeDesk{}, now: reviewNow()}
	s.m = newReview(reviewer, func() time.Time { return s.now })
	s.m.io, s.m.canRevoke = s.desk, true
	s.m.loading = true // what Init begins, without the clock it starts
	s.send(tea.WindowSizeMsg{Width: width, Height: height})
	s.send(watchingMsg{events: make(chan session.Event)})
	s.load(requests...)
	return s
}

func reviewNow() time.Time { return time.Date(2026, 3, 4, 15, 30, 0, 0, time.UTC) }

// run executes commands as the program would.
func (s *reviewScreen) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	if batch, ok := cmd().(tea.BatchMsg); ok {
		for _, c := range batch {
			s.run(c)
		}
	}
}

func (s *reviewScreen) send(msg tea.Msg) {
	if _, isTick := msg.(tickMsg); isTick {
		s.run(s.m.onTick()) // without asking for the next tick: time is the test's
		return
	}
	_, cmd := s.m.Update(msg)
	s.run(cmd)
}

func (s *reviewScreen) load(requests ...session.Request) { s.send(loadedMsg{requests: requests}) }

// wait lets time pass and the screen notice.
func (s *reviewScreen) wait(d time.Duration) {
	s.now = s.now.Add(d)
	s.send(tickMsg{})
}

// keys presses the keys named, one after the other.
func (s *reviewScreen) keys(names ...string) {
	for _, n := range names {
		s.send(reviewKey(n))
	}
}

func reviewKey(name string) tea.KeyPressMsg {
	special := map[string]rune{"enter": tea.KeyEnter, "esc": tea.KeyEscape, "tab": tea.KeyTab, "up": tea.KeyUp, "down": tea.KeyDown,
		"backspace": tea.KeyBackspace, "left": tea.KeyLeft, "right": tea.KeyRight, "pgdown": tea.KeyPgDown, "end": tea.KeyEnd, "home": tea.KeyHome}
	if code, ok := special[name]; ok {
		return tea.KeyPressMsg{Code: code}
	}
	if rest, ok := strings.CutPrefix(name, "ctrl+"); ok {
		return tea.KeyPressMsg{Code: []rune(rest)[0], Mod: tea.ModCtrl}
	}
	return tea.KeyPressMsg{Code: []rune(name)[0], Text: name}
}

func (s *reviewScreen) typed(text string) {
	for _, r := range text {
		s.keys(string(r))
	}
}

func (s *reviewScreen) text() string { return ansi.Strip(s.m.render()) }

func (s *reviewScreen) shows(want string) {
	s.t.Helper()
	if !strings.Contains(s.text(), want) {
		s.t.Errorf("the screen does not show %q:\n%s", want, s.text())
	}
}

func (s *reviewScreen) decidedNothing() {
	s.t.Helper()
	s.wait(10 * time.Second)
	if len(s.desk.decided) != 0 {
		s.t.Errorf("decided %+v, want nothing", s.desk.decided)
	}
}

// reviewRequests are one of each kind.
func reviewRequests() []session.Request {
	now := reviewNow()
	alice := session.Principal{Issuer: "https://idp.test", Subject: "alice", Email: "alice@example.test", Groups: []string{"analysts"}}
	agent := session.Agent{Command: []string{"python", "churn.py"}, Host: "laptop", Version: "1.0.0"}
	return []session.Request{
		{ID: "req-1", Kind: session.RequestSession, Principal: alice, Agent: agent, Reason: "monthly churn report",
			Scope: session.Scope{Connection: "prod", Role: "ANALYST", Warehouse: "WH", Database: "APP", Schema: "PUBLIC", TTL: time.Hour},
			Rule:  "sessions", RuleText: "Sessions on prod need a person.", Reviewers: []string{"approvers"}, Approvals: 1,
			CreatedAt: now.Add(-3 * time.Minute), ExpiresAt: now.Add(12 * time.Minute)},
		{ID: "req-2", Kind: session.RequestStatement, Principal: alice, Agent: agent, Reason: "cleaning up", Rule: "drop-container",
			RuleText: "Dropping a database needs two people.", Reviewers: []string{"approvers", "dba"}, Approvals: 2,
			Case: session.Case{SessionID: "ses-1", Canonical: "DROP DATABASE APP", Shape: "DROP DATABASE APP", Kinds: []string{"DROP_DATABASE"},
				Writes: []string{"database APP"}, Role: "ANALYST", Warehouse: "WH", Database: "APP", Schema: "PUBLIC", Policy: "p1"},
			Decisions: []session.Decision{{Reviewer: session.Principal{Issuer: "https://idp.test", Subject: "carol", Email: "carol@example.test"},
				Outcome: session.OutcomeApprove, Reason: "agreed in standup", At: now.Add(-time.Minute)}},
			CreatedAt: now.Add(-2 * time.Minute), ExpiresAt: now.Add(5*time.Minute + 30*time.Second)},
		{ID: "req-3", Kind: session.RequestStatement, Principal: alice, Agent: agent, Reason: "", Rule: "classed-predicate",
			RuleText: "Filtering by personal data can reveal it.", Approvals: 1,
			Case: session.Case{SessionID: "ses-1", Canonical: "SELECT ID, EMAIL\nFROM APP.PUBLIC.CUSTOMERS\nWHERE EMAIL = ?",
				Shape: "SELECT ID, EMAIL FROM APP.PUBLIC.CUSTOMERS WHERE EMAIL = ?", Binds: `["x@example.test"]`, Kinds: []string{"SELECT"},
				Reads: []string{"table APP.PUBLIC.CUSTOMERS"}, Classes: []string{"pii.email"},
				Lineage: []string{"ID ← APP.PUBLIC.CUSTOMERS.ID", "EMAIL ← APP.PUBLIC.CUSTOMERS.EMAIL"},
				Role:    "ANALYST", Warehouse: "WH", Database: "APP", Schema: "PUBLIC", Policy: "p1"},
			CreatedAt: now.Add(-40 * time.Second), ExpiresAt: now.Add(14*time.Minute + 20*time.Second)},
		{ID: "req-4", Kind: session.RequestStatement, Principal: reviewer, Agent: session.Agent{Command: []string{"claude"}}, Rule: "unknown",
			RuleText: "What is not understood needs a person.", Approvals: 1,
			Case:      session.Case{SessionID: "ses-2", Canonical: "CALL REBUILD()", Kinds: []string{"CALL"}, Unknown: []string{"procedure REBUILD is not known"}},
			CreatedAt: now.Add(-5 * time.Second), ExpiresAt: now.Add(15 * time.Minute)},
	}
}

func TestReviewGolden(t *testing.T) {
	for _, size := range []struct{ w, h int }{{80, 24}, {120, 40}} {
		for name, keys := range map[string][]string{
			"list":      nil,
			"session":   {"enter"},
			"statement": {"down", "down", "enter"},
			"two":       {"down", "enter"},
			"own":       {"end", "enter", "a"},
			"scope":     {"down", "down", "enter", "a", "o", "k", "tab"},
			"confirm":   {"down", "down", "enter", "a", "o", "k", "enter"},
			"undo":      {"down", "down", "enter", "d", "n", "o", "enter", "y"},
			"help":      {"?"},
			"palette":   {":", "a", "p", "p"},
			"filter":    {"/", "k", "i", "n", "d", ":", "d", "r", "o", "p", "enter"},
			"typing":    {"/", "w", "h", "o", ":", "a"},
			"mine":      {"2"},
			"sessions":  {"3"},
			"end":       {"3", "enter", "x", "w", "h", "y", "enter"},
			"decided":   {"4"},
			"compared":  {"down", "down", "enter"},
			"bulk":      {"enter", "m", "n", "n", "m", "esc", "A"},
		} {
			t.Run(fmt.Sprintf("%s/%dx%d", name, size.w, size.h), func(t *testing.T) {
				s := newReviewScreen(t, size.w, size.h, reviewRequests()...)
				switch name {
				case "mine", "sessions", "end", "decided", "compared":
					s.fillShelves()
				}
				s.keys(keys...)
				if name == "compared" {
					s.send(historyMsg{id: "req-3", statements: pastStatements()})
				}
				reviewGolden(t, fmt.Sprintf("review_%s_%dx%d", name, size.w, size.h), s.text(), size.w, size.h)
			})
		}
		t.Run(fmt.Sprintf("empty/%dx%d", size.w, size.h), func(t *testing.T) {
			reviewGolden(t, fmt.Sprintf("review_empty_%dx%d", size.w, size.h), newReviewScreen(t, size.w, size.h).text(), size.w, size.h)
		})
	}
}

// reviewGolden compares with testdata; JIT_UPDATE_GOLDEN=1 writes it anew.
func reviewGolden(t *testing.T, name, got string, width, height int) {
	t.Helper()
	lines := strings.Split(got, "\n")
	if len(lines) != height {
		t.Errorf("%d lines drawn on %d", len(lines), height)
	}
	for i, l := range lines {
		if w := ansi.StringWidth(l); w > width {
			t.Errorf("line %d is %d cells wide on %d: %q", i, w, width, l)
		}
		lines[i] = strings.TrimRight(l, " ")
	}
	got = strings.Join(lines, "\n") + "\n"
	file := filepath.Join("testdata", name+".golden")
	if os.Getenv("JIT_UPDATE_GOLDEN") == "1" {
		if err := os.MkdirAll("testdata", 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the view differs from %s:\n%s", file, got)
	}
}

func TestReviewApproves(t *testing.T) {
	s := newReviewScreen(t, 80, 24, reviewRequests()...)
	s.keys("down", "down", "enter", "a")
	s.typed("looks fine")
	s.keys("tab", "enter", "y")
	if len(s.desk.decided) != 0 {
		t.Fatal("sent before the undo time")
	}
	s.wait(4 * time.Second)
	if len(s.desk.decided) != 0 {
		t.Fatal("sent before the undo time")
	}
	s.shows("Press u to undo")
	s.wait(time.Second)
	s.wait(time.Second)
	want := decision{"req-3", session.Choice{Outcome: session.OutcomeApprove, Reuse: session.ReuseShape, Reason: "looks fine", Digest: reviewRequests()[2].Case.Digest()}}
	if !slices.Equal(s.desk.decided, []decision{want}) {
		t.Fatalf("decided %+v, want %+v", s.desk.decided, want)
	}
	approved := reviewRequests()[2]
	approved.State = session.StateApproved
	s.send(decidedMsg{id: "req-3", outcome: session.OutcomeApprove, request: approved})
	s.load(append(reviewRequests()[:2], reviewRequests()[3])...)
	s.shows("Approved req-3.") // and not that it is gone
	s.shows("3 requests wait")
}

func TestReviewDenies(t *testing.T) {
	s := newReviewScreen(t, 80, 24, reviewRequests()...)
	s.keys("enter", "d")
	s.typed("not today")
	s.keys("enter", "y")
	s.wait(undoTime)
	want := decision{"req-1", session.Choice{Outcome: session.OutcomeDeny, Reason: "not today"}}
	if !slices.Equal(s.desk.decided, []decision{want}) {
		t.Errorf("decided %+v, want %+v", s.desk.decided, want)
	}
}

// TestReviewNeverDecidesBy lists what must not decide anything.
func TestReviewNeverDecidesBy(t *testing.T) {
	for name, act := range map[string]func(*reviewScreen){
		"Enter alone":              func(s *reviewScreen) { s.keys(slices.Repeat([]string{"enter"}, 10)...) },
		"a and Enter":              func(s *reviewScreen) { s.keys("enter", "a", "enter", "enter", "enter") },
		"a, then anything but yes": func(s *reviewScreen) { s.keys("enter", "a", "enter", "n") },
		"a, then a":                func(s *reviewScreen) { s.keys("enter", "a", "enter", "a") },
		"escape":                   func(s *reviewScreen) { s.keys("enter", "a", "esc", "y") },
		"y out of the blue":        func(s *reviewScreen) { s.keys("enter", "y", "y") },
		"keys in the queue":        func(s *reviewScreen) { s.keys("a", "y", "enter", "y") },
		"typing y as the reason":   func(s *reviewScreen) { s.keys("enter", "a", "y", "y", "y") },
		"undo":                     func(s *reviewScreen) { s.keys("enter", "a", "enter", "y", "u") },
		"late undo": func(s *reviewScreen) {
			s.keys("enter", "a", "enter", "y")
			s.wait(4900 * time.Millisecond)
			s.keys("u")
		},
		"pasting": func(s *reviewScreen) {
			s.keys("enter")
			s.send(tea.PasteMsg{Content: "a\ny\n"})
			s.keys("a", "enter")
			s.send(tea.PasteMsg{Content: "y"})
		},
		"read-only": func(s *reviewScreen) { s.m.readOnly = true; s.keys("enter", "a", "enter", "y", "d", "enter", "y") },
		"an own request": func(s *reviewScreen) {
			s.keys("end", "enter", "a", "enter", "y", "d", "enter", "y")
			s.shows("somebody else must decide")
		},
		"an expired request": func(s *reviewScreen) {
			s.keys("enter")
			s.now = s.now.Add(time.Hour)
			s.keys("a", "enter", "y")
			s.shows("It has expired")
		},
		"leaving": func(s *reviewScreen) { s.keys("enter", "a", "enter", "y", "esc", "q") },
	} {
		t.Run(name, func(t *testing.T) {
			s := newReviewScreen(t, 80, 24, reviewRequests()...)
			act(s)
			if name == "leaving" {
				s.shows("Press u to undo") // and q did not leave
				s.keys("u")
			}
			s.decidedNothing()
		})
	}
}

// TestReviewRowChangesUnderTheCursor is the attack of swapping a request for
// another just before the key is pressed.
func TestReviewRowChangesUnderTheCursor(t *testing.T) {
	changed := func() []session.Request {
		r := reviewRequests()
		r[2].Case.Canonical = "SELECT * FROM APP.PUBLIC.CUSTOMERS"
		return r
	}
	t.Run("while it is read", func(t *testing.T) {
		s := newReviewScreen(t, 80, 24, reviewRequests()...)
		s.keys("down", "down", "enter")
		s.load(changed()...)
		s.keys("a", "enter", "y")
		s.shows("just changed")
		s.decidedNothing()
		s.keys("a", "enter", "y") // ten seconds later it may be decided
		s.wait(undoTime)
		if len(s.desk.decided) != 1 || s.desk.decided[0].choice.Digest != changed()[2].Case.Digest() {
			t.Errorf("decided %+v", s.desk.decided)
		}
	})
	t.Run("while the question is open", func(t *testing.T) {
		s := newReviewScreen(t, 80, 24, reviewRequests()...)
		s.keys("down", "down", "enter", "a", "enter")
		s.load(changed()...)
		s.keys("y")
		s.decidedNothing()
	})
	t.Run("while it can be undone", func(t *testing.T) {
		s := newReviewScreen(t, 80, 24, reviewRequests()...)
		s.keys("down", "down", "enter", "a", "enter", "y")
		s.load(changed()...)
		s.shows("Not sent")
		s.decidedNothing()
	})
	t.Run("it is gone", func(t *testing.T) {
		s := newReviewScreen(t, 80, 24, reviewRequests()...)
		s.keys("down", "down", "enter")
		s.load(append(reviewRequests()[:2], reviewRequests()[3])...)
		s.shows("req-3 no longer waits")
		s.keys("a", "a", "enter", "y") // the next row took its place
		s.decidedNothing()
	})
	t.Run("rows arrive above", func(t *testing.T) {
		s := newReviewScreen(t, 80, 24, reviewRequests()...)
		s.keys("down", "down", "enter")
		early := reviewRequests()[0]
		early.ID, early.CreatedAt = "req-0", early.CreatedAt.Add(-time.Hour)
		s.load(append([]session.Request{early}, reviewRequests()...)...)
		s.keys("a", "enter", "y")
		s.wait(undoTime)
		if len(s.desk.decided) != 1 || s.desk.decided[0].id != "req-3" {
			t.Errorf("decided %+v, want the request that was open", s.desk.decided)
		}
	})
}

// TestReviewHiddenTail is the attack of a statement whose harm stands below
// the part that fits on the screen.
func TestReviewHiddenTail(t *testing.T) {
	r := reviewRequests()[2]
	r.Case.Canonical = "SELECT 1" + strings.Repeat("\n", 60) + ", EMAIL FROM APP.PUBLIC.CUSTOMERS"
	s := newReviewScreen(t, 80, 24, r)
	s.keys("enter", "a", "enter", "y")
	s.shows("goes on below")
	s.decidedNothing()
	for range 3 {
		s.keys("pgdown")
	}
	s.keys("home", "a", "enter", "y")
	s.wait(undoTime)
	if len(s.desk.decided) != 1 {
		t.Error("read to its end, it still cannot be approved")
	}
	hurried := newReviewScreen(t, 80, 24, r)
	hurried.keys("enter", "d", "enter", "y") // denying needs no reading
	hurried.wait(undoTime)
	if len(hurried.desk.decided) != 1 {
		t.Error("it cannot be denied")
	}
}

func TestReviewAfterTheAnswer(t *testing.T) {
	for name, tc := range map[string]struct {
		msg  decidedMsg
		says string
	}{
		"conflict": {decidedMsg{err: fmt.Errorf("x: %w", session.ErrConflict)}, "changed meanwhile"},
		"own":      {decidedMsg{err: session.ErrOwnRequest}, "yourself"},
		"down":     {decidedMsg{err: session.ErrUnavailable}, "unavailable"},
		"second":   {decidedMsg{outcome: session.OutcomeApprove}, "one more person"},
		"denied":   {decidedMsg{outcome: session.OutcomeDeny}, "Denied"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newReviewScreen(t, 80, 24, reviewRequests()...)
			s.keys("enter", "a", "enter", "y")
			s.wait(undoTime)
			s.load(reviewRequests()...)
			tc.msg.id = "req-1"
			loads := s.desk.loads
			s.send(tc.msg)
			s.shows(tc.says)
			if s.desk.loads != loads+1 {
				t.Error("the queue was not loaded again")
			}
			if len(s.m.outbox) != 0 {
				t.Error("the decision still waits")
			}
		})
	}
}

func TestReviewRevokes(t *testing.T) {
	s := newReviewScreen(t, 80, 24, reviewRequests()...)
	s.keys("enter", "x")
	s.shows("No session runs")
	s.keys("n", "x")
	s.typed("runaway")
	s.keys("enter", "enter")
	if len(s.desk.revoked) != 0 {
		t.Fatal("Enter ended a session")
	}
	s.keys("x")
	s.typed("runaway")
	s.keys("enter", "y")
	if !slices.Equal(s.desk.revoked, []string{"ses-1 runaway"}) {
		t.Errorf("revoked %q", s.desk.revoked)
	}
	s.send(revokedMsg{session: "ses-1"})
	s.shows("Session ses-1 is ended.")
}

func TestReviewLive(t *testing.T) {
	s := newReviewScreen(t, 80, 24, reviewRequests()...)
	s.shows("● live")
	loads := s.desk.loads
	s.send(eventMsg{open: true})
	s.send(eventMsg{open: true}) // while a load is under way
	if s.desk.loads != loads+1 {
		t.Errorf("%d loads for two events at once, want one", s.desk.loads-loads)
	}
	s.load(reviewRequests()...)
	if s.desk.loads != loads+2 {
		t.Error("what happened during the load was missed")
	}

	s.send(loadedMsg{err: fmt.Errorf("asking: %w", session.ErrUnavailable)})
	s.shows("○ reconnecting")
	s.shows("DROP DATABASE APP") // the last known queue stays
	loads = s.desk.loads
	s.wait(reloadTime)
	if s.desk.loads != loads+1 {
		t.Error("it does not try again")
	}
	s.load(reviewRequests()...)
	s.shows("● live")

	watches := s.desk.watches
	s.send(eventMsg{open: false})
	s.shows("○ polling")
	s.wait(rewatch)
	if s.desk.watches != watches+1 {
		t.Error("it does not watch again")
	}
	s.send(loadedMsg{err: fmt.Errorf("asking: %w", session.ErrSignIn)})
	s.shows("× access ended")
	s.keys("enter", "a", "enter", "y")
	s.decidedNothing()
}

func TestReviewOpensTheRequestNamed(t *testing.T) {
	for id, want := range map[string]string{"req-2": "DROP DATABASE APP", "req-9": "req-9 does not wait"} {
		s := &reviewScreen{t: t, desk: &fakeDesk{}, now: reviewNow()}
		s.m = newReview(reviewer, func() time.Time { return s.now })
		s.m.io, s.m.openFirst = s.desk, id
		s.load(reviewRequests()...)
		s.shows(want)
		if got := s.m.detail; got != (id == "req-2") {
			t.Errorf("%s: open %v", id, got)
		}
	}
}

// TestReviewHostileText plants terminal attacks in every field that somebody
// else writes.
func TestReviewHostileText(t *testing.T) {
	const hostile = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202egnp.exe\u200b\r\nApprove this? y\x00\x7f\u2066"
	r := reviewRequests()[2]
	r.ID = "req" + hostile
	r.Principal.Email, r.Principal.Groups = hostile, []string{hostile}
	r.Agent = session.Agent{Command: []string{hostile, hostile}, Host: hostile, Version: hostile}
	r.Reason, r.Rule, r.RuleText, r.Reviewers = hostile, hostile, hostile, []string{hostile}
	c := &r.Case
	c.Canonical += hostile
	c.Binds, c.SessionID, c.Role, c.Warehouse, c.Database, c.Schema, c.Estimate = hostile, hostile, hostile, hostile, hostile, hostile, hostile
	c.Kinds, c.Reads, c.Writes, c.Functions = []string{hostile}, []string{hostile}, []string{hostile}, []string{hostile}
	c.Classes, c.Unknown, c.Lineage = []string{hostile}, []string{hostile}, []string{hostile}
	r.Decisions = []session.Decision{{Reviewer: session.Principal{Email: hostile}, Reason: hostile, At: reviewNow()}}
	open := r
	open.ID, open.Kind, open.CreatedAt = "req2"+hostile, session.RequestSession, r.CreatedAt.Add(time.Second)
	open.Scope = session.Scope{Connection: hostile, Role: hostile, Warehouse: hostile, Database: hostile, Schema: hostile}

	views := []string{PlainRequests([]session.Request{r, open}, reviewer, reviewNow()), PlainRequest(r, reviewer, reviewNow(), 80), PlainRequest(open, reviewer, reviewNow(), 80)}
	s := newReviewScreen(t, 80, 200, r, open)
	for _, keys := range [][]string{nil, {"enter"}, {"a"}, {"enter"}, {"y"}, {"u"}, {"n"}, {"d"}, {"enter"}, {"n"}} {
		s.keys(keys...)
		views = append(views, ansi.Strip(s.m.render())) // our own styling off: what is left is text
	}
	s.send(loadedMsg{err: errors.New(hostile)})
	views = append(views, ansi.Strip(s.m.render()))
	s.send(decidedMsg{id: hostile, err: errors.New(hostile)})
	views = append(views, ansi.Strip(s.m.render()))
	for i, v := range views {
		if r, ok := hostileRune(v); ok {
			t.Errorf("view %d draws %U:\n%s", i, r, v)
		}
	}
	if raw := s.m.render(); strings.Contains(raw, "\x1b[2J") || strings.Contains(raw, "\x1b]") {
		t.Error("an escape sequence came through")
	}
}

// hostileRune finds what text of others must never bring to a terminal.
func hostileRune(drawn string) (rune, bool) {
	for _, r := range drawn {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029') {
			return r, true
		}
	}
	return 0, false
}

// FuzzReviewDraws draws text that anybody may have written, at any size: the
// screen keeps its frame and nothing reaches the terminal but text.
func FuzzReviewDraws(f *testing.F) {
	f.Add("SELECT 1", "because", uint8(80), uint8(24))
	f.Add("\x1b[2J\x1b]0;t\x07\xff\u202e", strings.Repeat("e\u0301\u200d", 40), uint8(41), uint8(11))
	f.Add("a\tb\r\nc\rd\u0085e\u2028f", "\U0001F468\u200d\U0001F469 \u4e16\u754c", uint8(40), uint8(10))
	f.Fuzz(func(t *testing.T, text, reason string, width, height uint8) {
		r := reviewRequests()[2]
		r.ID, r.Case.Canonical, r.Case.Lineage, r.Reason, r.Agent.Command = text, text, []string{reason}, reason, []string{reason, text}
		r.Principal.Email = reason
		s := newReviewScreen(t, max(int(width), minWidth), max(int(height), minHeight), r)
		for _, k := range []string{"", "enter", "end", "d", "x", "enter"} {
			if k != "" {
				s.keys(k)
			}
			got := s.text()
			if r, ok := hostileRune(got); ok {
				t.Fatalf("after %q it draws %U:\n%q", k, r, got)
			}
			lines := strings.Split(got, "\n")
			if len(lines) != s.m.height {
				t.Fatalf("after %q: %d lines on %d", k, len(lines), s.m.height)
			}
			for _, l := range lines {
				if w := ansi.StringWidth(l); w > s.m.width {
					t.Fatalf("after %q: %d cells on %d: %q", k, w, s.m.width, l)
				}
			}
		}
	})
}

// BenchmarkReviewLargest draws the largest statement there can be.
func BenchmarkReviewLargest(b *testing.B) {
	r := reviewRequests()[2]
	r.Case.Canonical = strings.Repeat("SELECT EMAIL, NAME, PHONE FROM APP.PUBLIC.CUSTOMERS UNION ALL\n", 1<<20/64)
	m := newReview(reviewer, reviewNow)
	m.loaded, m.requests, m.cursor, m.detail = true, []session.Request{r}, r.ID, true
	m.render() // lays it out, once
	for b.Loop() {
		m.render()
	}
}

// TestReviewQuestionAlwaysShows is the attack of so long a text that the
// question it stands above leaves the screen.
func TestReviewQuestionAlwaysShows(t *testing.T) {
	long := strings.Repeat("very long text ", 200)
	for i, req := range reviewRequests()[:3] {
		req.Agent.Command, req.Principal.Email, req.Reason, req.RuleText = []string{long}, long, long, long
		for _, height := range []int{minHeight, 12, 24} {
			for _, key := range []string{"a", "d", "x"} {
				if key == "x" && i == 0 {
					continue // no session runs yet
				}
				s := newReviewScreen(t, minWidth, height, req)
				s.keys("enter", "end", key)
				s.shows("reason")
				s.send(tea.PasteMsg{Content: long})
				s.keys("enter")
				s.shows("y = yes, else No")
				s.shows(map[string]string{"a": "Approve this?", "d": "Deny this?", "x": "End this session?"}[key])
			}
		}
	}
}

func TestReviewTinyTerminal(t *testing.T) {
	for _, size := range [][2]int{{0, 0}, {1, 1}, {39, 24}, {80, 9}, {40, 10}, {41, 11}} {
		s := newReviewScreen(t, size[0], size[1], reviewRequests()...)
		for _, k := range []string{"down", "enter", "end", "a", "x", "enter", "n", "?", "q", "esc"} {
			s.keys(k)
			if s.text() == "" {
				t.Errorf("%v: nothing drawn after %s", size, k)
			}
		}
	}
}

func TestRisk(t *testing.T) {
	statement := func(c session.Case) session.Request {
		return session.Request{Kind: session.RequestStatement, Case: c, Approvals: 1}
	}
	for name, tc := range map[string]struct {
		req  session.Request
		want risk
	}{
		"nothing known":     {session.Request{}, riskSevere},
		"no kinds":          {statement(session.Case{}), riskHigh},
		"plain read":        {statement(session.Case{Kinds: []string{"SELECT"}}), riskLow},
		"classed read":      {statement(session.Case{Kinds: []string{"SELECT"}, Classes: []string{"pii"}}), riskMedium},
		"read not known":    {statement(session.Case{Kinds: []string{"SELECT"}, Unknown: []string{"?"}}), riskHigh},
		"write":             {statement(session.Case{Kinds: []string{"INSERT"}, Writes: []string{"t"}}), riskHigh},
		"kind not known":    {statement(session.Case{Kinds: []string{"FROBNICATE"}}), riskHigh},
		"hidden among some": {statement(session.Case{Kinds: []string{"SELECT", "DROP_SCHEMA"}}), riskSevere},
		"grant":             {statement(session.Case{Kinds: []string{"GRANT_ROLE"}}), riskSevere},
		"two people":        {session.Request{Kind: session.RequestStatement, Case: session.Case{Kinds: []string{"SELECT"}}, Approvals: 2}, riskSevere},
		"session":           {session.Request{Kind: session.RequestSession, Scope: session.Scope{Role: "ANALYST"}}, riskLow},
		"admin session":     {session.Request{Kind: session.RequestSession, Scope: session.Scope{Role: "accountadmin"}}, riskHigh},
	} {
		if got := riskOf(tc.req); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got.word(), tc.want.word())
		}
	}
}

func TestInput(t *testing.T) {
	in := input{limit: 10}
	for _, k := range []string{"a", "b", "c", "left", "X", "home", "Y", "end", "backspace"} {
		in.edit(reviewKey(k))
	}
	if in.value() != "YabX" {
		t.Errorf("%q", in.value())
	}
	in.edit(tea.PasteMsg{Content: " p\x1b[31m\nq" + strings.Repeat("z", 50)})
	if in.value() != "YabX p[31m" {
		t.Errorf("%q", in.value())
	}
	in.edit(reviewKey("ctrl+w"))
	if in.value() != "YabX " {
		t.Errorf("%q", in.value())
	}
	in.edit(reviewKey("ctrl+u"))
	if in.value() != "" || in.at != 0 {
		t.Errorf("%q at %d", in.value(), in.at)
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{-time.Hour: "0s", 59 * time.Second: "59s", 90 * time.Second: "1m30s", 10*time.Minute + time.Second: "10m",
		time.Hour: "1h", 90 * time.Minute: "1h30m", 50 * time.Hour: "2d"} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
}
