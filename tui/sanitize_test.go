package tui

import "testing"

func TestSanitize(t *testing.T) {
	for in, want := range map[string]string{
		"SELECT 1":        "SELECT 1",
		"a\nb":            "a‹U+000A›b",
		"\x1b]8;;evil\a":  "‹U+001B›]8;;evil‹U+0007›",
		"DROP\u202eTXET":  "DROP‹U+202E›TXET",
		"zero\u200bwidth": "zero‹U+200B›width",
		"漢字 ‹masked›":     "漢字 ‹masked›",
	} {
		if got := sanitize(in); got != want {
			t.Errorf("sanitize(%q) = %q, want %q", in, got, want)
		}
	}
}
