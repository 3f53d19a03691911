package replay

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jit-access/jit/session/recording"
)

// Format is a form that a recording can be exported in.
type Format string

// The export formats.
const (
	FormatCSV       Format = "csv"   // one row per statement
	FormatJSONL     Format = "jsonl" // the events, in their order
	FormatOCSF      Format = "ocsf"  // one Datastore Activity event per statement and login
	FormatAsciicast Format = "asciicast"
	FormatHTML      Format = "html" // one page that needs nothing else
)

// Formats lists every Format.
func Formats() []Format {
	return []Format{FormatCSV, FormatJSONL, FormatOCSF, FormatAsciicast, FormatHTML}
}

// ParseFormat reads the name of a Format.
func ParseFormat(s string) (Format, error) {
	if f := Format(s); slices.Contains(Formats(), f) {
		return f, nil
	}
	return "", fmt.Errorf("%q is none of csv, jsonl, ocsf, asciicast, html", s)
}

// ErrNoTerminal means there is no terminal in the recording to export.
var ErrNoTerminal = errors.New("no terminal was recorded in this session")

// Export writes the events that the recording's checkpoint covers.
func (r *Recording) Export(w io.Writer, f Format) error {
	out := bufio.NewWriter(w)
	var err error
	switch f {
	case FormatCSV:
		err = r.exportCSV(out)
	case FormatJSONL:
		err = r.exportLines(out)
	case FormatOCSF:
		err = r.exportOCSF(out)
	case FormatHTML:
		err = r.exportHTML(out)
	case FormatAsciicast:
		err = r.exportAsciicast(out)
	default:
		_, err = ParseFormat(string(f))
	}
	if err != nil {
		return fmt.Errorf("exporting as %s: %w", f, err)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("exporting as %s: %w", f, err)
	}
	return nil
}

// exportLines writes the events with their texts in place. The lines of
// events.jsonl are what was signed.
func (r *Recording) exportLines(w io.Writer) error {
	for seq := range r.len() {
		line, err := r.line(seq)
		if err != nil {
			return err
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// csvHeader is the first row. Columns are only ever added at the end.
var csvHeader = [...]string{
	"session", "principal", "connection", "role", "number", "statement", "at", "verdict", "rule", "reason", "kinds",
	"reads", "writes", "predicates", "decision", "reviewers", "decision_reason", "outcome", "code", "error",
	"query_id", "rows", "bytes", "millis", "masked", "sql",
}

func (r *Recording) exportCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.Write(csvHeader[:]); err != nil {
		return err
	}
	err := r.each(WriteOptions{}, func(d Detail) error {
		if !d.Entry.Statement() {
			return nil
		}
		row := r.csvRow(d)
		for i := range row {
			row[i] = csvCell(row[i])
		}
		return out.Write(row)
	})
	out.Flush()
	return errors.Join(err, out.Error())
}

func (r *Recording) csvRow(d Detail) []string {
	s, x := r.Session(), d.summary()
	return []string{
		s.ID, orElse(s.Email, s.Principal), s.Connection, s.Role, strconv.Itoa(d.Entry.Number), d.Entry.ID,
		d.Entry.At.UTC().Format(time.RFC3339Nano), d.Entry.Verdict, x.sql.Rule, x.sql.Reason, list(x.sql.Kinds),
		list(x.sql.Reads), list(x.sql.Writes), list(x.sql.Predicates), d.Entry.Decision, list(x.decision.Reviewer), x.decision.Reason,
		d.Entry.Outcome.String(), x.refused.Code, x.result.Error,
		x.result.QueryID, x.number(x.result.Rows), x.number(x.result.Bytes), x.number(x.result.Millis), list(x.result.Masked), x.sql.Text,
	}
}

// csvCell makes a cell safe to look at in a terminal and to open in a
// spreadsheet, which would run a cell that begins like a formula: such a one
// gets an apostrophe in front, as spreadsheets themselves write text.
func csvCell(s string) string {
	s = Visible(s)
	if s != "" && strings.ContainsRune("=+-@", rune(s[0])) {
		return "'" + s
	}
	return s
}

func list(items []string) string { return strings.Join(items, " ") }

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// summary is the last word on each part of a statement.
type summary struct {
	sql      recording.StatementFacts
	decision recording.DecisionFacts
	refused  recording.RefusedFacts
	result   recording.ResultFacts
	ran      bool // there is a result
}

func (d Detail) summary() summary {
	var x summary
	for _, e := range d.Events {
		switch {
		case e.SQL != nil:
			x.sql = *e.SQL
		case e.Decision != nil:
			x.decision = *e.Decision
		case e.Refused != nil:
			x.refused = *e.Refused
		case e.Result != nil:
			x.result, x.ran = *e.Result, true
		}
	}
	return x
}

// number is a count of the result; empty if there is no result.
func (x summary) number(n int64) string {
	if !x.ran {
		return ""
	}
	return strconv.FormatInt(n, 10)
}
