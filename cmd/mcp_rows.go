package cmd

import (
	"database/sql"
	"fmt"
	"regexp"
	"strings"

	"github.com/jit-access/jit/replay"
)

// mcpColumn is a column of a result. Masked says that a cell among those
// returned is a mask; numbers and dates are masked as NULL, which does not show.
type mcpColumn struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Masked bool   `json:"masked"`
	Class  string `json:"class,omitempty" jsonschema:"the data class that masked cells name, such as pii.email"`
}

// What one answer holds at most: an agent has to read it all.
const (
	defaultMCPRows = 200
	maxMCPRows     = 5000
	maxMCPBytes    = 512 << 10
	maxMCPCell     = 32 << 10
)

// maskMark is how masked text begins, as package policy writes it.
var maskMark = regexp.MustCompile(`^(?:‹masked:([^›]*)›|‹masked›@|‹hash:[A-Z2-7]+›|••••[0-9]{4}$)`)

// readMCPRows reads a result up to its limits into answer.
func readMCPRows(rows *sql.Rows, limit int, answer *mcpAnswer) error {
	types, err := rows.ColumnTypes()
	if err != nil {
		return fmt.Errorf("reading columns: %w", err)
	}
	for _, t := range types {
		answer.Columns = append(answer.Columns, mcpColumn{Name: replay.Visible(t.Name()), Type: t.DatabaseTypeName()})
	}
	cells := make([]sql.NullString, len(types))
	into := make([]any, len(types))
	for i := range cells {
		into[i] = &cells[i]
	}
	answer.Rows = [][]*string{}
	size := 0
	for rows.Next() {
		if len(answer.Rows) == limit || size > maxMCPBytes {
			answer.Truncated = true
			break
		}
		if err := rows.Scan(into...); err != nil {
			return fmt.Errorf("reading a row: %w", err)
		}
		row := make([]*string, len(cells))
		for i, c := range cells {
			if c.Valid {
				row[i] = answer.cell(&answer.Columns[i], c.String)
				size += len(*row[i])
			}
		}
		answer.Rows = append(answer.Rows, row)
	}
	answer.RowCount = len(answer.Rows)
	if answer.Truncated {
		answer.Next = "aggregate or filter in SQL, or raise max_rows; more rows exist than are shown."
		return nil
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("reading rows: %w", err)
	}
	return nil
}

// cell makes a value safe to show, and notes in its column if it is a mask.
func (m *mcpAnswer) cell(c *mcpColumn, value string) *string {
	if mark := maskMark.FindStringSubmatch(value); mark != nil {
		c.Masked = true
		if c.Class == "" {
			c.Class = mark[1]
		}
	}
	if n := len(value); n > maxMCPCell {
		value = strings.ToValidUTF8(value[:maxMCPCell], "") + fmt.Sprintf("… (cut: %d bytes)", n)
		m.Truncated = true
	}
	value = replay.Visible(value)
	return &value
}
