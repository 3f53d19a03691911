package sql

import "strings"

// The canonical text is the token stream re-emitted: tokens and comments as
// written, line breaks where they were (so that a server's error positions
// match the author's lines), every other blank a space, long runs of blanks
// cut short, blanks at line ends and empty statements gone.

// format re-emits the tokens [from, to) of l and the comments between them.
func format(l *lexed, from, to int) string {
	if from >= to {
		return ""
	}
	f := formatter{lexed: l}
	f.comment = firstComment(l, from+1)
	f.tokens(from, to)
	return f.out.String()
}

// formatAll re-emits a whole text cut into statements, with all its comments.
func formatAll(l *lexed, cuts [][2]int) string {
	f := formatter{lexed: l}
	f.out.Grow(len(l.text))
	for i, c := range cuts {
		if i > 0 {
			f.semicolon(cuts[i-1][1])
		}
		f.skipTo(c[0])
		f.tokens(c[0], c[1])
	}
	f.skipTo(len(l.tokens))
	return f.out.String()
}

type formatter struct {
	*lexed
	out     strings.Builder
	at      int // offset in the text up to which it was read
	comment int // next comment
	lines   int // line breaks read and not yet emitted
	run     int // blanks behind them
}

// emit writes the pending blanks and s. Blanks at the end of the text are
// never followed by anything and so never written.
func (f *formatter) emit(s string) {
	for ; f.lines > 0; f.lines-- {
		f.out.WriteByte('\n')
	}
	for f.run = min(f.run, maxBlanks); f.run > 0; f.run-- {
		f.out.WriteByte(' ')
	}
	f.out.WriteString(s)
}

func firstComment(l *lexed, token int) int {
	lo, hi := 0, len(l.comments)
	for lo < hi {
		mid := (lo + hi) / 2
		if int(l.comments[mid].before) < token {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// tokens emits tokens and the gaps between them.
func (f *formatter) tokens(from, to int) {
	for i := from; i < to; i++ {
		t := f.lexed.tokens[i]
		if i > from {
			f.gap(i)
		}
		f.emit(f.text[t.pos:t.end])
		f.at = int(t.end)
	}
}

// semicolon emits the one semicolon between two statements.
func (f *formatter) semicolon(i int) {
	f.gap(i)
	f.emit(";")
	f.at = int(f.lexed.tokens[i].end)
}

// skipTo emits the gaps before token i, a blank for each semicolon in them.
func (f *formatter) skipTo(i int) {
	for j := f.tokenAfter(); j < i; j++ {
		f.gap(j)
		f.run++
		f.at = int(f.lexed.tokens[j].end)
	}
	f.gap(i)
}

func (f *formatter) tokenAfter() int {
	lo, hi := 0, len(f.lexed.tokens)
	for lo < hi {
		mid := (lo + hi) / 2
		if int(f.lexed.tokens[mid].pos) < f.at {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// gap emits what stands between the last token and token i.
func (f *formatter) gap(i int) {
	end := len(f.text)
	if i < len(f.lexed.tokens) {
		end = int(f.lexed.tokens[i].pos)
	}
	for f.comment < len(f.comments) && int(f.comments[f.comment].before) <= i {
		c := f.comments[f.comment]
		f.comment++
		f.blanks(f.text[f.at:c.pos])
		f.emit(f.text[c.pos:c.end])
		f.at = int(c.end)
	}
	f.blanks(f.text[f.at:end])
	f.at = end
}

func (f *formatter) blanks(s string) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\n':
			f.lines++
			f.run = 0
		case '\r':
		default:
			f.run++
		}
	}
}
