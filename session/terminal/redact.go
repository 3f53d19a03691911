package terminal

// minSecret is the shortest secret that is looked for.
const minSecret = 8

// maxHeld bounds what is kept back for a secret that may go on.
const maxHeld = 64 << 10

// redactor stars secrets out of a stream that comes in pieces. It gives out what
// cannot be part of a secret any more and keeps the rest back.
type redactor struct {
	needles []needle
	visible bool // look only at what is shown, not at control sequences
	esc     escape
	held    []byte
	index   []int // where in held the bytes are that count
}

// needle finds one secret by Knuth, Morris and Pratt's automaton.
type needle struct {
	text  string
	fail  []int // length of the longest border of each prefix
	state int   // how much of text the stream ends with
}

func newRedactor(secrets []string, visible bool) *redactor {
	r := &redactor{visible: visible}
	seen := map[string]bool{}
	for _, s := range secrets {
		if len(s) >= minSecret && !seen[s] {
			seen[s] = true
			r.needles = append(r.needles, needle{text: s, fail: borders(s)})
		}
	}
	return r
}

func borders(s string) []int {
	fail := make([]int, len(s)+1)
	for i, k := 1, 0; i < len(s); i++ {
		for k > 0 && s[i] != s[k] {
			k = fail[k]
		}
		if s[i] == s[k] {
			k++
		}
		fail[i+1] = k
	}
	return fail
}

// add takes a piece of the stream and returns what can be shown.
func (r *redactor) add(b []byte) []byte {
	if len(r.needles) == 0 {
		return b
	}
	for _, c := range b {
		r.held = append(r.held, c)
		if r.visible && !r.esc.shows(c) {
			continue
		}
		r.index = append(r.index, len(r.held)-1)
		for i := range r.needles {
			if n := &r.needles[i]; n.next(c) {
				for _, at := range r.index[len(r.index)-len(n.text):] {
					r.held[at] = '*'
				}
			}
		}
	}
	keep := 0
	for _, n := range r.needles {
		keep = max(keep, n.state)
	}
	cut := len(r.held)
	if keep > 0 {
		cut = r.index[len(r.index)-keep]
	}
	if len(r.held)-cut > maxHeld {
		return r.rest()
	}
	return r.give(cut)
}

// give returns the first bytes of what is held.
func (r *redactor) give(cut int) []byte {
	out := append([]byte(nil), r.held[:cut]...)
	r.held = append(r.held[:0], r.held[cut:]...)
	gone := 0
	for gone < len(r.index) && r.index[gone] < cut {
		gone++
	}
	r.index = append(r.index[:0], r.index[gone:]...)
	for i := range r.index {
		r.index[i] -= cut
	}
	return out
}

// rest returns what is held at the end.
func (r *redactor) rest() []byte {
	for i := range r.needles {
		r.needles[i].state = 0
	}
	return r.give(len(r.held))
}

// next takes one byte and reports whether the secret is complete with it. Its
// state is then that of the secret's own longest border, so that what overlaps is
// found too.
func (n *needle) next(c byte) (found bool) {
	for n.state > 0 && n.text[n.state] != c {
		n.state = n.fail[n.state]
	}
	if n.text[n.state] == c {
		n.state++
	}
	if n.state == len(n.text) {
		n.state = n.fail[n.state]
		return true
	}
	return false
}

// escape follows control sequences (ECMA-48), as far as needed to tell them from
// what is shown.
type escape int

const (
	escNone      escape = iota
	escBegun            // after ESC
	escCSI              // ESC [ … until a byte from @ to ~
	escString           // ESC ] and its like, until BEL or ESC \
	escStringEnd        // ESC in a string
)

// shows takes one byte and reports whether it is one that is shown.
func (e *escape) shows(c byte) bool {
	switch *e {
	case escBegun:
		switch {
		case c == '[':
			*e = escCSI
		case c == ']' || c == 'P' || c == 'X' || c == '^' || c == '_':
			*e = escString
		case c < 0x20 || c > 0x2f: // what is below stands before the final byte
			*e = escNone
		}
		return false
	case escCSI:
		if c >= 0x40 && c <= 0x7e {
			*e = escNone
		}
		return false
	case escString, escStringEnd:
		switch {
		case c == 0x07, *e == escStringEnd && c == '\\':
			*e = escNone
		case c == 0x1b:
			*e = escStringEnd
		default:
			*e = escString
		}
		return false
	}
	if c == 0x1b {
		*e = escBegun
		return false
	}
	return c >= 0x20 && c != 0x7f
}
