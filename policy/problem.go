package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong with a bundle.
type Problem struct {
	File string // path inside the bundle
	Line int    // from 1; 0 = the file as a whole
	Text string // what is wrong and how to put it right
}

// String formats the problem as file:line: text.
func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// BundleError reports everything wrong with a bundle at once. A bundle with a
// BundleError decides nothing.
type BundleError struct{ Problems []Problem }

func (e *BundleError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return "the policy bundle has problems:\n" + strings.Join(lines, "\n")
}

// problems collects what a loader finds.
type problems struct{ list []Problem }

func (p *problems) add(file string, line int, format string, args ...any) {
	p.list = append(p.list, Problem{File: file, Line: line, Text: fmt.Sprintf(format, args...)})
}

// err returns nil, or a BundleError sorted by file and line.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Text, b.Text))
	})
	return &BundleError{Problems: slices.Compact(p.list)}
}
