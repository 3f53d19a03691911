package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/jit-access/jit/policy/sql"
)

// UnknownClass is the class of an output that may depend on data nobody could
// name. It has no columns and is redacted.
const UnknownClass = "unknown"

// class is one data class of classes.yaml.
type class struct {
	name   string
	about  string
	mask   Mask
	word   string   // of the detector
	detect detector // nil: by column name alone
	counts bool     // how many values there are may be shown
}

// parents are the classes above this one: pii.email is in pii.
func (c *class) parents() []string {
	var out []string
	for name := c.name; ; {
		i := strings.LastIndexByte(name, '.')
		if i < 0 {
			return out
		}
		name = name[:i]
		out = append(out, name)
	}
}

// glob is one pattern over DATABASE.SCHEMA.TABLE.COLUMN.
type glob struct {
	parts [4]globPart
	class *class
}

// globPart matches one name. Snowflake folds unquoted names to upper case, so
// an unquoted part stands for the name however it was cased; a part in double
// quotes is the exact name.
type globPart struct {
	text  string // folded to upper case unless exact
	exact bool
	any   bool // *
	wild  bool // has * or ?
}

func (p globPart) match(name string) bool {
	switch {
	case p.any:
		return true
	case p.exact:
		return p.text == name
	}
	name = strings.ToUpper(name)
	if !p.wild {
		return p.text == name
	}
	return wildcard(p.text, name)
}

// wildcard matches * (any run) and ? (any one byte) in linear space and
// without recursion.
func wildcard(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// classTable finds the classes of a column.
type classTable struct {
	byName map[string]*class
	sorted []*class          // by name
	exact  map[string][]glob // by upper-cased column name, for patterns that name the column
	wild   []glob            // patterns with a wildcard in the column
}

// of returns the classes of a column, sorted by name.
func (t *classTable) of(c sql.Column) []*class {
	var out []*class
	add := func(globs []glob) {
		for _, g := range globs {
			if !slices.Contains(out, g.class) &&
				g.parts[3].match(c.Name) && g.parts[2].match(c.Object.Name) &&
				g.parts[1].match(c.Object.Schema) && g.parts[0].match(c.Object.Database) {
				out = append(out, g.class)
			}
		}
	}
	add(t.exact[strings.ToUpper(c.Name)])
	add(t.wild)
	slices.SortFunc(out, func(a, b *class) int { return cmp.Compare(a.name, b.name) })
	return out
}

// globs lists every pattern, in the order of the file within each column name.
func (t *classTable) globs() []glob {
	out := slices.Clone(t.wild)
	for _, name := range slices.Sorted(maps.Keys(t.exact)) {
		out = append(out, t.exact[name]...)
	}
	return out
}

// known reports whether name is a class or the parent of one.
func (t *classTable) known(name string) bool {
	return name == UnknownClass || slices.ContainsFunc(t.sorted, func(c *class) bool {
		return c.name == name || strings.HasPrefix(c.name, name+".")
	})
}

func (t *classTable) add(g glob) {
	if col := g.parts[3]; col.wild {
		t.wild = append(t.wild, g)
	} else {
		key := strings.ToUpper(col.text)
		t.exact[key] = append(t.exact[key], g)
	}
}

// loadClasses reads classes.yaml:
//
//	classes:
//	  pii.email:
//	    about: e-mail addresses
//	    mask: redact
//	    counts: show
//	    columns: ["*.*.*.EMAIL"]
//	    detect: email
func loadClasses(name string, data []byte, ps *problems) classTable {
	t := classTable{byName: make(map[string]*class), exact: make(map[string][]glob)}
	y := yamlFile{name, ps}
	root := y.parse(data)
	if root == nil {
		return t
	}
	for _, e := range y.mapping(root, "the file") {
		if e.key != "classes" {
			ps.add(name, e.line, "unknown key %q: only classes is known", e.key)
			continue
		}
		for _, e := range y.mapping(e.node, "classes") {
			c := t.loadClass(y, e)
			if !validClassName(c.name) || c.name == UnknownClass {
				ps.add(name, e.line, "class name %q: use words of a-z, 0-9 and - joined by dots, other than %q", c.name, UnknownClass)
				continue
			}
			t.byName[c.name] = c
			t.sorted = append(t.sorted, c)
		}
	}
	slices.SortFunc(t.sorted, func(a, b *class) int { return cmp.Compare(a.name, b.name) })
	return t
}

func (t *classTable) loadClass(y yamlFile, e entry) *class {
	c := &class{name: e.key}
	covered := false
	for _, f := range y.mapping(e.node, "class "+e.key) {
		switch f.key {
		case "about":
			c.about = y.text(f.node, "about")
		case "mask":
			c.mask = y.mask(f.node)
		case "counts":
			switch word := y.text(f.node, "counts"); word {
			case "show":
				c.counts = true
			case "hide":
			default:
				y.ps.add(y.name, f.line, "unknown word %q: counts is show or hide", word)
			}
		case "columns":
			covered = true
			for _, n := range y.list(f.node, "columns") {
				parts, err := parseGlob(y.text(n, "a column pattern"))
				if err != nil {
					y.ps.add(y.name, lineOf(n), "%v", err)
					continue
				}
				t.add(glob{parts, c})
			}
		case "detect":
			covered = true
			c.word = y.text(f.node, "detect")
			if c.detect = detectorOf(c.word); c.detect == nil {
				y.ps.add(y.name, f.line, "unknown detector %q: %s are known", c.word, detectorWords)
			}
		default:
			y.ps.add(y.name, f.line, "unknown key %q: about, mask, counts, columns and detect are known", f.key)
		}
	}
	if c.mask == MaskNone {
		y.ps.add(y.name, e.line, "class %s has no mask: %s are known", e.key, maskWords())
	}
	if !covered {
		y.ps.add(y.name, e.line, "class %s covers nothing: give it columns or detect", e.key)
	}
	return c
}

func (y yamlFile) mask(n ast.Node) Mask {
	if _, ok := n.(*ast.NullNode); ok { // mask: null, unquoted
		return MaskNull
	}
	word := y.text(n, "mask")
	m, ok := ParseMask(word)
	if !ok {
		y.ps.add(y.name, lineOf(n), "unknown mask %q: %s are known", word, maskWords())
		return MaskRedact
	}
	return m
}

func validClassName(s string) bool {
	for _, part := range strings.Split(s, ".") {
		if part == "" || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

// parseGlob reads DATABASE.SCHEMA.TABLE.COLUMN.
func parseGlob(s string) (parts [4]globPart, err error) {
	rest := s
	for i := range parts {
		var ok bool
		parts[i], rest, ok = parseGlobPart(rest)
		last := i == len(parts)-1
		if !ok || last != (rest == "") || !last && rest[0] != '.' {
			return parts, fmt.Errorf("pattern %q: write DATABASE.SCHEMA.TABLE.COLUMN with * and ?, quoting other names", s)
		}
		if !last {
			rest = rest[1:]
		}
	}
	return parts, nil
}

func parseGlobPart(s string) (part globPart, rest string, ok bool) {
	if strings.HasPrefix(s, `"`) {
		var name strings.Builder
		for i := 1; i < len(s); i++ {
			if s[i] != '"' {
				name.WriteByte(s[i])
				continue
			}
			if i+1 < len(s) && s[i+1] == '"' {
				name.WriteByte('"')
				i++
				continue
			}
			return globPart{text: name.String(), exact: true}, s[i+1:], name.Len() > 0
		}
		return part, "", false
	}
	i := 0
	for i < len(s) && (s[i] == '*' || s[i] == '?' || s[i] == '_' || s[i] == '$' ||
		s[i] >= '0' && s[i] <= '9' || s[i] >= 'A' && s[i] <= 'Z' || s[i] >= 'a' && s[i] <= 'z') {
		i++
	}
	part = globPart{text: strings.ToUpper(s[:i])}
	part.any = part.text == "*"
	part.wild = strings.ContainsAny(part.text, "*?")
	return part, s[i:], i > 0
}
