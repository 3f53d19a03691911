package cmd

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/policy/sql"
	"github.com/jit-access/jit/replay"
)

// explainOptions is what the flags of `jit policy explain` say.
type explainOptions struct {
	SQL, Bundle, Catalog string
	Groups               []string
	Subject              policy.Subject
	Setting              policy.Setting
	JSON, ExitCode       bool
}

func newPolicyExplainCommand(a *App) *cobra.Command {
	var o explainOptions
	c := &cobra.Command{
		Use:   "explain --sql TEXT",
		Short: "Say what a bundle makes of a statement, and why",
		Long: `Say what a bundle makes of a statement: what was understood, where each output
comes from and how it is masked, the verdict, and the rules that decided it.

Nothing is sent anywhere. Without the columns of the tables, a statement on them
is not wholly understood; --catalog names a YAML file that lists them:

  setting: {role: ANALYST, database: APP, schema: PUBLIC}
  subject: {user: ana, groups: [analysts]}
  catalog:
    APP.PUBLIC.CUSTOMERS: [ID, NAME, EMAIL]

It has the form of a bundle's tests/*.yaml, so one of those does too. Flags win
over the file. Exits with 0 whatever the verdict; with --exit-code, with 5 for
deny and 8 for hold.`,
		Example: `  jit policy explain --sql "SELECT email FROM customers" --catalog tables.yaml
  jit policy explain --sql "DROP DATABASE app" --bundle ./policy --json
  jit policy explain --sql - < report.sql`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.SQL == "" {
				return usagef("--sql is needed: a statement, or - for stdin")
			}
			return a.explain(c, o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.SQL, "sql", "", "the statement, or - to read it from stdin")
	f.StringVar(&o.Bundle, "bundle", "@default", "the bundle: a folder, a file, @default, @demo or @server")
	f.StringVar(&o.Catalog, "catalog", "", "YAML file with the tables' columns, the setting and the subject")
	f.StringVar(&o.Subject.User, "user", "", "who asks")
	f.StringSliceVar(&o.Groups, "group", nil, "a group of who asks; may be repeated")
	f.StringVar(&o.Subject.Agent, "agent", "", "the program that asks")
	f.StringVar(&o.Setting.Connection, "connection", "", "the connection")
	f.StringVar(&o.Setting.Role, "role", "", "the session's role")
	f.StringVar(&o.Setting.Warehouse, "warehouse", "", "the session's warehouse")
	f.StringVar(&o.Setting.Database, "database", "", "the current database, as Snowflake folds it")
	f.StringVar(&o.Setting.Schema, "schema", "", "the current schema, as Snowflake folds it")
	f.BoolVar(&o.JSON, "json", false, "print as JSON")
	f.BoolVar(&o.ExitCode, "exit-code", false, "exit with 5 for deny and 8 for hold")
	return c
}

func (a *App) explain(c *cobra.Command, o explainOptions) error {
	b, err := a.bundle(c.Context(), o.Bundle)
	if err != nil {
		return err
	}
	text := o.SQL
	if text == "-" {
		const largest = 2 << 20 // the analyser says no to half of it
		data, err := io.ReadAll(io.LimitReader(a.In, largest))
		if err != nil {
			return &Failure{What: "reading the statement from stdin", Err: err}
		}
		text = string(data)
	}
	var scene policy.Case
	if o.Catalog != "" {
		data, err := os.ReadFile(o.Catalog)
		if err != nil {
			return &Failure{Code: ExitUsage, What: "reading the catalog", Err: err}
		}
		if scene, err = policy.ParseScene(filepath.Base(o.Catalog), data); err != nil {
			return &Failure{Code: ExitUsage, What: "reading the catalog", Err: err}
		}
	}
	in := o.input(scene)
	x := b.Explain(text, in, scene.Catalog)
	if o.JSON {
		err = a.printJSON(explained(b, x))
	} else {
		err = a.printExplained(b, x)
	}
	if err == nil && o.ExitCode {
		switch x.Ruling.Verdict {
		case policy.Deny:
			return childExit{ExitDenied}
		case policy.Hold:
			return childExit{ExitPending}
		}
	}
	return err
}

// input lays the flags over the file.
func (o explainOptions) input(scene policy.Case) policy.Input {
	in := policy.Input{Subject: scene.Subject, Setting: scene.Setting}
	over := func(to *string, flag string) {
		if flag != "" {
			*to = flag
		}
	}
	over(&in.Subject.User, o.Subject.User)
	over(&in.Subject.Agent, o.Subject.Agent)
	if o.Groups != nil {
		in.Subject.Groups = o.Groups
	}
	over(&in.Setting.Connection, o.Setting.Connection)
	over(&in.Setting.Role, o.Setting.Role)
	over(&in.Setting.Warehouse, o.Setting.Warehouse)
	over(&in.Setting.Database, o.Setting.Database)
	over(&in.Setting.Schema, o.Setting.Schema)
	return in
}

type explainDoc struct {
	Verdict    string         `json:"verdict"`
	Rule       string         `json:"rule"`
	Reason     string         `json:"reason"`
	Approvals  int            `json:"approvals,omitempty"`
	Reviewers  []string       `json:"reviewers,omitempty"`
	Classes    []string       `json:"classes,omitempty"`
	Canonical  string         `json:"canonical,omitempty"`
	Statements []statementDoc `json:"statements"`
	Missing    []string       `json:"missing,omitempty"` // tables the catalog does not have
	Rules      []matchDoc     `json:"rules"`
	Limits     limitsDoc      `json:"limits"`
	Policy     string         `json:"policy"`
}

type statementDoc struct {
	Kind       string      `json:"kind"`
	Category   string      `json:"category"`
	Reads      []string    `json:"reads,omitempty"`
	Writes     []string    `json:"writes,omitempty"`
	Functions  []string    `json:"functions,omitempty"`
	Outputs    []outputDoc `json:"outputs,omitempty"`
	Predicates []string    `json:"predicates,omitempty"`
	Stored     []string    `json:"stored,omitempty"`
	Unknown    []string    `json:"unknown,omitempty"`
}

type outputDoc struct {
	Name  string   `json:"name"`
	From  []string `json:"from"`
	Class string   `json:"class,omitempty"`
	Mask  string   `json:"mask,omitempty"`
}

type matchDoc struct {
	Action   string `json:"action"`
	Resource string `json:"resource"`
	Access   string `json:"access"`
	Rule     string `json:"rule"`
	Effect   string `json:"effect"`
	File     string `json:"file"`
	Line     int    `json:"line"`
	Reason   string `json:"reason"`
}

func explained(b *policy.Bundle, x policy.Explanation) explainDoc {
	r := x.Ruling
	doc := explainDoc{Verdict: r.Verdict.String(), Rule: r.Rule, Reason: r.Reason, Approvals: r.Approvals, Reviewers: r.Reviewers,
		Classes: r.Classes, Statements: []statementDoc{}, Rules: []matchDoc{}, Limits: limitsOf(r.Limits), Policy: b.Digest()}
	for _, m := range x.Matches {
		doc.Rules = append(doc.Rules, matchDoc{m.Action, m.Resource, m.Access, m.Rule, effect(m.Permit), m.File, m.Line, m.Reason})
	}
	if x.Analysis == nil {
		return doc
	}
	doc.Canonical = x.Analysis.Canonical
	for _, m := range x.Analysis.Missing {
		doc.Missing = append(doc.Missing, m.String())
	}
	for i := range x.Analysis.Statements {
		doc.Statements = append(doc.Statements, explainedStatement(&x.Analysis.Statements[i], r.Masks[i]))
	}
	return doc
}

func explainedStatement(s *sql.Statement, masks []policy.ColumnMask) statementDoc {
	doc := statementDoc{Kind: string(s.Kind), Category: s.Category.String(), Reads: objectNames(s.Reads),
		Writes: objectNames(s.Writes), Predicates: columnNames(s.Predicates), Stored: columnNames(s.Stored)}
	for _, f := range s.Functions {
		doc.Functions = append(doc.Functions, f.Name)
	}
	for _, u := range s.Unknown {
		doc.Unknown = append(doc.Unknown, u.Text)
	}
	for n, o := range s.Outputs {
		out := outputDoc{Name: o.Name, From: columnNames(o.Labels)}
		if out.Name == "" {
			out.Name = fmt.Sprintf("$%d", n+1)
		}
		if n < len(masks) && masks[n].Hides() {
			out.Class, out.Mask = masks[n].Class, masks[n].Mask.String()
		}
		doc.Outputs = append(doc.Outputs, out)
	}
	return doc
}

func objectNames(objects []sql.Object) []string {
	var out []string
	for _, o := range objects {
		out = append(out, string(o.Kind)+" "+o.Name.String())
	}
	return out
}

func columnNames(l sql.Labels) []string {
	out := []string{}
	for _, c := range l.Columns {
		out = append(out, c.String())
	}
	if l.Top {
		out = append(out, "anything")
	}
	return out
}

// printExplained is the form for people.
func (a *App) printExplained(b *policy.Bundle, x policy.Explanation) error {
	doc := explained(b, x)
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 4, 2, ' ', 0)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) } // Flush reports the error
	line("verdict\t%s%s", doc.Verdict, needs(doc))
	line("rule\t%s", doc.Rule)
	line("reason\t%s", doc.Reason)
	for i, s := range doc.Statements {
		line("")
		line("statement %d\t%s (%s)", i+1, s.Kind, s.Category)
		list := func(what string, names []string) {
			if len(names) > 0 {
				line("  %s\t%s", what, strings.Join(names, ", "))
			}
		}
		list("reads", s.Reads)
		list("writes", s.Writes)
		list("functions", s.Functions)
		list("predicates", s.Predicates)
		list("stores", s.Stored)
		list("not understood", s.Unknown)
		for _, o := range s.Outputs {
			from := strings.Join(o.From, ", ")
			if from == "" {
				from = "no column"
			}
			shown := "as it is"
			if o.Mask != "" {
				shown = o.Class + ": " + o.Mask
			}
			line("  %s\t← %s\t%s", o.Name, from, shown)
		}
	}
	if len(doc.Missing) > 0 {
		line("")
		line("not in the catalog\t%s", strings.Join(doc.Missing, ", "))
	}
	if len(doc.Rules) > 0 {
		line("")
		for _, m := range doc.Rules {
			line("%s\t%s %s\t%s %s\t%s:%d", m.Effect, m.Action, m.Rule, m.Access, m.Resource, m.File, m.Line)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return a.printf("%s", replay.Visible(out.String()))
}

// needs says what a held statement waits for.
func needs(doc explainDoc) string {
	if doc.Approvals == 0 {
		return ""
	}
	s := fmt.Sprintf(", %s needed", count(doc.Approvals, "approval"))
	if len(doc.Reviewers) > 0 {
		s += " from " + strings.Join(doc.Reviewers, " or ")
	}
	return s
}
