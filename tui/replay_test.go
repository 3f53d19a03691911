package tui

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session/recording"
)

var replayStart = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func replayAt(seconds float64) time.Time {
	return replayStart.Add(time.Duration(seconds * float64(time.Second)))
}

// openReplay makes a sealed recording of the given events and opens it.
func openReplay(t *testing.T, events []recording.Event) *replay.Recording {
	t.Helper()
	return openReplayWith(t, events, "")
}

// openReplayWith is openReplay of a session whose terminal was recorded.
func openReplayWith(t *testing.T, events []recording.Event, cast string) *replay.Recording {
	t.Helper()
	skey, vkey, err := recording.NewKey("session")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := recording.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "s1")
	w, err := recording.Create(dir, recording.Options{
		Session: recording.SessionFacts{ID: "s1", Principal: "p", Email: "ana@example.com", Connection: "prod"},
		Signer:  signer, VerifierKey: vkey, Interval: time.Hour, Now: func() time.Time { return replayStart },
	})
	if err != nil {
		t.Fatal(err)
	}
	if cast != "" {
		if err := os.WriteFile(filepath.Join(dir, recording.FileTerminal), []byte(cast), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range events {
		if _, err := w.Append(context.Background(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Seal(context.Background()); err != nil {
		t.Fatal(err)
	}
	r, err := replay.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() }) //nolint:errcheck // opened for reading
	return r
}

// replayStory is a session in which a bit of everything happens.
func replayStory() []recording.Event {
	return []recording.Event{
		{At: replayAt(0.1), Kind: recording.KindAgentStarted, Agent: &recording.AgentFacts{Command: []string{"python", "report.py"}}},
		{At: replayAt(1), Kind: recording.KindStatement, Statement: "a", SQL: &recording.StatementFacts{
			Text: "SELECT id,\n\temail\nFROM customers", Digest: "d1", Kinds: []string{"SELECT"}, Reads: []string{"APP.PUBLIC.CUSTOMERS"},
			Outputs: []recording.OutputFacts{{Name: "ID", From: []string{"APP.PUBLIC.CUSTOMERS.ID"}},
				{Name: "EMAIL", From: []string{"APP.PUBLIC.CUSTOMERS.EMAIL"}, Class: "pii.email", Mask: "keep-domain"}},
			Verdict: "allow", Rule: "default-read", Driver: "PythonConnector"}},
		{At: replayAt(1.01), Kind: recording.KindForwarded, Statement: "a", Forwarded: &recording.ForwardedFacts{RequestID: "r1", Digest: "d1"}},
		{At: replayAt(1.3), Kind: recording.KindResult, Statement: "a", Result: &recording.ResultFacts{QueryID: "01b-1", Rows: 1200, Columns: 2, Bytes: 34567, Masked: []string{"EMAIL"}, Millis: 290}},
		{At: replayAt(4), Kind: recording.KindStatement, Statement: "b", SQL: &recording.StatementFacts{
			Text: "DROP DATABASE scratch", Digest: "d2", Kinds: []string{"DROP_DATABASE"}, Writes: []string{"SCRATCH"},
			Verdict: "hold", Rule: "default-drop", Reason: "Dropping a database needs a person."}},
		{At: replayAt(4.1), Kind: recording.KindRequest, Statement: "b", Request: &recording.RequestFacts{ID: "req-1", Reviewers: []string{"dba"}, Approvals: 2, Expires: replayAt(604)}},
		{At: replayAt(70), Kind: recording.KindDecision, Statement: "b", Decision: &recording.DecisionFacts{Request: "req-1", Outcome: "approved", Reviewer: []string{"bob@example.com"}, Reuse: "once", Reason: "scratch is mine"}},
		{At: replayAt(70.1), Kind: recording.KindForwarded, Statement: "b", Forwarded: &recording.ForwardedFacts{RequestID: "r2", Digest: "d2"}},
		{At: replayAt(70.6), Kind: recording.KindResult, Statement: "b", Result: &recording.ResultFacts{QueryID: "01b-2", Rows: 1, Columns: 1, Bytes: 40, Millis: 500}},
		{At: replayAt(80), Kind: recording.KindStatement, Statement: "c", SQL: &recording.StatementFacts{
			Text: "COPY INTO 's3://x/' FROM customers -- \x1b[2J\u202e", Digest: "d3", Kinds: []string{"COPY_INTO_LOCATION"},
			Verdict: "deny", Rule: "default-unload", Reason: "Data does not leave the account."}},
		{At: replayAt(80.1), Kind: recording.KindRefused, Statement: "c", Refused: &recording.RefusedFacts{Code: "JIT-3002", Message: "DENIED rule=default-unload"}},
		{At: replayAt(81), Kind: recording.KindStatement, Statement: "d", SQL: &recording.StatementFacts{
			Text: "SELECT 1/0", Digest: "d4", Kinds: []string{"SELECT"}, Verdict: "allow", Rule: "default-read"}},
		{At: replayAt(81.2), Kind: recording.KindResult, Statement: "d", Result: &recording.ResultFacts{Error: "100051 division by zero", Millis: 100}},
		{At: replayAt(102), Kind: recording.KindAgentExited, Agent: &recording.AgentFacts{Command: []string{"python", "report.py"}, Exit: 3}},
		{At: replayAt(103), Kind: recording.KindSessionEnded, Session: &recording.SessionFacts{ID: "s1", Principal: "p", Connection: "prod", End: "the command ended"}},
	}
}

// stillCommands is the real thing without the clock: frames come from the test.
type stillCommands struct{ recordingCommands }

func (stillCommands) tick() tea.Cmd   { return nil }
func (stillCommands) follow() tea.Cmd { return nil }

// replayScreen drives a player as bubbletea would, running its commands at once.
type replayScreen struct {
	t *testing.T
	*player
	quit bool
}

func newReplayScreen(t *testing.T, width, height int, events []recording.Event) *replayScreen {
	t.Helper()
	return newReplayScreenOf(t, width, height, openReplay(t, events))
}

func newReplayScreenOf(t *testing.T, width, height int, rec *replay.Recording) *replayScreen {
	t.Helper()
	s := &replayScreen{t: t, player: newPlayer(rec, stillCommands{recordingCommands{rec}})}
	s.run(s.Init())
	s.send(tea.WindowSizeMsg{Width: width, Height: height})
	return s
}

func (s *replayScreen) send(msg tea.Msg) {
	_, cmd := s.Update(msg)
	s.run(cmd)
}

func (s *replayScreen) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	switch msg := cmd().(type) {
	case nil:
	case tea.BatchMsg:
		for _, c := range msg {
			s.run(c)
		}
	case tea.QuitMsg:
		s.quit = true
	default:
		s.send(msg)
	}
}

// press sends keys: names in <>, other characters by themselves.
func (s *replayScreen) press(keys ...string) {
	for _, k := range keys {
		special := map[string]rune{"enter": tea.KeyEnter, "esc": tea.KeyEscape, "up": tea.KeyUp, "down": tea.KeyDown,
			"left": tea.KeyLeft, "right": tea.KeyRight, "space": tea.KeySpace, "pgdown": tea.KeyPgDown, "pgup": tea.KeyPgUp}
		if code, ok := special[k]; ok {
			msg := tea.KeyPressMsg{Code: code}
			if k == "space" {
				msg.Text = " "
			}
			s.send(msg)
			continue
		}
		for _, r := range k {
			s.send(tea.KeyPressMsg{Code: r, Text: string(r)})
		}
	}
}

// under is the title of the row under the cursor.
func (s *replayScreen) under() string {
	at, ok := s.current()
	if !ok {
		return ""
	}
	return s.index.Entries[at].Title
}

// text is the screen without colour, checked to fit.
func (s *replayScreen) text() string {
	s.t.Helper()
	out := s.View().Content
	plain := ansi.Strip(out)
	if lines := strings.Split(plain, "\n"); len(lines) != s.height {
		s.t.Errorf("%d lines on a screen of %d", len(lines), s.height)
	}
	for i, l := range strings.Split(plain, "\n") {
		if w := ansi.StringWidth(l); w > s.width {
			s.t.Errorf("line %d is %d cells wide, the screen %d", i, w, s.width)
		}
	}
	return plain
}

// replayGolden compares with testdata; JIT_UPDATE_GOLDEN=1 writes it anew.
func replayGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	got += "\n"
	if os.Getenv("JIT_UPDATE_GOLDEN") == "1" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s", path, got)
	}
}

func TestReplayViews(t *testing.T) {
	views := []struct {
		name string
		keys []string
	}{
		{"start", nil},
		{"masked", []string{"right"}},
		{"held", []string{"right", "right"}},
		{"denied", []string{"right", "right", "right"}},
		{"filter", []string{"f"}},
		{"search", []string{"/", "customers", "enter"}},
		{"typing", []string{"/", "table:cust"}},
		{"whole", []string{"right", "enter"}},
		{"help", []string{"?"}},
	}
	for _, size := range [][2]int{{80, 24}, {120, 40}} {
		for _, v := range views {
			name := fmt.Sprintf("replay_%s_%dx%d", v.name, size[0], size[1])
			t.Run(name, func(t *testing.T) {
				s := newReplayScreen(t, size[0], size[1], replayStory())
				s.press(v.keys...)
				replayGolden(t, name, s.text())
			})
		}
	}
}

// TestReplayShowsNoEscapes: what an agent wrote cannot act on the terminal.
func TestReplayShowsNoEscapes(t *testing.T) {
	s := newReplayScreen(t, 120, 40, replayStory())
	for range 12 {
		for _, r := range ansi.Strip(s.View().Content) {
			if r != '\n' && (r < 0x20 || r == 0x7f || r == '\u202e') {
				t.Fatalf("%U on the screen", r)
			}
		}
		if strings.Contains(s.View().Content, "\x1b[2J") {
			t.Fatal("an agent's escape sequence reached the terminal")
		}
		s.press("down")
	}
}

func TestReplayMoves(t *testing.T) {
	s := newReplayScreen(t, 80, 24, replayStory())
	steps := []struct{ key, under string }{
		{"down", "started: python report.py"},
		{"right", "SELECT id, email FROM customers"},
		{"right", "DROP DATABASE scratch"},
		{"left", "SELECT id, email FROM customers"},
		{"G", "session ended: the command ended"},
		{"down", "session ended: the command ended"},
		{"left", "SELECT 1/0"},
		{"g", "session opened"},
		{"up", "session opened"},
		{"left", "session opened"}, // no statement that way
		{"f", "DROP DATABASE scratch"},
		{"down", "COPY INTO 's3://x/' FROM customers -- ‹U+001B›[2J‹U+202E›"},
		{"f", "COPY INTO 's3://x/' FROM customers -- ‹U+001B›[2J‹U+202E›"},
	}
	for i, st := range steps {
		s.press(st.key)
		if got := s.under(); got != st.under {
			t.Fatalf("step %d, %q: on %q, want %q", i, st.key, got, st.under)
		}
	}
	s.press("q")
	if !s.quit {
		t.Error("q does not quit")
	}
}

func TestReplaySearch(t *testing.T) {
	s := newReplayScreen(t, 80, 24, replayStory())
	s.press("/", "customers", "enter")
	if len(s.found) != 2 || !strings.HasPrefix(s.under(), "SELECT id") {
		t.Fatalf("found %v, on %q", s.found, s.under())
	}
	s.press("n")
	if !strings.HasPrefix(s.under(), "COPY") {
		t.Errorf("n leads to %q", s.under())
	}
	s.press("n")
	if !strings.HasPrefix(s.under(), "SELECT id") {
		t.Errorf("n at the last match leads to %q", s.under())
	}
	s.press("N")
	if !strings.HasPrefix(s.under(), "COPY") {
		t.Errorf("N at the first match leads to %q", s.under())
	}
	s.press("f", "/", "outcome:failed", "enter")
	if s.under() != "SELECT 1/0" || len(s.filter.Only) != 0 {
		t.Errorf("a match that the filter hides: on %q, filter %v", s.under(), s.filter.Only)
	}
	for query, notice := range map[string]string{"nowhere": "Nothing matches", "table:": "missing"} {
		s.press("/", query, "enter")
		if !strings.Contains(s.notice, notice) {
			t.Errorf("%q says %q", query, s.notice)
		}
	}
	s.press("esc", "n")
	if !strings.Contains(s.notice, "Search first") {
		t.Errorf("n without a search says %q", s.notice)
	}
}

// TestReplayPlays: time passes as recorded, times the speed, and long pauses
// are cut to the idle limit.
func TestReplayPlays(t *testing.T) {
	s := newReplayScreen(t, 80, 24, replayStory())
	now := replayStart
	frames := func(d time.Duration) {
		for end := now.Add(d); now.Before(end); {
			now = now.Add(frameTime)
			s.send(playMsg(now))
		}
	}
	s.press("space")
	s.send(playMsg(now))
	frames(900 * time.Millisecond)
	if got := s.under(); got != "started: python report.py" {
		t.Fatalf("after 0.9s: on %q", got)
	}
	frames(200 * time.Millisecond)
	if !strings.HasPrefix(s.under(), "SELECT id") || len(s.detail.Events) != 3 {
		t.Fatalf("after 1.1s: on %q, %d events", s.under(), len(s.detail.Events))
	}
	frames(2 * time.Second) // 3 s until DROP, cut to 2
	if s.under() != "DROP DATABASE scratch" {
		t.Fatalf("after the pause: on %q", s.under())
	}
	frames(2100 * time.Millisecond) // 76 s, cut to 2
	if !strings.HasPrefix(s.under(), "COPY") {
		t.Fatalf("after the long pause: on %q", s.under())
	}
	s.press("+")
	frames(500 * time.Millisecond) // 1 s at 2×
	if s.under() != "SELECT 1/0" {
		t.Fatalf("at twice the speed: on %q", s.under())
	}
	s.press("space")
	frames(10 * time.Second)
	if s.under() != "SELECT 1/0" {
		t.Error("it plays on while paused")
	}
	s.press("space")
	s.send(playMsg(now))
	frames(10 * time.Second)
	if s.playing || !strings.HasPrefix(s.under(), "session ended") {
		t.Errorf("at the end: playing %v, on %q", s.playing, s.under())
	}
	s.press("space")
	if !s.playing || s.under() != "session opened" {
		t.Errorf("played again: playing %v, on %q", s.playing, s.under())
	}
	s.press("down")
	if s.playing {
		t.Error("moving about does not pause")
	}
}

// TestReplayOfABrokenRecording: the file changes while it is being looked at.
func TestReplayOfABrokenRecording(t *testing.T) {
	s := newReplayScreen(t, 80, 24, replayStory())
	s.send(entryMsg{err: &recording.TamperError{Segment: recording.FileEvents, Event: 4, Why: "it changed\x1b[2J"}})
	text := s.text()
	if !strings.Contains(text, "NOT WHAT WAS RECORDED") || !strings.Contains(text, "at event 4") {
		t.Errorf("the screen says nothing of it:\n%s", text)
	}
}

func TestReplaySmallAndEmpty(t *testing.T) {
	s := newReplayScreen(t, 80, 24, nil)
	s.text()
	s.press("f")
	if !strings.Contains(s.text(), "Nothing here") {
		t.Error("an empty filter is not explained")
	}
	s.press("down", "right", "enter", "pgdown", "pgup", "space", "esc")
	s.text()
	s.send(tea.WindowSizeMsg{Width: 30, Height: 5})
	if !strings.Contains(s.View().Content, "too small") {
		t.Error("a screen that is too small is drawn")
	}
	for _, size := range [][2]int{{40, 10}, {109, 11}, {110, 30}, {300, 100}} {
		s.send(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
		s.text()
	}
}

// FuzzReplayKeys: no key sequence breaks the screen.
func FuzzReplayKeys(f *testing.F) {
	f.Add("jjl/cust\nnf?q")
	f.Add(" +++i   ")
	f.Fuzz(func(t *testing.T, keys string) {
		s := newReplayScreen(t, 80, 24, replayStory()[:8])
		for _, r := range keys {
			switch r {
			case '\n':
				s.press("enter")
			case ' ':
				s.press("space")
				s.send(playMsg(s.now))
				s.send(playMsg(s.now.Add(time.Second)))
			default:
				s.press(string(r))
			}
			s.text()
		}
	})
}
