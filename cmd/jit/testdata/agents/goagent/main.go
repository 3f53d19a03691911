// Goagent is the Go half of the end-to-end suite: an agent that knows nothing
// of jit. It connects as any program would that relies on connections.toml and
// runs the steps it is given, one JSON line of outcome each.
//
// Usage: goagent STEPS.json
//
// The agents (Go, Python, Node, Java, and those of clients built on them) read
// the same steps and print the same lines, so that one test holds for every
// driver.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"time"

	sf "github.com/snowflakedb/gosnowflake/v2"
)

// step is one thing to do; the zero fields mean "not this".
type step struct {
	SQL         string `json:"sql"`
	Binds       []any  `json:"binds"`
	CancelAfter int    `json:"cancel_after_ms"`
	CancelFile  string `json:"cancel_file"` // cancel when this file exists
	WaitFile    string `json:"wait_file"`   // go on when this file exists
	TouchFile   string `json:"touch_file"`  // created before anything else of the step
	Reconnect   bool   `json:"reconnect"`   // with a new connection
	Exact       bool   `json:"exact"`       // cells with the driver's own types, columns with all the driver tells
	Digest      bool   `json:"digest"`      // a digest per column in place of the rows
	Bulk        int    `json:"bulk"`        // bind an id and a text to the statement, for so many rows at once
	Multi       int    `json:"multi"`       // so many statements in one request; the rows of all
	Async       bool   `json:"async"`       // send, then fetch the result
}

// line is one outcome. Cells are text or null, as the driver scans them.
type line struct {
	Step    int       `json:"step"`
	SQL     string    `json:"sql,omitempty"`
	Columns []column  `json:"columns"`
	Rows    [][]any   `json:"rows"`
	Count   int       `json:"count,omitempty"`
	Digests []string  `json:"digests,omitempty"`
	Error   *agentErr `json:"error"`
	MS      int64     `json:"ms"`
}

type column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

type agentErr struct {
	Class    string `json:"class"`
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
		if s.TouchFile != "" {
			if err := os.WriteFile(s.TouchFile, nil, 0o600); err != nil {
				return err
			}
		}
		if err := await(s.WaitFile); err != nil {
			return err
		}
		if s.Reconnect {
			db.Close()
			if db, err = open(); err != nil {
				return err
			}
		}
		if s.SQL != "" {
			err := query(db, s, &l)
			if l.Error = describe(err); errors.Is(err, errPanic) { // the driver's connection is lost
				if db, err = open(); err != nil {
					return err
				}
			}
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

// await waits until a file exists; no name is there at once.
func await(file string) error {
	for deadline := time.Now().Add(5 * time.Minute); file != ""; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(file); err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s never appeared", file)
		}
	}
	return nil
}

// errPanic reports that the driver panicked.
var errPanic = errors.New("panic")

func query(db *sql.DB, s step, l *line) (err error) {
	defer func() {
		if p := recover(); p != nil { // what the driver cannot read
			err = fmt.Errorf("%w: %v", errPanic, p)
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if s.CancelAfter > 0 {
		defer time.AfterFunc(time.Duration(s.CancelAfter)*time.Millisecond, cancel).Stop()
	}
	if s.CancelFile != "" {
		go func() {
			if await(s.CancelFile) == nil {
				cancel()
			}
		}()
	}
	if s.Bulk > 0 {
		return bulk(ctx, db, s)
	}
	if s.Multi > 0 {
		ctx = sf.WithMultiStatement(ctx, s.Multi)
	}
	if s.Async {
		ctx = sf.WithAsyncMode(ctx)
	}
	if s.Exact {
		ctx = sf.WithEmbeddedValuesNullable(sf.WithStructuredTypesEnabled(ctx))
	}
	rows, err := db.QueryContext(ctx, s.SQL, s.Binds...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for {
		if err := read(rows, s, l); err != nil {
			return err
		}
		if !rows.NextResultSet() {
			return rows.Err()
		}
	}
}

// bulk binds arrays, which the driver sends in one request.
func bulk(ctx context.Context, db *sql.DB, s step) error {
	ids, notes := make([]int64, s.Bulk), make([]string, s.Bulk)
	for i := range ids {
		ids[i], notes[i] = int64(i+1), fmt.Sprintf("note %d", i+1)
	}
	a, err := sf.Array(&ids)
	if err != nil {
		return err
	}
	b, err := sf.Array(&notes)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, s.SQL, a, b)
	return err
}

// read reads one result set into l.
func read(rows *sql.Rows, s step, l *line) error {
	types, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	l.Columns = make([]column, len(types))
	for i, t := range types {
		l.Columns[i] = column{Name: t.Name(), Type: t.DatabaseTypeName()}
		if s.Exact {
			precision, scale, _ := t.DecimalSize()
			length, _ := t.Length()
			nullable, _ := t.Nullable()
			l.Columns[i].Type = fmt.Sprintf("%s(%d,%d) %d %t %v", t.DatabaseTypeName(), precision, scale, length, nullable, t.ScanType())
		}
	}
	if l.Rows == nil {
		l.Rows = [][]any{}
	}
	sums := newDigests(len(types))
	for rows.Next() {
		row := make([]any, len(types))
		ptrs := make([]any, len(types))
		for i := range row {
			ptrs[i] = &row[i]
		}
		if err := rows.Scan(ptrs...); err != nil {
			return err
		}
		for i, v := range row {
			row[i] = text(v, s.Exact)
		}
		l.Count++
		if s.Digest {
			sums.add(row)
			continue
		}
		l.Rows = append(l.Rows, row)
	}
	if s.Digest {
		l.Digests = sums.hex()
	} else {
		l.Count = 0
	}
	return rows.Err()
}

// address is where a value lies in memory, which is no part of it.
var address = regexp.MustCompile(`\b0x[0-9a-f]+`)

func text(v any, exact bool) any {
	plain := ""
	switch v := v.(type) {
	case nil:
		return nil
	case []byte:
		plain = string(v)
		if exact {
			plain = fmt.Sprintf("%x", v)
		}
	case time.Time:
		plain = v.Format(time.RFC3339Nano)
	default:
		plain = fmt.Sprint(v)
	}
	if exact {
		return fmt.Sprintf("%T %s", v, address.ReplaceAllString(plain, ""))
	}
	return plain
}

func describe(err error) *agentErr {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*sf.SnowflakeError](err); ok {
		return &agentErr{Class: fmt.Sprintf("%T", e), Code: fmt.Sprintf("%06d", e.Number), SQLState: e.SQLState, Message: e.Message}
	}
	return &agentErr{Class: fmt.Sprintf("%T", err), Message: err.Error()}
}
