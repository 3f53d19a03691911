package cmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/policy"
)

func newPolicyCommand(a *App) *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "Check, test, explain, compare and push policy bundles",
		Long: `Check, test, explain, compare and push policy bundles.

A bundle is a folder: *.cedar (rules), classes.yaml (data classes and masks),
limits.yaml (budgets) and tests/*.yaml (statements with the verdict they must
get). Where a command takes a BUNDLE, give a folder, a file that ` + "`jit policy show`" + `
wrote, or one of these names:

  @default   the bundle shipped with jit
  @demo      the bundle of ` + "`jit demo`" + `
  @server    the active bundle of the approval server`,
		Example: `  jit policy check ./policy
  jit policy explain --sql "SELECT email FROM app.public.customers" --catalog tables.yaml
  jit policy diff @server ./policy
  jit policy push ./policy`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newPolicyCheckCommand(a), newPolicyTestCommand(a), newPolicyExplainCommand(a),
		newPolicyShowCommand(a), newPolicyDiffCommand(a), newPolicyPushCommand(a), newPolicySuggestCommand(a))
	return c
}

// bundle reads the bundle a command was given.
func (a *App) bundle(ctx context.Context, from string) (*policy.Bundle, error) {
	switch from {
	case "@default":
		return policy.Default(), nil
	case "@demo":
		return policy.Demo(), nil
	case "@server":
		client, _, err := a.client(ctx)
		if err != nil {
			return nil, err
		}
		_, data, err := client.Policy(ctx)
		if err != nil {
			return nil, &Failure{What: "fetching the policy of the server", Err: err}
		}
		return parseBundle(from, data)
	}
	info, err := os.Stat(from)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &Failure{Code: ExitUsage, What: "there is no bundle " + from, Fix: "Give a folder with *.cedar files, or @default, @demo or @server."}
	case err != nil:
		return nil, &Failure{What: "opening the bundle", Err: err}
	case info.IsDir():
		b, err := policy.Load(os.DirFS(from))
		if err != nil {
			return nil, bundleFailure(from, err)
		}
		return b, nil
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return nil, &Failure{What: "opening the bundle", Err: err}
	}
	return parseBundle(from, data)
}

func parseBundle(from string, data []byte) (*policy.Bundle, error) {
	b, err := policy.Parse(data)
	if err != nil {
		return nil, bundleFailure(from, err)
	}
	return b, nil
}

func bundleFailure(from string, err error) error {
	return &Failure{What: "loading " + from, Err: err, Fix: "Nothing was changed. Mend the lines above and run `jit policy check` again."}
}

// oneBundle is the argument of commands that take one bundle.
func oneBundle(args []string) string {
	if len(args) == 0 {
		return "@default"
	}
	return args[0]
}

type problemDoc struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"`
	Text string `json:"text"`
}

type bundleDoc struct {
	OK       bool         `json:"ok"`
	Digest   string       `json:"digest,omitempty"`
	Rules    int          `json:"rules"`
	Classes  int          `json:"classes"`
	Tests    int          `json:"tests"`
	Problems []problemDoc `json:"problems"`
}

func newPolicyCheckCommand(a *App) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "check [BUNDLE]",
		Short: "Report everything wrong with a bundle, with file and line",
		Long: `Report everything wrong with a bundle at once, with file and line: Cedar errors,
facts and entities that do not exist, rules that can never fire, classes and
masks nobody defined, patterns that match nothing, tests that name rules which
are gone. The approval server refuses a bundle that does not pass.

Exits with 1 if there is a problem.`,
		Example: "  jit policy check ./policy\n  jit policy check ./policy --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			b, err := a.bundle(c.Context(), oneBundle(args))
			var wrong *policy.BundleError
			if err != nil && !(asJSON && errors.As(err, &wrong)) {
				return err
			}
			doc := bundleDoc{OK: err == nil, Problems: []problemDoc{}}
			if wrong != nil {
				for _, p := range wrong.Problems {
					doc.Problems = append(doc.Problems, problemDoc(p))
				}
			} else {
				doc.Digest, doc.Rules, doc.Classes, doc.Tests = b.Digest(), len(b.Rules()), len(b.Classes()), len(b.Cases())
			}
			if asJSON {
				return errors.Join(a.printJSON(doc), quietly(err))
			}
			return a.printf("ok: %s, %s, %s\ndigest %s\n", count(doc.Rules, "rule"), count(doc.Classes, "data class"), count(doc.Tests, "test"), doc.Digest)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}

// quietly keeps the exit code of an error whose text has been printed.
func quietly(err error) error {
	if err == nil {
		return nil
	}
	code, _ := exitOf(err)
	return childExit{code}
}

// count says how many.
func count(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "s"):
		return fmt.Sprintf("%d %ses", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func newPolicyShowCommand(a *App) *cobra.Command {
	var asJSON bool
	var output string
	c := &cobra.Command{
		Use:   "show [BUNDLE [FILE]]",
		Short: "Print a bundle, or one of its files",
		Long: `Print a bundle as one text (in the form of a txtar archive) that every other policy command
reads back, or one file of it. With --json: its rules, classes and budgets. With
--output: its files, in a new folder, to be edited.`,
		Example: `  jit policy show @server --output ./policy
  jit policy show @server > active.txtar
  jit policy show @default statements.cedar
  jit policy show ./policy --json`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			b, err := a.bundle(c.Context(), oneBundle(args))
			if err != nil {
				return err
			}
			switch {
			case asJSON && len(args) == 2:
				return usagef("--json describes a whole bundle: leave %s out", args[1])
			case output != "" && len(args) == 2:
				return usagef("--output writes a whole bundle: leave %s out", args[1])
			case asJSON:
				return a.printJSON(describe(b))
			case output != "":
				return writeBundleFolder(b, output)
			case len(args) == 2:
				data, ok := b.File(args[1])
				if !ok {
					return &Failure{Code: ExitUsage, What: "the bundle has no file " + args[1], Fix: "It has " + strings.Join(b.Files(), ", ") + "."}
				}
				return a.printf("%s", data)
			}
			return a.printf("%s", b.Format())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print rules, classes and budgets as JSON")
	c.Flags().StringVarP(&output, "output", "o", "", "write the files into this `FOLDER`, which must not exist yet")
	c.MarkFlagsMutuallyExclusive("json", "output")
	return c
}

type ruleDoc struct {
	ID        string   `json:"id"`
	Effect    string   `json:"effect"`
	Actions   []string `json:"actions"`
	Reason    string   `json:"reason"`
	Reviewers []string `json:"reviewers,omitempty"`
	Approvals int      `json:"approvals,omitempty"`
	File      string   `json:"file"`
	Line      int      `json:"line"`
}

type classDoc struct {
	Name    string   `json:"name"`
	About   string   `json:"about,omitempty"`
	Mask    string   `json:"mask"`
	Counts  string   `json:"counts"`
	Detect  string   `json:"detect,omitempty"`
	Columns []string `json:"columns,omitempty"`
}

type limitsDoc struct {
	Statements int64  `json:"statements,omitempty"`
	Rows       int64  `json:"rows,omitempty"`
	Bytes      int64  `json:"bytes,omitempty"`
	Wall       string `json:"wall,omitempty"`
}

type describedDoc struct {
	Digest  string               `json:"digest"`
	Rules   []ruleDoc            `json:"rules"`
	Classes []classDoc           `json:"classes"`
	Limits  map[string]limitsDoc `json:"limits"`
}

func describe(b *policy.Bundle) describedDoc {
	doc := describedDoc{Digest: b.Digest(), Rules: []ruleDoc{}, Classes: []classDoc{}}
	for _, r := range b.Rules() {
		doc.Rules = append(doc.Rules, ruleDoc{r.ID, effect(r.Permit), r.Actions, r.Reason, r.Reviewers, r.Approvals, r.File, r.Line})
	}
	for _, c := range b.Classes() {
		doc.Classes = append(doc.Classes, classDoc{c.Name, c.About, c.Mask.String(), shownOrHidden(c.Counts), c.Detect, c.Columns})
	}
	statement, session, statements := b.Budgets()
	doc.Limits = map[string]limitsDoc{"statement": limitsOf(statement), "session": limitsOf(session)}
	s := doc.Limits["session"]
	s.Statements = statements
	doc.Limits["session"] = s
	return doc
}

func shownOrHidden(shown bool) string {
	if shown {
		return "show"
	}
	return "hide"
}

func limitsOf(l policy.Limits) limitsDoc {
	d := limitsDoc{Rows: l.Rows, Bytes: l.Bytes}
	if l.Wall > 0 {
		d.Wall = l.Wall.String()
	}
	return d
}

func effect(permit bool) string {
	if permit {
		return "permit"
	}
	return "forbid"
}

func newPolicyDiffCommand(a *App) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Compare two bundles: rules, classes, budgets and decisions",
		Long: `Compare two bundles: rules by their @id, data classes, budgets, and every test of
either whose decision is another one under the other.`,
		Example: "  jit policy diff @server ./policy\n  jit policy diff @default @demo --json",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			before, err := a.bundle(c.Context(), args[0])
			if err != nil {
				return err
			}
			after, err := a.bundle(c.Context(), args[1])
			if err != nil {
				return err
			}
			changes := policy.Diff(before, after)
			if asJSON {
				type changeDoc struct {
					What string `json:"what"`
					How  string `json:"how"`
				}
				docs := []changeDoc{}
				for _, ch := range changes {
					docs = append(docs, changeDoc(ch))
				}
				return a.printJSON(docs)
			}
			if len(changes) == 0 {
				return a.printf("no difference\n")
			}
			for _, ch := range changes {
				if err := a.printf("%s: %s\n", ch.What, ch.How); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}

func newPolicyPushCommand(a *App) *cobra.Command {
	var dryRun, end bool
	c := &cobra.Command{
		Use:   "push BUNDLE",
		Short: "Make a bundle the active one of the approval server",
		Long: `Check a bundle, run its tests, and make it the active one of the approval server.
A bundle that does not check, or whose tests fail, is not sent; the server checks
again. Only administrators may push. New sessions use the new bundle; sessions
that are open keep the one they started with.

With --dry-run the bundle decides nothing yet: sessions opened from now on record
where it would have decided otherwise, and ` + "`jit replay`" + ` shows it. Pushing it
without --dry-run makes it active; --end-dry-run ends the dry run.`,
		Example: `  jit policy diff @server ./policy && jit policy push ./policy
  jit policy push ./policy --dry-run
  jit policy push --end-dry-run`,
		Args: func(c *cobra.Command, args []string) error {
			if end {
				return cobra.NoArgs(c, args)
			}
			return cobra.ExactArgs(1)(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			if end {
				return a.endDryRun(c.Context())
			}
			b, err := a.bundle(c.Context(), args[0])
			if err != nil {
				return err
			}
			if failed := slices.DeleteFunc(b.Test(), func(r policy.Result) bool { return len(r.Wrong) == 0 }); len(failed) > 0 {
				return &Failure{What: fmt.Sprintf("pushing %s: %s failed", args[0], count(len(failed), "test")), Fix: "Run `jit policy test " + args[0] + "` to see them. The active bundle stays."}
			}
			client, _, err := a.client(c.Context())
			if err != nil {
				return err
			}
			push, state := client.PushPolicy, "active"
			if dryRun {
				push, state = client.DryRunPolicy, "dry run"
			}
			digest, err := push(c.Context(), b.Format())
			if err != nil {
				return &Failure{What: "pushing " + args[0], Err: err}
			}
			return a.printf("%s: %s\n", state, digest)
		},
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only record where it would decide otherwise")
	c.Flags().BoolVar(&end, "end-dry-run", false, "end the dry run")
	c.MarkFlagsMutuallyExclusive("dry-run", "end-dry-run")
	return c
}

func (a *App) endDryRun(ctx context.Context) error {
	client, _, err := a.client(ctx)
	if err != nil {
		return err
	}
	if _, err := client.DryRunPolicy(ctx, nil); err != nil {
		return &Failure{What: "ending the dry run", Err: err}
	}
	a.say("The dry run has ended.")
	return nil
}
