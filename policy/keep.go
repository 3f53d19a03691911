package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/goccy/go-yaml/ast"
)

// RowsKept says which rows of results a recording keeps; always as the agent got
// them, masked. The zero value keeps none.
type RowsKept uint8

// What of the rows is kept.
const (
	RowsNone   RowsKept = iota
	RowsSample          // the first of each result, in the log
	RowsFull            // all, encrypted beside the log
)

// TerminalKept says whether a recording keeps what the command showed on its
// terminal. The zero value keeps nothing.
type TerminalKept uint8

// What of the terminal is kept.
const (
	TerminalNone   TerminalKept = iota
	TerminalOutput              // what was shown; never what was typed
)

// Keeping is what the recording of a session holds beside its statements.
type Keeping struct {
	Rows       RowsKept
	Sample     int // with RowsSample: how many rows of each result
	Terminal   TerminalKept
	Recipients []string // age recipients of what is kept encrypted
}

// maxSample bounds a sample: it stands in one event of the log.
const maxSample = 100

// Keeping is what the bundle wants recorded.
func (b *Bundle) Keeping() Keeping {
	k := b.keeping
	k.Recipients = slices.Clone(k.Recipients)
	return k
}

func (k Keeping) equal(other Keeping) bool {
	return k.Rows == other.Rows && k.Sample == other.Sample && k.Terminal == other.Terminal &&
		slices.Equal(k.Recipients, other.Recipients)
}

// loadKeeping reads what stands under recording in limits.yaml:
//
//	recording:
//	  rows: none            # none or sample:N (N up to 100); full is reserved
//	  terminal: none        # none or output
//	  recipients: [age1…]   # needed for full
//
// Every key may be left out; what is left out is not kept.
func loadKeeping(y yamlFile, node ast.Node) Keeping {
	var k Keeping
	for _, e := range y.mapping(node, "recording") {
		var err error
		switch e.key {
		case "rows":
			k.Rows, k.Sample, err = parseRows(y.text(e.node, e.key))
		case "terminal":
			k.Terminal, err = parseTerminal(y.text(e.node, e.key))
		case "recipients":
			for _, text := range y.texts(e.node, e.key) {
				if perr := checkRecipient(text); perr != nil {
					y.ps.add(y.name, e.line, "recipients: %v", perr)
				}
				k.Recipients = append(k.Recipients, text)
			}
		default:
			err = errors.New("unknown key: rows, terminal and recipients are known")
		}
		if err != nil {
			y.ps.add(y.name, e.line, "%s: %v", e.key, err)
		}
	}
	switch {
	case k.Rows == RowsFull && len(k.Recipients) == 0:
		y.ps.add(y.name, lineOf(node), "rows: full needs recipients: the age public keys that may read them")
	case k.Rows == RowsFull:
		y.ps.add(y.name, lineOf(node), "rows: full is not available in this version; use sample:N or none")
	}
	return k
}

func parseRows(s string) (RowsKept, int, error) {
	switch count, sample := strings.CutPrefix(s, "sample:"); {
	case s == "none":
		return RowsNone, 0, nil
	case s == "full":
		return RowsFull, 0, nil
	case sample:
		n, err := parseCount(count)
		if err == nil && n <= maxSample {
			return RowsSample, int(n), nil
		}
		return RowsNone, 0, fmt.Errorf("%q: a sample has 1 to %d rows, as in sample:10", s, maxSample)
	}
	return RowsNone, 0, fmt.Errorf("%q is not none, sample:N or full", s)
}

func parseTerminal(s string) (TerminalKept, error) {
	switch s {
	case "none":
		return TerminalNone, nil
	case "output":
		return TerminalOutput, nil
	}
	return TerminalNone, fmt.Errorf("%q is not none or output", s)
}

// checkRecipient takes public keys of age's own kinds. (A private one must not be
// quoted back.)
func checkRecipient(s string) error {
	if strings.ContainsAny(s, "\n\r#") {
		return errors.New("one of them is not one key")
	}
	if r, err := age.ParseRecipients(strings.NewReader(s)); err != nil || len(r) != 1 {
		return errors.New("one of them is not an age recipient (age1…, as age-keygen -y prints)")
	}
	return nil
}
