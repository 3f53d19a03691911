package replay

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/jit-access/jit/session/recording"
)

// titleLength is how many characters of a text an Index keeps.
const titleLength = 160

// setTitle keeps the beginning of a text, on one line and visible.
func (e *Entry) setTitle(s string) {
	s = VisibleLine(s)
	n := 0
	for i := range s {
		if n++; n > titleLength {
			s, e.Truncated = strings.TrimRight(s[:i], " "), true
			break
		}
	}
	e.Title = strings.Clone(s)
}

// head is the beginning of a text, enough for a title.
func head(s string) (string, bool) {
	n := 4 * titleLength
	if len(s) <= n {
		return s, false
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.Clone(s[:n]), true
}

// title describes an event that belongs to no statement.
func (d digest) title() string {
	switch d.Kind {
	case recording.KindSessionOpened:
		return "session opened"
	case recording.KindAgentStarted:
		if d.Agent != nil {
			return "started: " + strings.Join(d.Agent.Command, " ")
		}
	case recording.KindAgentExited:
		if d.Agent != nil && d.Agent.Signal != "" {
			return "ended by signal " + d.Agent.Signal
		}
		if d.Agent != nil {
			return fmt.Sprintf("ended with exit code %d", d.Agent.Exit)
		}
	case recording.KindLogin:
		if d.Login != nil && d.Login.OK {
			return strings.TrimSpace("login by " + d.Login.Driver + " " + d.Login.Version)
		}
		if d.Login != nil {
			return strings.TrimSpace("login refused: " + d.Login.Driver + " " + d.Login.Version + " " + d.Login.Why)
		}
	case recording.KindLogout:
		if d.Login != nil {
			return strings.TrimSpace("logout " + d.Login.Why)
		}
	case recording.KindProtocol:
		return "refused: " + d.Note
	case recording.KindTerminal:
		if d.Terminal != nil {
			return "terminal recorded: " + Bytes(d.Terminal.Bytes)
		}
	case recording.KindSessionEnded:
		if d.Session != nil {
			return "session ended: " + d.Session.End
		}
	}
	return strings.TrimSpace(string(d.Kind) + " " + d.Note)
}
