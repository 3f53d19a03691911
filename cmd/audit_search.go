package cmd

import (
	"context"
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session/approval"
)

// searchOptions is what the flags of `jit audit search` say.
type searchOptions struct {
	Query        approval.Search
	Since, Until string
	Limit        int
	All          bool
	JSON, CSV    bool
	OCSF         bool
}

func newAuditSearchCommand(a *App) *cobra.Command {
	var o searchOptions
	c := &cobra.Command{
		Use:   "search",
		Short: "Find who accessed what, and when",
		Long: `Find recorded statements by what they touched, newest first.

Members of the auditor group find everybody's statements, others their own. A
statement is found once its recording was cosigned, seconds after it ran. The
verdict is the policy's; whether a held statement ran is in the recording.

--table and --column take a name with as many parts as needed (ORDERS,
SALES.ORDERS, DB.SALES.ORDERS), in any letter case; ? finds statements that may
touch something nobody could name. --text takes words that all occur.`,
		Example: `  jit audit search --table SALES.ORDERS --since 7d
  jit audit search --column CUSTOMERS.EMAIL --user alice@example.com --json
  jit audit search --verdict deny --since 2026-01-01 --until 2026-02-01 --all --csv > denied.csv
  jit audit search --emergency --since 30d
  jit audit search --since 24h --all --ocsf > events.jsonl`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.auditSearch(c.Context(), o) },
	}
	f := c.Flags()
	f.StringVar(&o.Query.Table, "table", "", "read or written table or view")
	f.StringVar(&o.Query.Column, "column", "", "column in the result or in a condition")
	f.StringVar(&o.Query.User, "user", "", "who: e-mail or subject")
	f.StringVar(&o.Query.Agent, "agent", "", "program that ran it, such as claude")
	f.StringVar(&o.Query.Session, "session", "", "id of the session")
	f.StringVar(&o.Query.Verdict, "verdict", "", "allow, hold or deny")
	f.BoolVar(&o.Query.Emergency, "emergency", false, "only what ran with emergency access")
	f.StringVar(&o.Query.Text, "text", "", "words of the statement")
	f.StringVar(&o.Since, "since", "", "from then on: a date, a time, or so long ago (30m, 24h, 7d)")
	f.StringVar(&o.Until, "until", "", "before then: alike")
	f.IntVar(&o.Limit, "limit", 0, "at most so many (default 100)")
	f.BoolVar(&o.All, "all", false, "all of them, page by page")
	f.StringVar(&o.Query.After, "after", "", "go on after the page that named this position")
	f.BoolVar(&o.JSON, "json", false, "print JSON")
	f.BoolVar(&o.CSV, "csv", false, "print CSV")
	f.BoolVar(&o.OCSF, "ocsf", false, "print OCSF events (Datastore Activity), as JSON lines")
	c.MarkFlagsMutuallyExclusive("json", "csv", "ocsf")
	c.MarkFlagsMutuallyExclusive("limit", "all")
	return c
}

// Search pages of the command.
const (
	searchPage  = 1000
	searchLimit = 100
)

func (a *App) auditSearch(ctx context.Context, o searchOptions) error {
	for _, t := range []struct {
		flag, text string
		to         *time.Time
	}{{"since", o.Since, &o.Query.Since}, {"until", o.Until, &o.Query.Until}} {
		var err error
		if *t.to, err = parseWhen(t.text, a.Now()); err != nil {
			return usagef("--%s %q: %w", t.flag, t.text, err)
		}
	}
	if v := o.Query.Verdict; v != "" && v != "allow" && v != "hold" && v != "deny" {
		return usagef("--verdict %q must be allow, hold or deny", v)
	}
	if o.Limit < 0 {
		return usagef("--limit must not be negative")
	}
	client, _, err := a.client(ctx)
	if err != nil {
		return err
	}
	found, err := collect(ctx, client, o)
	if err != nil {
		return &Failure{What: "searching", Err: err}
	}
	switch {
	case o.JSON:
		return a.printJSON(found)
	case o.CSV:
		err = a.searchCSV(found)
	case o.OCSF:
		err = a.searchOCSF(found)
	case len(found.Statements) == 0:
		a.say("Nothing was found.")
		return nil
	default:
		err = tableOf(a, []string{"WHEN", "WHO", "AGENT", "VERDICT", "TOUCHED", "SESSION", "EVENT", "STATEMENT"}, found.Statements, func(s approval.Statement) []string {
			return []string{s.At.Local().Format(time.DateTime), s.User, s.Agent, verdictOf(s), touched(s), s.SessionID, strconv.FormatInt(s.Seq, 10), s.Text}
		})
	}
	if err == nil && found.Next != "" {
		a.say("There are more: add --after %s, or --all.", found.Next)
	}
	return err
}

// collect fetches as many pages as asked for.
func collect(ctx context.Context, client *approval.Client, o searchOptions) (approval.Found, error) {
	left := o.Limit
	if left == 0 {
		left = searchLimit
	}
	all := approval.Found{Statements: []approval.Statement{}}
	q := o.Query
	for {
		q.Limit = min(left, searchPage)
		if o.All {
			q.Limit = searchPage
		}
		page, err := client.Search(ctx, q)
		if err != nil {
			return all, err
		}
		all.Statements = append(all.Statements, page.Statements...)
		all.Next, q.After = page.Next, page.Next
		left -= len(page.Statements)
		if page.Next == "" || !o.All && left <= 0 {
			return all, nil
		}
	}
}

func (a *App) searchOCSF(found approval.Found) error {
	for _, s := range found.Statements {
		err := replay.Indexed{
			SessionID: s.SessionID, Seq: s.Seq, At: s.At, User: s.User, Agent: s.Agent, Connection: s.Connection, Role: s.Role,
			Verdict: s.Verdict, Rule: s.Rule, Kinds: s.Kinds, Reads: s.Reads, Writes: s.Writes, Text: s.Text,
		}.WriteOCSF(a.Out)
		if err != nil {
			return fmt.Errorf("printing OCSF: %w", err)
		}
	}
	return nil
}

// verdictOf marks what ran in a session that nobody had approved.
func verdictOf(s approval.Statement) string {
	if s.Emergency {
		return s.Verdict + " (EMERGENCY)"
	}
	return s.Verdict
}

func touched(s approval.Statement) string {
	names := append(append([]string{}, s.Reads...), s.Writes...)
	if s.Unknown {
		names = append(names, "?")
	}
	return strings.Join(names, ", ")
}

func (a *App) searchCSV(found approval.Found) error {
	w := csv.NewWriter(a.Out)
	rows := [][]string{{"at", "user", "agent", "connection", "role", "verdict", "rule", "kinds", "reads", "writes", "columns", "unknown", "session", "event", "text", "cut", "emergency"}}
	for _, s := range found.Statements {
		rows = append(rows, []string{
			s.At.Format(time.RFC3339Nano), s.User, s.Agent, s.Connection, s.Role, s.Verdict, s.Rule, strings.Join(s.Kinds, " "), strings.Join(s.Reads, ", "),
			strings.Join(s.Writes, ", "), strings.Join(s.Columns, ", "), strconv.FormatBool(s.Unknown), s.SessionID, strconv.FormatInt(s.Seq, 10), s.Text, strconv.FormatBool(s.Cut), strconv.FormatBool(s.Emergency),
		})
	}
	for _, row := range rows {
		for i, cell := range row {
			row[i] = noFormula(cell)
		}
	}
	if err := w.WriteAll(rows); err != nil {
		return fmt.Errorf("printing CSV: %w", err)
	}
	return nil
}

// noFormula keeps a spreadsheet from running a cell that an agent wrote.
func noFormula(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

// parseWhen reads a date, a time, or a duration before now; zero for "".
func parseWhen(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n < 1e6 {
			return now.AddDate(0, 0, -n), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("it must be a date (2026-01-31), a time (2026-01-31T08:00:00Z) or so long ago (24h, 7d)")
}
