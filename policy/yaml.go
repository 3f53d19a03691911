package policy

import (
	"errors"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// yamlFile reads one YAML file strictly: plain mappings, lists and scalars;
// no anchors, aliases, tags or merges, and no key twice. It goes on after a
// problem, so that all of them are reported at once.
type yamlFile struct {
	name string
	ps   *problems
}

// entry is one key of a mapping.
type entry struct {
	key  string
	line int
	node ast.Node
}

// parse returns the root mapping, or nil.
func (y yamlFile) parse(data []byte) ast.Node {
	f, err := parser.ParseBytes(data, 0)
	if err != nil {
		line := 0
		text := "not valid YAML"
		var se *yaml.SyntaxError
		if errors.As(err, &se) {
			text += ": " + se.Message
			if se.Token != nil && se.Token.Position != nil {
				line = se.Token.Position.Line
			}
		}
		y.ps.add(y.name, line, "%s", text)
		return nil
	}
	if len(f.Docs) != 1 || f.Docs[0].Body == nil {
		y.ps.add(y.name, 0, "the file must hold exactly one YAML document")
		return nil
	}
	return f.Docs[0].Body
}

func lineOf(n ast.Node) int {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 0
	}
	return n.GetToken().Position.Line
}

func (y yamlFile) mapping(n ast.Node, what string) []entry {
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		y.ps.add(y.name, lineOf(n), "%s must be a mapping", what)
		return nil
	}
	seen := make(map[string]bool, len(values))
	var out []entry
	for _, v := range values {
		line := lineOf(v.Key)
		key, ok := v.Key.(ast.Node).(*ast.StringNode)
		if !ok {
			y.ps.add(y.name, line, "a key of %s is not a plain word", what)
			continue
		}
		if seen[key.Value] {
			y.ps.add(y.name, line, "%q is there twice", key.Value)
			continue
		}
		seen[key.Value] = true
		out = append(out, entry{key.Value, line, v.Value})
	}
	return out
}

func (y yamlFile) list(n ast.Node, what string) []ast.Node {
	if s, ok := n.(*ast.SequenceNode); ok {
		return s.Values
	}
	y.ps.add(y.name, lineOf(n), "%s must be a list", what)
	return nil
}

// text reads a scalar as written: 12 and "12" alike.
func (y yamlFile) text(n ast.Node, what string) string {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value
	case *ast.LiteralNode:
		return strings.TrimSuffix(s.Value.Value, "\n")
	case *ast.IntegerNode:
		return s.Token.Value
	}
	y.ps.add(y.name, lineOf(n), "%s must be a text", what)
	return ""
}

func (y yamlFile) texts(n ast.Node, what string) []string {
	var out []string
	for _, v := range y.list(n, what) {
		out = append(out, y.text(v, what))
	}
	return out
}
