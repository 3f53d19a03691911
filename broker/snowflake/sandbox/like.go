package sandbox

import (
	"database/sql/driver"
	"strings"
	"unicode"
)

// addLike gives SQLite Snowflake's LIKE, which has regard to case, and ILIKE,
// which has none. SQLite calls like(pattern, text [, escape]) for text LIKE
// pattern, and match(…) likewise for MATCH, which stands for ILIKE.
func addLike(add func(string, int32, scalar)) {
	for name, fold := range map[string]bool{"LIKE": false, "MATCH": true} {
		like := strict(func(a []driver.Value) (driver.Value, error) {
			escape := rune(0)
			if len(a) == 3 {
				for _, r := range show(a[2]) {
					escape = r
				}
			}
			if likeMatch(show(a[0]), show(a[1]), escape, fold) {
				return int64(1), nil
			}
			return int64(0), nil
		})
		add(name, 2, like)
		// The driver takes a name once; SQLite has no regard to its case.
		add(strings.ToLower(name), 3, like)
	}
}

// likeMatch is whether s matches a LIKE pattern. escape makes the rune after it
// stand for itself; 0 is no escape.
func likeMatch(pattern, s string, escape rune, fold bool) bool {
	var p []rune
	var wild []bool // p[i] is % or _ with its meaning
	escaped := false
	for _, r := range pattern {
		if !escaped && escape != 0 && r == escape {
			escaped = true
			continue
		}
		p = append(p, r)
		wild = append(wild, !escaped && (r == '%' || r == '_'))
		escaped = false
	}
	same := func(a, b rune) bool {
		return a == b || fold && unicode.ToUpper(a) == unicode.ToUpper(b)
	}
	t := []rune(s)
	i, j, star, at := 0, 0, -1, 0
	for j < len(t) {
		switch {
		case i < len(p) && wild[i] && p[i] == '%':
			star, at = i, j
			i++
		case i < len(p) && (wild[i] || same(p[i], t[j])):
			i++
			j++
		case star >= 0:
			at++
			i, j = star+1, at
		default:
			return false
		}
	}
	for i < len(p) && wild[i] && p[i] == '%' {
		i++
	}
	return i == len(p)
}
