package policy

import (
	"github.com/cedar-policy/cedar-go"

	"github.com/jit-access/jit/policy/sql"
)

// Match is a rule that decided one question about a statement.
type Match struct {
	Action   string // run or runUnattended
	Resource string // as Cedar writes it: Table::"APP.PUBLIC.ORDERS"
	Access   string // statement, read or write
	Rule     string
	Permit   bool
	Reason   string
	File     string
	Line     int
}

func (e *evaluation) heard(a action, resource cedar.EntityUID, access string, rules []*rule) {
	if e.trace == nil {
		return
	}
	for _, r := range rules {
		e.trace(Match{Action: actionNames[a], Resource: resource.String(), Access: access,
			Rule: r.id, Permit: r.permit, Reason: r.reason, File: r.file, Line: r.line})
	}
}

// Explanation is everything a bundle makes of a text.
type Explanation struct {
	// Analysis is nil if the text could not be read; Problem then says why.
	Analysis *sql.Analysis
	Problem  error
	Ruling   Ruling
	Matches  []Match
}

// Explain analyses a text and decides on it, as the broker does, and tells how.
// in.Statements is ignored.
func (b *Bundle) Explain(text string, in Input, catalog sql.Catalog) Explanation {
	var x Explanation
	names := sql.Context{Database: in.Setting.Database, Schema: in.Setting.Schema}
	if x.Analysis, x.Problem = sql.Analyze(text, names, catalog); x.Problem != nil {
		x.Analysis = nil
		x.Ruling.decide(Deny, builtin(ruleUnreadable, "The text could not be read: "+x.Problem.Error()))
		return x
	}
	in.Statements = x.Analysis.Statements
	x.Ruling = b.statement(in, func(m Match) { x.Matches = append(x.Matches, m) })
	return x
}

// Masked lists the names of the outputs that are hidden, statement by
// statement; an output without a name is listed as its position, $1.
func (x Explanation) Masked() []string {
	out := []string{}
	for i, masks := range x.Ruling.Masks {
		for n, cm := range masks {
			if cm.Hides() {
				out = append(out, outputName(&x.Analysis.Statements[i], n))
			}
		}
	}
	return out
}
