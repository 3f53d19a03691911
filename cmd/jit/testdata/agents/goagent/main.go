// Goagent is the Go half of the end-to-end suite: an agent that knows nothing
// of jit. It connects as any program would that relies on connections.toml and
// runs the steps it is given, one JSON line of outcome each.
//
// Usage: goagent STEPS.json
//
// The three agents (Go, Python, Node) read the same steps and print the same
// lines, so that one test holds for every driver.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	sf "github.com/snowflakedb/gosnowflake/v2"
)

// step is one thing to do; the zero fields mean "not this".
type step struct {
	SQL         string `json:"sql"`
	Binds       []any  `json:"binds"`
	CancelAfter int    `json:"cancel_after_ms"`
	WaitFile    string `json:"wait_file"`  // go on when this file exists
	TouchFile   string `json:"touch_file"` // created before anything else of the step
	Reconnect   bool   `json:"reconnect"`  // with a new connection
}

// line is one outcome. Cells are text or null, as the driver scans them.
type line struct {
	Step    int       `json:"step"`
	SQL     string    `json:"sql,omitempty"`
	Columns []column  `json:"columns"`
	Rows    [][]any   `json:"rows"`
	Error   *agentErr `json:"error"`
	MS      int64     `json:"ms"`
}

type column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

type agentErr struct {
	Code     string `json:"code"`
	SQLState string `json:"sqlstate"`
	Message  string `json:"message"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "goagent:", err)
		os.Exit(3)
	}
}

func run() error {
	data, err := os.ReadFile(os.Args[1])
	if err != nil {
		return err
	}
	var steps []step
	if err := json.Unmarshal(data, &steps); err != nil {
		return err
	}
	db, err := open()
	if err != nil {
		return err
	}
	defer func() { db.Close() }()
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for i, s := range steps {
		began := time.Now()
		l := line{Step: i, SQL: s.SQL}
		if err := pause(s); err != nil {
			return err
		}
		if s.Reconnect {
			db.Close()
			if db, err = open(); err != nil {
				return err
			}
		}
		if s.SQL != "" {
			l.Columns, l.Rows, err = query(db, s)
			l.Error = describe(err)
		}
		l.MS = time.Since(began).Milliseconds()
		if err := out.Encode(l); err != nil {
			return err
		}
	}
	return nil
}

func open() (*sql.DB, error) {
	db, err := sql.Open("snowflake", "autoConfig")
	if err != nil {
		return nil, fmt.Errorf("opening: %w", err)
	}
	db.SetMaxOpenConns(1) // one driver session, as the other agents have
	return db, nil
}

func pause(s step) error {
	if s.TouchFile != "" {
		if err := os.WriteFile(s.TouchFile, nil, 0o600); err != nil {
			return err
		}
	}
	for deadline := time.Now().Add(2 * time.Minute); s.WaitFile != ""; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(s.WaitFile); err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s never appeared", s.WaitFile)
		}
	}
	return nil
}

func query(db *sql.DB, s step) ([]column, [][]any, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if s.CancelAfter > 0 {
		defer time.AfterFunc(time.Duration(s.CancelAfter)*time.Millisecond, cancel).Stop()
	}
	rows, err := db.QueryContext(ctx, s.SQL, s.Binds...)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, nil, err
	}
	columns := make([]column, len(types))
	for i, t := range types {
		columns[i] = column{Name: t.Name(), Type: t.DatabaseTypeName()}
	}
	cells := [][]any{}
	for rows.Next() {
		row := make([]any, len(types))
		ptrs := make([]any, len(types))
		for i := range row {
			ptrs[i] = &row[i]
		}
		if err := rows.Scan(ptrs...); err != nil {
			return columns, cells, err
		}
		for i, v := range row {
			row[i] = text(v)
		}
		cells = append(cells, row)
	}
	return columns, cells, rows.Err()
}

func text(v any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case []byte:
		return string(v)
	case time.Time:
		return v.Format(time.RFC3339Nano)
	default:
		return fmt.Sprint(v)
	}
}

func describe(err error) *agentErr {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*sf.SnowflakeError](err); ok {
		return &agentErr{Code: fmt.Sprintf("%06d", e.Number), SQLState: e.SQLState, Message: e.Message}
	}
	return &agentErr{Message: err.Error()}
}
