package policy

import (
	"slices"
	"strings"

	"github.com/jit-access/jit/policy/sql"
)

// HideText is a SQL text as it may be kept: constants and comments that hold a
// value of a class with a detector give way to ‹redacted:class›. The text that
// runs, and that reviewers read, is another matter.
//
// In a text that cannot be cut into tokens every word is looked at.
func (b *Bundle) HideText(text string) string {
	if !b.detects() {
		return text
	}
	literals, err := sql.Literals(text)
	if err != nil {
		return b.hideWords(text)
	}
	slices.SortFunc(literals, func(x, y sql.Literal) int { return x.Pos - y.Pos })
	var out strings.Builder
	at := 0
	for _, l := range literals {
		class := b.classOf(l.Value)
		if class == "" {
			continue
		}
		out.WriteString(text[at:l.Pos])
		hidden := hiddenValue(class)
		switch {
		case !l.Comment:
			hidden = "'" + hidden + "'"
		case strings.HasPrefix(l.Value, "/*"):
			hidden = "/* " + hidden + " */"
		default: // up to the end of its line
			hidden = "-- " + hidden
		}
		out.WriteString(hidden)
		at = l.End
	}
	if at == 0 {
		return text
	}
	out.WriteString(text[at:])
	return out.String()
}

// HideValue is a bound value as it may be kept.
func (b *Bundle) HideValue(value string) string {
	if class := b.classOf(value); class != "" {
		return hiddenValue(class)
	}
	return value
}

func hiddenValue(class string) string { return "‹redacted:" + class + "›" }

func (b *Bundle) detects() bool {
	return slices.ContainsFunc(b.classes.sorted, func(c *class) bool { return c.detect != nil })
}

// classOf is the first class one of whose values stands in a text.
func (b *Bundle) classOf(text string) string {
	for len(text) > 0 {
		part := text[:min(len(text), hidePart)]
		if len(part) < len(text) { // words are not cut in two
			if i := strings.LastIndexFunc(part, func(r rune) bool { return r < 0x80 && separates(byte(r)) }); i > 0 {
				part = part[:i+1]
			}
		}
		text = text[len(part):]
		words := wordsIn(part)
		for _, c := range b.classes.sorted {
			if c.detect != nil && slices.ContainsFunc(words, c.detect) {
				return c.name
			}
		}
	}
	return ""
}

// hidePart is how much of a text is looked at in one step.
const hidePart = 2048

// wordsIn is all that detectors look at in a text: unlike a sample of a result,
// nothing in a recording is left out because it stands late.
func wordsIn(text string) []string {
	words := []string{strings.TrimSpace(text)}
	for w := range strings.FieldsFuncSeq(text, func(r rune) bool { return r < 0x80 && separates(byte(r)) }) {
		words = append(words, w, strings.TrimRight(w, ".!?"))
	}
	return words
}

// hideWords hides in a text that is no SQL.
func (b *Bundle) hideWords(text string) string {
	var out strings.Builder
	for len(text) > 0 {
		n := strings.IndexFunc(text, func(r rune) bool { return r < 0x80 && separates(byte(r)) })
		if n < 0 {
			n = len(text)
		}
		word := text[:n]
		if class := b.classOf(word); class != "" {
			word = hiddenValue(class)
		}
		out.WriteString(word)
		if n < len(text) {
			out.WriteByte(text[n])
			n++
		}
		text = text[n:]
	}
	return out.String()
}
