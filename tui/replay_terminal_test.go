package tui

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session/recording"
)

// shownAt is something that the terminal showed, or another event of its
// recording.
type shownAt struct {
	seconds    float64 // since replayStart
	code, data string
}

// castOf writes an asciicast of 60×12.
func castOf(t *testing.T, events ...shownAt) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, `{"version":3,"term":{"cols":60,"rows":12},"timestamp":%d}`+"\n", replayStart.Unix())
	last := 0.0
	for _, e := range events {
		line, err := json.Marshal([]any{json.Number(fmt.Sprintf("%.6f", e.seconds-last)), e.code, e.data})
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
		last = e.seconds
	}
	return b.String()
}

// replayWithTerminal is replayStory, in a session with a recorded terminal.
func replayWithTerminal(t *testing.T, cast string) *replay.Recording {
	t.Helper()
	sum := sha256.Sum256([]byte(cast))
	events := replayStory()
	terminal := recording.Event{At: replayAt(102.5), Kind: recording.KindTerminal, Terminal: &recording.TerminalFacts{
		File: recording.FileTerminal, Bytes: int64(len(cast)), SHA256: base64.StdEncoding.EncodeToString(sum[:])}}
	return openReplayWith(t, slices.Insert(events, len(events)-1, terminal), cast)
}

func storyCast(t *testing.T) string {
	t.Helper()
	return castOf(t,
		shownAt{0.2, "o", "$ python report.py\r\n"},
		shownAt{0.9, "o", "reading \x1b[1;31mcustomers\x1b[0m…\r\n"},
		shownAt{1.0, "m", "a"},
		shownAt{2.5, "o", "1200 rows\r\n"},
		shownAt{4.0, "m", "b"},
		shownAt{5.0, "o", "waiting for approval\r\n"},
		shownAt{71.0, "o", "\x1b[2J\x1b[HDROP is done\r\n"},
		shownAt{100.0, "o", "Traceback: division by zero\r\n"},
		shownAt{102.0, "x", "3"},
	)
}

func TestReplayTerminalViews(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {120, 40}} {
		for name, keys := range map[string][]string{
			"terminal":       {"right", "right", "t"},
			"terminal_end":   {"t", "G"},
			"terminal_whole": {"right", "t", "enter"},
		} {
			name = fmt.Sprintf("replay_%s_%dx%d", name, size[0], size[1])
			t.Run(name, func(t *testing.T) {
				s := newReplayScreenOf(t, size[0], size[1], replayWithTerminal(t, storyCast(t)))
				s.press(keys...)
				replayGolden(t, name, s.text())
			})
		}
	}
}

// TestReplayTerminalKeepsTime: the terminal shows what it showed at the moment
// that is replayed, forwards and back.
func TestReplayTerminalKeepsTime(t *testing.T) {
	s := newReplayScreenOf(t, 120, 40, replayWithTerminal(t, storyCast(t)))
	s.press("t")
	steps := []struct {
		key, shows, not string
	}{
		{"g", "", "python"},
		{"right", "customers", "1200 rows"},        // a, at 1 s
		{"right", "1200 rows", "waiting"},          // b, at 4 s
		{"right", "DROP is done", "waiting"},       // c, at 80 s
		{"left", "1200 rows", "DROP is done"},      // b again
		{"G", "Traceback", "waiting for approval"}, // the end
		{"t", "", "Traceback"},
		{"t", "Traceback", ""},
		{"g", "", "Traceback"},
	}
	for i, st := range steps {
		s.press(st.key)
		pane := strings.Join(s.terminalPane(60, s.terminalHeight()), "\n")
		if !strings.Contains(pane, st.shows) || st.not != "" && strings.Contains(pane, st.not) {
			t.Fatalf("step %d, %q: the pane shows\n%s", i, st.key, pane)
		}
	}

	s.press("right", "space") // from a, at 1 s
	now := replayStart
	s.send(playMsg(now))
	for range 20 {
		now = now.Add(frameTime)
		s.send(playMsg(now))
	}
	if text := s.text(); !strings.Contains(text, "1200 rows") || strings.Contains(text, "waiting for approval") {
		t.Errorf("two seconds on it shows\n%s", text)
	}
}

// TestReplayTerminalClocksAgree: the recording of the terminal is a second
// behind; a statement's marker puts it right.
func TestReplayTerminalClocksAgree(t *testing.T) {
	cast := castOf(t, shownAt{0.0, "m", "a"}, shownAt{0.5, "o", "half a second after a"})
	s := newReplayScreenOf(t, 120, 40, replayWithTerminal(t, cast))
	s.press("t", "right") // a, at 1 s
	if strings.Contains(s.text(), "half a second") {
		t.Errorf("it is shown too early:\n%s", s.text())
	}
	s.press("right")
	if !strings.Contains(s.text(), "half a second") {
		t.Errorf("it is not shown:\n%s", s.text())
	}
}

// TestReplayTerminalIsHarmless: whatever the agent wrote to its terminal, no
// sequence of it reaches the terminal of who replays it.
func TestReplayTerminalIsHarmless(t *testing.T) {
	hostile := map[string]string{
		"title":           "\x1b]0;owned\x07text",
		"clipboard":       "\x1b]52;c;b3duZWQ=\x07text",
		"link":            "\x1b]8;;https://evil.example/\x1b\\text\x1b]8;;\x1b\\",
		"device strings":  "\x1bP$q\"p\x1b\\\x1b_apc\x1b\\\x1b^pm\x1b\\text",
		"queries":         "\x1b[6n\x1b[c\x1b[>c\x1b[5n\x1bZtext",
		"modes":           "\x1b[?1049h\x1b[?1000h\x1b[?2004h\x1b[?25ltext",
		"C1 controls":     "text\u009b2J\u0090q\u009d0;x\u009c",
		"bidi":            "text \u202egnirts\u202c \u2066x\u2069 \u200bz\u00ad",
		"line drawing":    "\x1b(0text\x01\x02\x1b(B",
		"huge arguments":  "\x1b[999999999;999999999Htext\x1b[2147483647@\x1b[2147483647P\x1b[99999999L\x1b[99999999M\x1b[99999999S\x1b[99999999T",
		"negative":        "\x1b[-5;-7Htext\x1b[-3@\x1b[-3P\x1b[-3X\x1b[-3L\x1b[-3M",
		"scroll region":   "\x1b[5;2r\x1b[99;1r\x1b[-1;-1r\x1bM\x1bMtext\n\n\n",
		"unfinished":      "text\x1b[38;5",
		"endless string":  "\x1b]0;" + strings.Repeat("x", 10000) + "text",
		"wide and joined": "text 漢字漢字 👩\u200d👩\u200d👧 e\u0301\u0301\u0301",
		"many colours":    strings.Repeat("\x1b[38;2;1;2;3m\x1b[48;5;300m", 20) + "text",
	}
	for name, text := range hostile {
		t.Run(name, func(t *testing.T) {
			cast := castOf(t, shownAt{0.5, "o", text}, shownAt{0.6, "r", "100000x100000"}, shownAt{0.7, "o", text}, shownAt{0.8, "r", "3x2"}, shownAt{0.9, "o", text})
			for _, width := range []int{80, 120} {
				s := newReplayScreenOf(t, width, 24, replayWithTerminal(t, cast))
				plain := s.text()
				s.press("t", "right")
				s.text()
				for _, l := range s.terminalPane(60, 20) {
					for _, r := range ansi.Strip(l) {
						if r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\u202e' || r == '\u2066' || r == '\u200b' || r == '\u200d' {
							t.Fatalf("%U in the pane: %q", r, l)
						}
					}
				}
				out := s.View()
				if out.WindowTitle != "jit replay s1" {
					t.Errorf("the title is %q", out.WindowTitle)
				}
				for _, l := range s.pane.screen.Lines {
					if strings.ContainsFunc(l, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
						t.Errorf("a control character left the emulator: %q", l)
					}
				}
				for _, bad := range []string{"\x1b]", "\x1bP", "\x1b_", "\x1b[2J", "\x1b[?", "\a", "\u009b", "b3duZWQ"} {
					if strings.Contains(out.Content, bad) {
						t.Errorf("%q reached the screen", bad)
					}
				}
				if s.pane.failed != "" {
					t.Errorf("the agent hid its terminal: %s", s.pane.failed)
				}
				if s.broken != nil || plain == "" {
					t.Errorf("the recording is called broken: %v", s.broken)
				}
			}
		})
	}
}

func TestReplayWithoutTerminal(t *testing.T) {
	s := newReplayScreen(t, 80, 24, replayStory())
	s.press("t")
	if s.pane.open || !strings.Contains(s.notice, "no terminal was recorded") {
		t.Errorf("open %v, it says %q", s.pane.open, s.notice)
	}
	broken := map[string]string{
		"no asciicast":    "hello\n",
		"another version": `{"version":2,"width":80,"height":24}` + "\n",
		"no size":         `{"version":3,"term":{}}` + "\n",
		"a broken event":  `{"version":3,"term":{"cols":80,"rows":24},"timestamp":1}` + "\n[1,\"o\"]\n",
		"time going back": `{"version":3,"term":{"cols":80,"rows":24},"timestamp":1}` + "\n[-1,\"o\",\"x\"]\n",
		"a broken size":   `{"version":3,"term":{"cols":80,"rows":24},"timestamp":1}` + "\n[1,\"r\",\"0x0\"]\n",
	}
	for name, cast := range broken {
		s := newReplayScreenOf(t, 120, 40, replayWithTerminal(t, cast))
		s.press("t")
		text := s.text() // what cannot be opened
		s.press("right")
		if text += s.text(); !strings.Contains(text, "reading the terminal") {
			t.Errorf("%s: the screen says nothing of it:\n%s", name, text)
		}
	}
}

// TestReplayTerminalResizes: the panes fit every size of the person's terminal.
func TestReplayTerminalResizes(t *testing.T) {
	s := newReplayScreenOf(t, 120, 40, replayWithTerminal(t, storyCast(t)))
	s.press("t", "G")
	for _, size := range [][2]int{{40, 10}, {80, 12}, {109, 11}, {110, 10}, {110, 30}, {300, 100}} {
		s.send(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
		if text := s.text(); !strings.Contains(text, "─ terminal 60×12") {
			t.Errorf("at %v there is no terminal:\n%s", size, text)
		}
	}
}

// TestReplayUsesSixteenColours: those of the person's own theme, and none of them
// of the agent's.
func TestReplayUsesSixteenColours(t *testing.T) {
	s := newReplayScreenOf(t, 120, 40, replayWithTerminal(t, castOf(t, shownAt{0.5, "o", "\x1b[38;5;196mred\x1b[48;2;1;2;3mblue\x1b[35m"})))
	coloured := false
	for _, key := range []string{"t", "right", "right", "right", "f", "enter", "enter", "?"} {
		s.press(key)
		content := s.View().Content
		coloured = coloured || strings.Contains(content, "\x1b[32m")
		for _, bad := range []string{"38;", "48;", "\x1b[35m"} {
			if strings.Contains(content, bad) {
				t.Errorf("after %q the screen has %q", key, bad)
			}
		}
	}
	if !coloured {
		t.Error("there is no colour at all: the test shows nothing")
	}
}
