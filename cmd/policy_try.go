package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session/recording"
)

func newPolicyTestCommand(a *App) *cobra.Command {
	var asJSON bool
	var recordings []string
	c := &cobra.Command{
		Use:   "test [BUNDLE]",
		Short: "Run a bundle's tests, and past recordings against it",
		Long: `Run the tests of a bundle (tests/*.yaml). With --recording, also decide again on
every statement of past recordings and list the decisions that change. A
recording holds no catalog: statements whose tables its labels do not name are
counted as unsure, not as changed.

Exits with 1 if a test fails. A decision that changes is not a failure.`,
		Example: `  jit policy test ./policy
  jit policy test ./policy --recording ~/.local/state/jit/recordings/SESSION`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			b, err := a.bundle(c.Context(), oneBundle(args))
			if err != nil {
				return err
			}
			doc := testDoc{Failed: []failedDoc{}, Changed: []changedDoc{}}
			for _, r := range b.Test() {
				doc.add(r)
			}
			for _, dir := range recordings {
				if err := a.revisit(b, dir, &doc); err != nil {
					return err
				}
			}
			return a.printTests(doc, asJSON, len(recordings) > 0)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	c.Flags().StringArrayVar(&recordings, "recording", nil, "a recording's folder or session id to decide on again; may be repeated")
	return c
}

type testDoc struct {
	Tests      int          `json:"tests"`
	Failed     []failedDoc  `json:"failed"`
	Statements int          `json:"statements"` // of recordings
	Unsure     int          `json:"unsure"`
	Changed    []changedDoc `json:"changed"`
}

type failedDoc struct {
	File  string   `json:"file"`
	Line  int      `json:"line"`
	Name  string   `json:"name"`
	Wrong []string `json:"wrong"`
}

type changedDoc struct {
	Recording string `json:"recording"`
	Statement string `json:"statement"`
	Text      string `json:"text"`
	Before    string `json:"before"`
	After     string `json:"after"`
	Rule      string `json:"rule"`
}

func (d *testDoc) add(r policy.Result) {
	d.Tests++
	if len(r.Wrong) > 0 {
		d.Failed = append(d.Failed, failedDoc{r.Case.File, r.Case.Line, r.Case.Name, r.Wrong})
	}
}

// revisit decides again on the statements of one recording.
func (a *App) revisit(b *policy.Bundle, dir string, doc *testDoc) error {
	if !strings.ContainsRune(dir, filepath.Separator) {
		if own := filepath.Join(a.Paths.Recordings(), dir); isDir(own) {
			dir = own
		}
	}
	rec, err := recording.Open(dir)
	if err != nil {
		return &Failure{What: "reading the recording " + dir, Err: err}
	}
	defer rec.Close() //nolint:errcheck // read only
	s := rec.Session()
	sub := policy.Subject{User: s.Principal, Email: s.Email}
	set := policy.Setting{Connection: s.Connection, Role: s.Role, Warehouse: s.Warehouse, Database: s.Database, Schema: s.Schema, SessionID: s.ID, Emergency: s.Emergency}
	var past []policy.Past
	for e, err := range rec.Events() {
		if err != nil {
			return &Failure{What: "reading the recording " + dir, Err: err}
		}
		if e.Kind != recording.KindStatement || e.SQL == nil {
			continue
		}
		p := policy.Past{ID: e.Statement, Text: e.SQL.Text, Rule: e.SQL.Rule, Columns: e.SQL.Predicates}
		p.Verdict, _ = policy.ParseVerdict(e.SQL.Verdict) // unknown is Deny
		for _, o := range e.SQL.Outputs {
			p.Columns = append(p.Columns, o.From...)
		}
		past = append(past, p)
	}
	for _, r := range b.Revisit(sub, set, past) {
		doc.Statements++
		switch {
		case r.Unsure:
			doc.Unsure++
		case r.Changed():
			doc.Changed = append(doc.Changed, changedDoc{s.ID, r.Past.ID, r.Past.Text, r.Past.Verdict.String(), r.Ruling.Verdict.String(), r.Ruling.Rule})
		}
	}
	return nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func (a *App) printTests(doc testDoc, asJSON, recordings bool) error {
	if asJSON {
		if err := a.printJSON(doc); err != nil {
			return err
		}
		if len(doc.Failed) > 0 {
			return childExit{ExitError}
		}
		return nil
	}
	for _, f := range doc.Failed {
		if err := a.printf("%s:%d: %s: %s\n", f.File, f.Line, f.Name, strings.Join(f.Wrong, "; ")); err != nil {
			return err
		}
	}
	for _, c := range doc.Changed {
		if err := a.printf("%s: %s becomes %s by %s: %s\n", c.Recording, c.Before, c.After, c.Rule, replay.Visible(oneLine(c.Text))); err != nil {
			return err
		}
	}
	if recordings {
		if err := a.printf("%d of %s change, %d unsure\n", len(doc.Changed), count(doc.Statements, "decision"), doc.Unsure); err != nil {
			return err
		}
	}
	if len(doc.Failed) > 0 {
		return &Failure{What: fmt.Sprintf("%d of %s failed", len(doc.Failed), count(doc.Tests, "test"))}
	}
	return a.printf("ok: %s passed\n", count(doc.Tests, "test"))
}

// oneLine shortens a text to what fits a line.
func oneLine(s string) string {
	const longest = 120
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > longest {
		return string(r[:longest-1]) + "…"
	}
	return s
}
