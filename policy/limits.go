package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// budgets are the limits of limits.yaml; zero = none.
type budgets struct {
	statement Limits
	session   Limits
	// statements is how many statements a session may run.
	statements int64
}

// loadLimits reads limits.yaml:
//
//	statement: {rows: 1000000, bytes: 1 GiB, wall: 30m}
//	session:   {statements: 10000, rows: 20000000, bytes: 20 GiB, wall: 24h}
//	recording: {…}   # see loadKeeping
//
// Every key may be left out; what is left out has no limit.
func loadLimits(name string, data []byte, ps *problems) (b budgets, k Keeping) {
	y := yamlFile{name, ps}
	root := y.parse(data)
	if root == nil {
		return b, k
	}
	for _, part := range y.mapping(root, "the file") {
		var to *Limits
		switch part.key {
		case "statement":
			to = &b.statement
		case "session":
			to = &b.session
		case "recording":
			k = loadKeeping(y, part.node)
			continue
		default:
			ps.add(name, part.line, "unknown key %q: statement, session and recording are known", part.key)
			continue
		}
		for _, e := range y.mapping(part.node, part.key) {
			text := y.text(e.node, e.key)
			var err error
			switch {
			case e.key == "rows":
				to.Rows, err = parseCount(text)
			case e.key == "bytes":
				to.Bytes, err = parseBytes(text)
			case e.key == "wall":
				to.Wall, err = parseWall(text)
			case e.key == "statements" && part.key == "session":
				b.statements, err = parseCount(text)
			default:
				err = fmt.Errorf("unknown key %q", e.key)
			}
			if err != nil {
				ps.add(name, e.line, "%s: %v", e.key, err)
			}
		}
	}
	return b, k
}

func parseCount(s string) (int64, error) {
	n, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 10, 64)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%q is not a whole number above 0; leave the key out for no limit", s)
	}
	return n, nil
}

func parseWall(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a time such as 30m or 8h", s)
	}
	return d, nil
}

// parseBytes reads a size such as 512 KiB, 1 GiB or 1000000.
func parseBytes(s string) (int64, error) {
	number, unit, _ := strings.Cut(strings.TrimSpace(s), " ")
	factor, ok := map[string]int64{"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}[unit]
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || !ok || n <= 0 || n > (1<<63-1)/factor {
		return 0, fmt.Errorf("%q is not a size such as 512 MiB or 1 GiB", s)
	}
	return n * factor, nil
}

// limit returns what one more statement may use, or the budget that is spent.
func (b budgets) limit(u Usage) (l Limits, spent string) {
	switch {
	case b.statements > 0 && int64(u.Statements) >= b.statements:
		return Limits{}, fmt.Sprintf("%d statements", b.statements)
	case b.session.Rows > 0 && u.Rows >= b.session.Rows:
		return Limits{}, fmt.Sprintf("%d rows", b.session.Rows)
	case b.session.Bytes > 0 && u.Bytes >= b.session.Bytes:
		return Limits{}, fmt.Sprintf("%d bytes", b.session.Bytes)
	case b.session.Wall > 0 && u.Elapsed >= b.session.Wall:
		return Limits{}, b.session.Wall.String()
	}
	return Limits{
		Rows:  tighter(b.statement.Rows, b.session.Rows, u.Rows),
		Bytes: tighter(b.statement.Bytes, b.session.Bytes, u.Bytes),
		Wall:  tighter(b.statement.Wall, b.session.Wall, u.Elapsed),
	}, ""
}

// tighter is the smaller of a statement's limit and what is left of the
// session's, where 0 is no limit. The caller has made sure that used < session.
func tighter[T int64 | time.Duration](statement, session, used T) T {
	if session == 0 {
		return statement
	}
	left := session - max(used, 0)
	if statement == 0 {
		return left
	}
	return min(statement, left)
}
