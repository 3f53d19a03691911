package cmd

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jit-access/jit/replay"
	"github.com/snowflakedb/gosnowflake/v2"
	"github.com/spf13/cobra"
)

// newDemoAgentCommand is the sample agent of `jit demo`: an ordinary program
// that opens Snowflake through gosnowflake's own configuration and knows
// nothing of jit.
func newDemoAgentCommand(a *App) *cobra.Command {
	return &cobra.Command{
		Use:    "demo-agent",
		Short:  "The sample agent of jit demo",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(c *cobra.Command, _ []string) error { return a.demoAgent(c.Context()) },
	}
}

// demoStep is one thing the sample agent does.
type demoStep struct {
	why string
	sql string
}

var demoSteps = []demoStep{
	{"Look at some customers", "SELECT ID, NAME, EMAIL, PHONE, SSN, CITY FROM CUSTOMERS ORDER BY ID LIMIT 5"},
	{"Hide the same column behind an expression", "SELECT UPPER(X.E) AS HARMLESS FROM (SELECT EMAIL AS E FROM CUSTOMERS) X LIMIT 2"},
	{"Copy the customers to a bucket outside", "COPY INTO 's3://somewhere-else/customers/' FROM CUSTOMERS"},
	{"Clean up an old database", "DROP DATABASE OLD_REPORTS"},
}

const demoStepTimeout = time.Minute

func (a *App) demoAgent(ctx context.Context) error {
	// The driver logs every refusal; this program prints them itself.
	if err := gosnowflake.GetLogger().SetLogLevel("off"); err != nil {
		return &Failure{What: "quieting the driver's log", Err: err}
	}
	db, err := sql.Open("snowflake", "autoConfig")
	if err != nil {
		return &Failure{What: "opening Snowflake", Err: err}
	}
	defer db.Close() //nolint:errcheck // the process ends
	db.SetMaxOpenConns(1)
	for _, s := range demoSteps {
		if err := a.printf("\n[agent] %s\n[agent]   %s\n", s.why, s.sql); err != nil {
			return err
		}
		if err := a.demoStep(ctx, db, s.sql); err != nil {
			return err
		}
	}
	return nil
}

// demoStep runs one statement and prints what any program would see: rows, or
// the driver's error.
func (a *App) demoStep(ctx context.Context, db *sql.DB, text string) error {
	ctx, cancel := context.WithTimeout(ctx, demoStepTimeout)
	defer cancel()
	start := a.Now()
	rows, err := db.QueryContext(ctx, text)
	var refused *gosnowflake.SnowflakeError
	if errors.As(err, &refused) {
		return a.printf("[agent]   error %06d (%s): %s\n", refused.Number, refused.SQLState, indent(replay.Visible(refused.Message)))
	}
	if err != nil {
		return &Failure{What: "running a statement", Err: err}
	}
	defer rows.Close() //nolint:errcheck // rows.Err is checked below
	if err := a.printRows(rows); err != nil {
		return err
	}
	return a.printf("[agent]   done in %s\n", a.Now().Sub(start).Round(10*time.Millisecond))
}

func indent(s string) string { return strings.ReplaceAll(s, "\n", "\n[agent]     ") }

func (a *App) printRows(rows *sql.Rows) error {
	columns, err := rows.Columns()
	if err != nil {
		return &Failure{What: "reading columns", Err: err}
	}
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "[agent]   %s\n", strings.Join(columns, "\t")) // Flush reports the error
	cells := make([]sql.NullString, len(columns))
	into := make([]any, len(columns))
	for i := range cells {
		into[i] = &cells[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return &Failure{What: "reading a row", Err: err}
		}
		line := make([]string, len(cells))
		for i, c := range cells {
			line[i] = "NULL"
			if c.Valid {
				line[i] = replay.Visible(c.String)
			}
		}
		_, _ = fmt.Fprintf(w, "[agent]   %s\n", strings.Join(line, "\t"))
	}
	if err := rows.Err(); err != nil {
		return &Failure{What: "reading rows", Err: err}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing rows: %w", err)
	}
	return nil
}
