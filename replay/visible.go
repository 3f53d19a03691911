package replay

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Visible makes text from outside safe to draw and honest to read: control
// characters, escape sequences, bidi and zero-width characters, odd spaces and
// bytes that are not UTF-8 appear as ‹U+001B› and the like. Newlines stay, tabs
// become four spaces.
func Visible(s string) string {
	if clean(s) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '\n':
			b.WriteByte('\n')
		case r == '\t':
			b.WriteString("    ")
		case r == utf8.RuneError && invalidAt(s, i):
			fmt.Fprintf(&b, "‹byte %02X›", s[i])
		case hidden(r):
			fmt.Fprintf(&b, "‹U+%04X›", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// VisibleLine is Visible on one line: runs of spaces and newlines are one space.
func VisibleLine(s string) string {
	return strings.Join(strings.FieldsFunc(Visible(s), func(r rune) bool { return r == ' ' || r == '\n' }), " ")
}

func clean(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '\n' && (c < 0x20 || c >= 0x7f) {
			return false
		}
	}
	return true
}

func invalidAt(s string, i int) bool {
	_, n := utf8.DecodeRuneInString(s[i:])
	return n == 1
}

// hidden reports whether r would not show as what it is.
func hidden(r rune) bool {
	switch {
	case r < 0x80:
		return r < 0x20 || r == 0x7f
	case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp, unicode.Zs):
		return true
	case unicode.Is(unicode.Variation_Selector, r), unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r):
		return true
	}
	return r == '\u2800' // braille, but blank
}
