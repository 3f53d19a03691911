package tui

import (
	"slices"
	"unicode"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

// input is one line of text being typed. It keeps printable characters only:
// what is pasted cannot smuggle in anything else. The zero value is empty.
type input struct {
	runes []rune
	at    int // cursor, 0..len(runes)
	limit int
}

func (in *input) value() string { return string(in.runes) }

func (in *input) insert(s string) {
	for _, r := range s {
		if r == '\n' || r == '\t' {
			r = ' '
		}
		if len(in.runes) < in.limit && unicode.IsPrint(r) {
			in.runes = slices.Insert(in.runes, in.at, r)
			in.at++
		}
	}
}

// edit applies a key or a paste; others do nothing.
func (in *input) edit(msg tea.Msg) {
	if paste, ok := msg.(tea.PasteMsg); ok {
		in.insert(paste.Content)
		return
	}
	k, ok := msg.(tea.KeyPressMsg)
	if !ok {
		return
	}
	switch k.String() {
	case "backspace":
		if in.at > 0 {
			in.at--
			in.runes = slices.Delete(in.runes, in.at, in.at+1)
		}
	case "delete":
		if in.at < len(in.runes) {
			in.runes = slices.Delete(in.runes, in.at, in.at+1)
		}
	case "left", "ctrl+b":
		in.at = max(in.at-1, 0)
	case "right", "ctrl+f":
		in.at = min(in.at+1, len(in.runes))
	case "home", "ctrl+a":
		in.at = 0
	case "end", "ctrl+e":
		in.at = len(in.runes)
	case "ctrl+u":
		in.runes, in.at = slices.Delete(in.runes, 0, in.at), 0
	case "ctrl+k":
		in.runes = in.runes[:in.at]
	case "ctrl+w":
		to := in.at
		for to > 0 && in.runes[to-1] == ' ' {
			to--
		}
		for to > 0 && in.runes[to-1] != ' ' {
			to--
		}
		in.runes, in.at = slices.Delete(in.runes, to, in.at), to
	default:
		in.insert(k.Text)
	}
}

// view draws the text in width cells, scrolled so that the cursor shows.
func (in *input) view(s style, width int) string {
	before, under, after := string(in.runes[:in.at]), " ", ""
	if in.at < len(in.runes) {
		under, after = string(in.runes[in.at]), string(in.runes[in.at+1:])
	}
	if over := ansi.StringWidth(before) - (width - 2); over > 0 {
		before = "…" + ansi.TruncateLeft(before, over+1, "")
	}
	return fit(before+s.selected.Render(under)+after, width)
}
