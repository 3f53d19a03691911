package snowflake

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// ErrMalformed reports bytes that are not the strict JSON this package reads:
// RFC 8259, valid UTF-8, no byte order mark, no duplicate keys, no lone
// surrogates, nothing after the value.
var ErrMalformed = errors.New("malformed JSON")

// maxDepth bounds nesting. Snowflake's own values nest a handful of levels;
// semi-structured cells are strings and do not count.
const maxDepth = 128

func malformed(pos int, what string) error {
	return fmt.Errorf("%w at byte %d: %s", ErrMalformed, pos, what)
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// stringStops marks the bytes that end the fast walk through a string.
var stringStops = func() (t [256]bool) {
	for c := range 0x20 {
		t[c] = true
	}
	t['"'], t['\\'] = true, true
	return t
}()

// skipString returns the index after the string that starts at b[i], and
// whether it contains escapes. The bytes must already be valid UTF-8.
func skipString(b []byte, i int) (end int, escaped bool, err error) {
	if i >= len(b) || b[i] != '"' {
		return i, false, malformed(i, "a string was expected")
	}
	for j := i + 1; j < len(b); j++ {
		c := b[j]
		if !stringStops[c] {
			continue
		}
		switch c {
		case '"':
			return j + 1, escaped, nil
		case '\\':
			escaped = true
			n, err := escapeLen(b, j)
			if err != nil {
				return j, true, err
			}
			j += n - 1
		default:
			return j, escaped, malformed(j, "a control character in a string")
		}
	}
	return len(b), escaped, malformed(i, "the string does not end")
}

// escapeLen validates the escape at b[i] and returns its length. A surrogate
// pair counts as one escape; a lone surrogate is an error, because readers
// disagree on what it means.
func escapeLen(b []byte, i int) (int, error) {
	if i+1 >= len(b) {
		return 0, malformed(i, "the escape does not end")
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, nil
	case 'u':
		u, ok := hex4(b, i+2)
		switch {
		case !ok:
			return 0, malformed(i, "a bad unicode escape")
		case u < 0xD800 || u > 0xDFFF:
			return 6, nil
		case u >= 0xDC00:
			return 0, malformed(i, "a lone surrogate")
		}
		if i+7 < len(b) && b[i+6] == '\\' && b[i+7] == 'u' {
			if low, ok := hex4(b, i+8); ok && low >= 0xDC00 && low <= 0xDFFF {
				return 12, nil
			}
		}
		return 0, malformed(i, "a lone surrogate")
	}
	return 0, malformed(i, "an unknown escape")
}

func hex4(b []byte, i int) (rune, bool) {
	if i+4 > len(b) {
		return 0, false
	}
	var r rune
	for _, c := range b[i : i+4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// appendUnescaped decodes the inside of a string that skipString accepted.
func appendUnescaped(dst, inside []byte) []byte {
	for i := 0; i < len(inside); {
		c := inside[i]
		if c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		switch inside[i+1] {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			u, _ := hex4(inside, i+2)
			i += 6
			if u >= 0xD800 && u <= 0xDFFF {
				low, _ := hex4(inside, i+2)
				u = (u-0xD800)<<10 + (low - 0xDC00) + 0x10000
				i += 6
			}
			dst = utf8.AppendRune(dst, u)
			continue
		default: // '"', '\\', '/'
			dst = append(dst, inside[i+1])
		}
		i += 2
	}
	return dst
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string that every driver's reader accepts,
// also the hand-written ones of result chunks: raw UTF-8, escapes only for
// quote, backslash and control characters, of those only \n, \r and \t short.
// Invalid UTF-8 becomes U+FFFD.
func AppendString(dst []byte, s []byte) []byte {
	dst = append(dst, '"')
	if plainCell(s) && utf8.Valid(s) { // nearly all
		return append(append(dst, s...), '"')
	}
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(dst, s[start:i]...)
				dst = append(dst, "\uFFFD"...)
				i++
				start = i
				continue
			}
			i += n
			continue
		}
		if !stringStops[c] {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// skipValue returns the index after the value that starts at b[i] (no leading
// space), validating all of it, duplicate keys included.
func skipValue(b []byte, i, depth int) (int, error) {
	if depth > maxDepth {
		return i, malformed(i, "nested too deeply")
	}
	if i >= len(b) {
		return i, malformed(i, "a value was expected")
	}
	switch c := b[i]; {
	case c == '"':
		end, _, err := skipString(b, i)
		return end, err
	case c == '{':
		return eachMember(b, i, depth, func([]byte, int, int) error { return nil })
	case c == '[':
		return eachElement(b, i, depth, func(int, int) error { return nil })
	case c == 't':
		return skipWord(b, i, "true")
	case c == 'f':
		return skipWord(b, i, "false")
	case c == 'n':
		return skipWord(b, i, "null")
	case c == '-' || c >= '0' && c <= '9':
		return skipNumber(b, i)
	}
	return i, malformed(i, "a value was expected")
}

func skipWord(b []byte, i int, word string) (int, error) {
	if i+len(word) > len(b) || string(b[i:i+len(word)]) != word {
		return i, malformed(i, "an unknown word")
	}
	return i + len(word), nil
}

func skipNumber(b []byte, i int) (int, error) {
	start := i
	if i < len(b) && b[i] == '-' {
		i++
	}
	digits := func() bool {
		from := i
		for i < len(b) && b[i] >= '0' && b[i] <= '9' {
			i++
		}
		return i > from
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if !digits() {
		return start, malformed(start, "a bad number")
	}
	if i < len(b) && b[i] == '.' {
		i++
		if !digits() {
			return start, malformed(start, "a bad number")
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if !digits() {
			return start, malformed(start, "a bad number")
		}
	}
	return i, nil
}

// eachMember walks the object at b[i], calling f with each decoded key and the
// span of its value, and returns the index after the object.
func eachMember(b []byte, i, depth int, f func(key []byte, start, end int) error) (int, error) {
	var seen keySet
	open := i
	if i >= len(b) || b[i] != '{' {
		return i, malformed(i, "an object was expected")
	}
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1, nil
	}
	for {
		end, escaped, err := skipString(b, i)
		if err != nil {
			return i, err
		}
		key := b[i+1 : end-1]
		if escaped {
			key = appendUnescaped(nil, key)
		}
		if !seen.add(key) {
			return i, malformed(i, "a duplicate key")
		}
		i = skipSpace(b, end)
		if i >= len(b) || b[i] != ':' {
			return i, malformed(i, "a colon was expected")
		}
		start := skipSpace(b, i+1)
		if i, err = skipValue(b, start, depth+1); err != nil {
			return i, err
		}
		if err := f(key, start, i); err != nil {
			return i, err
		}
		i = skipSpace(b, i)
		switch {
		case i >= len(b):
			return i, malformed(open, "the object does not end")
		case b[i] == '}':
			return i + 1, nil
		case b[i] != ',':
			return i, malformed(i, "a comma was expected")
		}
		i = skipSpace(b, i+1)
	}
}

// eachElement walks the array at b[i], calling f with each element's span, and
// returns the index after the array.
func eachElement(b []byte, i, depth int, f func(start, end int) error) (int, error) {
	open := i
	if i >= len(b) || b[i] != '[' {
		return i, malformed(i, "an array was expected")
	}
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == ']' {
		return i + 1, nil
	}
	for {
		start := i
		var err error
		if i, err = skipValue(b, start, depth+1); err != nil {
			return i, err
		}
		if err := f(start, i); err != nil {
			return i, err
		}
		i = skipSpace(b, i)
		switch {
		case i >= len(b):
			return i, malformed(open, "the array does not end")
		case b[i] == ']':
			return i + 1, nil
		case b[i] != ',':
			return i, malformed(i, "a comma was expected")
		}
		i = skipSpace(b, i+1)
	}
}

// keySet finds duplicate keys: by comparison while there are few, by map after.
type keySet struct {
	few  [24][]byte
	n    int
	many map[string]struct{}
}

func (s *keySet) add(key []byte) bool {
	if s.many == nil {
		for _, k := range s.few[:s.n] {
			if string(k) == string(key) {
				return false
			}
		}
		if s.n < len(s.few) {
			s.few[s.n] = key
			s.n++
			return true
		}
		s.many = make(map[string]struct{}, 2*len(s.few))
		for _, k := range s.few {
			s.many[string(k)] = struct{}{}
		}
	}
	if _, ok := s.many[string(key)]; ok {
		return false
	}
	s.many[string(key)] = struct{}{}
	return true
}
