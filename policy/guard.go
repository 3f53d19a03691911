package policy

import (
	"bytes"
	"path"
)

// The parsers of Cedar and YAML recurse, and need memory that grows faster than
// their input, when a text nests deeply. A bundle comes over the network, so its
// files are measured before a parser sees them. People nest a few levels.
const (
	maxFileBytes = 256 << 10
	maxNesting   = 48
)

// guard reports what makes a file too large or too deep to parse.
func guard(name string, data []byte, ps *problems) bool {
	if len(data) > maxFileBytes {
		ps.add(name, 0, "the file is larger than %d KiB: split it", maxFileBytes>>10)
		return false
	}
	// Brackets are counted wherever they stand, in texts and comments too: no
	// second lexer has to agree with the parser's. Round ones nest in Cedar
	// only; in YAML they are SQL.
	cedar := path.Ext(name) == ".cedar"
	depth, marks := 0, 0
	for i, c := range data {
		switch c {
		case '(':
			if cedar {
				depth++
			}
		case '[', '{':
			depth++
		case ')':
			if cedar {
				depth = max(depth-1, 0)
			}
		case ']', '}':
			depth = max(depth-1, 0)
		}
		switch c { // !!x, - - x, ? ? x: one level each
		case '!', '-', '?':
			marks++
		case ' ', '\t':
		case '\n':
			if !cedar || comment(data, i) {
				marks = 0
			}
		default:
			marks = 0
		}
		if depth > maxNesting || marks > maxNesting && !comment(data, i) {
			ps.add(name, bytes.Count(data[:i], []byte("\n"))+1, "nested more than %d levels deep", maxNesting)
			return false
		}
	}
	return true
}

// comment reports whether position i lies in a line that is a comment, where
// people draw rulers.
func comment(data []byte, i int) bool {
	line := data[bytes.LastIndexByte(data[:i], '\n')+1:]
	line = bytes.TrimLeft(line, " \t")
	return bytes.HasPrefix(line, []byte("//")) || bytes.HasPrefix(line, []byte("#"))
}
