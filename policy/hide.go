package policy

import (
	"maps"
	"slices"
	"strings"

	"github.com/jit-access/jit/policy/sql"
)

// HideText is a SQL text as it may be kept: constants and comments that hold a
// value of a class with a detector give way to ‹redacted:class›. The text that
// runs, and that reviewers read, is another matter.
//
// compared are classes of the columns that the text compares with constants or
// writes them to, see Compared: then every constant gives way but short numbers,
// such as a LIMIT, since which of them is the value cannot be told.
//
// In a text that cannot be cut into tokens every word is looked at.
func (b *Bundle) HideText(text string, compared ...string) string {
	if !b.detects() && len(compared) == 0 {
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
		if class == "" && len(compared) > 0 && isValue(text[l.Pos:l.End]) {
			class = strings.Join(compared, ", ")
		}
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

// HideValue is a bound value as it may be kept; compared as for HideText.
func (b *Bundle) HideValue(value string, compared ...string) string {
	class := b.classOf(value)
	if class == "" && value != "" {
		class = strings.Join(compared, ", ")
	}
	if class != "" {
		return hiddenValue(class)
	}
	return value
}

// shortNumber is how long a number may be that is no value of anybody's.
const shortNumber = 4

// isValue reports whether a token is a constant that could be a person's.
func isValue(token string) bool {
	switch token[0] {
	case '\'', '$':
		return true
	case '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '.':
		return len(token) > shortNumber
	}
	return strings.HasSuffix(token, "'") // and not a comment, a stage, a file
}

// Compared are the classes of columns that statements compare with something, or
// write, as far as the text names them: a constant in it may be a value of theirs.
// What an INSERT without a list of columns writes is not known here.
func (b *Bundle) Compared(statements []sql.Statement) []string {
	found := map[string]bool{}
	note := func(c sql.Column) {
		for _, class := range b.classes.of(c) {
			found[class.name] = true
		}
	}
	for i := range statements {
		st := &statements[i]
		for _, c := range st.Predicates.Columns {
			note(c)
		}
		if len(st.Writes) == 0 {
			continue
		}
		for _, name := range sql.Names(st.Text) {
			for _, o := range st.Writes {
				note(sql.Column{Object: o.Name, Name: name})
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
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
