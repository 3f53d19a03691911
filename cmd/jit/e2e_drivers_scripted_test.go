//go:build e2e

package main_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// What every client is asked for on the scripted upstream, in the words of
// docs/compatibility.md.
const (
	caseTypesJSON   = "all types, JSON"
	caseTypesArrow  = "all types, Arrow"
	caseHiddenJSON  = "masked, JSON"
	caseHiddenArrow = "masked, Arrow"
	caseLargeJSON   = "200,000 rows, JSON"
	caseLargeArrow  = "200,000 rows, Arrow"
	caseErrors      = "errors as directly"
	caseBulk        = "array binds"
	caseMulti       = "several statements"
	caseAsync       = "asynchronous"
)

// typeGroups are the scripted tables of types; every client reads the first.
var typeGroups = []string{"core", "far", "vector", "structured", "decfloat"}

// probe is one step of a client's session on the scripted upstream, and the
// same step without jit.
type probe struct {
	step   step
	once   bool // through jit only
	seen   outcome
	direct outcome
}

// probes are a client's steps by what they are for.
type probes struct {
	all     []*probe
	indexes map[string]*probe
}

func (p *probes) add(name string, s step) *probe {
	q := &probe{step: s}
	p.all = append(p.all, q)
	p.indexes[name] = q
	return q
}

// failure is a statement that fails, and with what directly.
type failure struct{ sql, code, state string }

var failures = []failure{
	{"select no_such_column from orders limit %s", "000904", "42000"},
	{"select * from no_such_table limit %s", "002003", "42S02"},
	{"select (1 from orders limit %s", "001003", "42000"},
	{"select * from broken_100051_22012 limit %s", "100051", "22012"},
	{"select * from broken_100038_22018 limit %s", "100038", "22018"},
	{"select * from broken_000630_57014 limit %s", "000630", "57014"},
}

// failures are all, or two for a client that takes a process or a login for each
// statement.
func (c client) failures() []failure {
	if c.oneShot {
		return []failure{failures[0], failures[3]}
	}
	return failures
}

// bulkTable is where a client's array binds go.
func (c client) bulkTable() string {
	return "bulk_" + strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(c.name)), "_")
}

// formats are those the client can be answered in.
func (c client) formats() []string {
	return slices.DeleteFunc([]string{"json", "arrow"}, func(f string) bool { return f == c.without })
}

func (c client) probes() *probes {
	p := &probes{indexes: map[string]*probe{}}
	if c.bulk > 0 {
		p.add("bulk", step{SQL: fmt.Sprintf("insert into %s values (%s)", c.bulkTable(), c.marks()), Bulk: c.bulk}).once = true // directly, drivers would stage the values
		p.add("bulked", step{SQL: "select count(*) as n, sum(id) as ids, min(note) as low, max(note) as high from " + c.bulkTable()})
	}
	for _, f := range c.failures() {
		p.add(f.code, step{SQL: fmt.Sprintf(f.sql, mark())})
	}
	for _, format := range c.formats() {
		groups := typeGroups
		if c.oneShot {
			groups = groups[:1]
		}
		for _, group := range append(slices.Clone(groups), "classed") {
			if group == c.unsure {
				continue
			}
			p.add(group+format, step{SQL: "select * from typed_" + group + "_" + format, Exact: true})
		}
		if !c.small {
			p.add("large"+format, step{SQL: "select * from large_" + format, Digest: true})
			p.add("plain"+format, step{SQL: "select * from plain_large_" + format, Digest: true}).once = true
		}
	}
	if c.multi {
		p.add("multi", step{SQL: "select 1 as a; select 2 as a", Multi: 2})
	}
	if c.async {
		p.add("async", step{SQL: "select * from typed_far_" + c.formats()[0], Async: true})
	}
	return p
}

// cases are what the client is asked for here.
func (c client) cases() []string {
	cases := []string{caseErrors}
	for _, format := range c.formats() {
		types, hidden, long := caseTypesJSON, caseHiddenJSON, caseLargeJSON
		if format == "arrow" {
			types, hidden, long = caseTypesArrow, caseHiddenArrow, caseLargeArrow
		}
		cases = append(cases, types, hidden)
		if !c.small {
			cases = append(cases, long)
		}
	}
	for name, has := range map[string]bool{caseBulk: c.bulk > 0, caseMulti: c.multi, caseAsync: c.async} {
		if has {
			cases = append(cases, name)
		}
	}
	return cases
}

// marks are the client's bind variables.
func (c client) marks() string {
	if c.named {
		return ":id, :note"
	}
	return "?, ?"
}

// testScripted runs the probes directly and through jit, and compares.
func testScripted(t *testing.T, c client, report *compatibility) {
	up := shared.scripted(t)
	p := c.probes()
	report.expect(c, c.cases()...)
	var steps, direct []step
	for _, q := range p.all {
		steps = append(steps, q.step)
		if q.once {
			direct = append(direct, step{SQL: "select 1"})
		} else {
			direct = append(direct, q.step)
		}
	}
	without := c.agent.direct(t, up, direct...)
	e := shared.alice.execFor(t, 8*limit, up, nil, c.agent, steps...)
	held := 0
	if c.bulk > 0 {
		held = e.approveAll(t, up, "insert into "+c.bulkTable())
	}
	r, seen := e.finish(t, 0)
	for i, q := range p.all {
		q.seen, q.direct = seen[i], without[i]
	}
	result := func(name string, test func(*testing.T) string) {
		note := ""
		passed := t.Run(name, func(t *testing.T) { note = test(t) })
		report.note(c, about(r), name, passed)
		report.remark(c, name, note)
	}
	if c.bulk > 0 {
		result(caseBulk, func(t *testing.T) string { return testBulk(t, c, p, up, held) })
	}
	result(caseErrors, func(t *testing.T) string { testErrors(t, c, p, up); return "" })
	for _, format := range c.formats() {
		types, hidden, long := caseTypesJSON, caseHiddenJSON, caseLargeJSON
		if format == "arrow" {
			types, hidden, long = caseTypesArrow, caseHiddenArrow, caseLargeArrow
		}
		result(types, func(t *testing.T) string {
			remark := testTypes(t, p, format)
			if c.unsure != "" {
				remark = strings.TrimPrefix(remark+"; not asked: "+c.unsure, "; ")
			}
			return remark
		})
		result(hidden, func(t *testing.T) string { testHidden(t, p.indexes["classed"+format]); return "" })
		if !c.small {
			result(long, func(t *testing.T) string {
				testLarge(t, p.indexes["large"+format], p.indexes["plain"+format])
				return ""
			})
		}
	}
	for name, index := range map[string]string{caseMulti: "multi", caseAsync: "async"} {
		if q := p.indexes[index]; q != nil {
			result(name, func(t *testing.T) string { assertSame(t, q.seen, q.direct, r); return "" })
		}
	}
}

// testTypes checks that each group reads as directly, or fails to read as
// directly; the core has to be read.
func testTypes(t *testing.T, p *probes, format string) string {
	var unread []string
	for _, group := range typeGroups {
		q := p.indexes[group+format]
		switch {
		case q == nil:
		case q.direct.Error != nil && group == "core":
			t.Errorf("the client reads the %s types not even directly: %s", group, q.direct)
		case q.direct.Error != nil:
			unread = append(unread, group)
			sameError(t, q)
		case q.seen.Error != nil:
			t.Errorf("%s: %s", group, q.seen)
		default:
			if len(q.direct.Rows) < 3 || len(q.direct.Columns) < 2 {
				t.Errorf("%s: directly, %d rows of %d columns are read", group, len(q.direct.Rows), len(q.direct.Columns))
			}
			if fmt.Sprint(q.seen.Columns) != fmt.Sprint(q.direct.Columns) {
				t.Errorf("%s: columns %v, directly %v", group, q.seen.Columns, q.direct.Columns)
			}
			if q.seen.cells() != q.direct.cells() {
				t.Errorf("%s: cells\n%sdirectly\n%s", group, q.seen.cells(), q.direct.cells())
			}
		}
	}
	if unread == nil {
		return ""
	}
	return "not read, directly neither: " + strings.Join(unread, ", ")
}

// testHidden checks that the classified columns, one of each type, hide their
// values, and that nothing else of the result differs.
func testHidden(t *testing.T, q *probe) {
	t.Helper()
	if q.seen.Error != nil || q.direct.Error != nil || len(q.seen.Rows) != len(q.direct.Rows) || len(q.seen.Columns) != len(q.direct.Columns) {
		t.Fatalf("%s\ndirectly %s", q.seen, q.direct)
	}
	hidden := 0
	for i, c := range q.direct.Columns {
		name := strings.ToUpper(c.Name)
		masked := strings.HasSuffix(name, "_SSN") || name == "EMAIL" || name == "HOME_PHONE"
		if q.seen.Columns[i].Name != c.Name || !masked && q.seen.Columns[i] != c {
			t.Errorf("column %v, directly %v", q.seen.Columns[i], c)
		}
		got, want := q.seen.column(t, c.Name), q.direct.column(t, c.Name)
		if !masked {
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %q, directly %q", c.Name, got, want)
			}
			continue
		}
		hidden++
		for row, cell := range got {
			if !isHidden(name, cell) {
				t.Errorf("%s, row %d: %q, directly %q", c.Name, row+1, cell, want[row])
			}
		}
	}
	if hidden < 30 {
		t.Errorf("%d columns are hidden", hidden)
	}
	assertNothingClear(t, "what the client printed", q.seen.String())
}

// isHidden: texts are replaced by their mask, all else is NULL, in whatever way
// the client says that.
func isHidden(column, cell string) bool {
	switch cell {
	case "null", "String NULL", "float nan", "NaTType NaT", "NAType <NA>":
		return true
	}
	return strings.Contains(cell, "masked") || column == "HOME_PHONE" && strings.Contains(cell, "•") || column == "T_SSN" && strings.Contains(cell, "‹masked:pii.ssn›")
}

// testLarge compares the columns of the large results by their digests: as
// directly, but for the masked one, whose text is known.
func testLarge(t *testing.T, masked, plain *probe) {
	t.Helper()
	for _, o := range []outcome{masked.direct, masked.seen, plain.seen} {
		if o.Error != nil || o.Count != largeRows {
			t.Fatalf("%d rows: %s", o.Count, o)
		}
	}
	sum := sha256.New()
	for range largeRows {
		sum.Write([]byte("‹masked›@example.com\n"))
	}
	last := len(masked.direct.Digests) - 1
	want := slices.Clone(masked.direct.Digests)
	want[last] = hex.EncodeToString(sum.Sum(nil))
	if want[last] == masked.direct.Digests[last] {
		t.Error("the column is masked directly")
	}
	if !slices.Equal(masked.seen.Digests, want) {
		t.Errorf("with a masked column: digests %v, want %v", masked.seen.Digests, want)
	}
	if !slices.Equal(plain.seen.Digests, want[:last]) {
		t.Errorf("with nothing to mask: digests %v, directly %v", plain.seen.Digests, want[:last])
	}
}

// testErrors checks that each failure has the class, code and SQLSTATE it has
// directly, and that none was sent twice.
func testErrors(t *testing.T, c client, p *probes, up *upstream) {
	for _, f := range c.failures() {
		q := p.indexes[f.code]
		sameError(t, q)
		if e := q.direct.Error; e == nil || e.Code != f.code || e.SQLState != f.state {
			t.Errorf("%s: directly %s, want %s (%s)", q.step.SQL, q.direct, f.code, f.state)
		}
		if n := up.tap.ran(q.step.SQL); n > 1 {
			t.Errorf("%s ran %d times", q.step.SQL, n)
		}
	}
}

// sameError checks that a step failed through jit as it failed directly.
func sameError(t *testing.T, q *probe) {
	t.Helper()
	got, want := q.seen.Error, q.direct.Error
	if got == nil || want == nil || got.Class != want.Class || got.Code != want.Code || got.SQLState != want.SQLState {
		t.Errorf("%s: %s\ndirectly %s", q.step.SQL, q.seen, q.direct)
	}
}

// testBulk checks that the rows have come, by one statement with the values in
// it, and not by a file in a stage.
func testBulk(t *testing.T, c client, p *probes, up *upstream, held int) string {
	insert, after := p.indexes["bulk"].seen, p.indexes["bulked"].seen
	if insert.Error != nil || after.Error != nil || len(after.Rows) != 1 {
		t.Fatalf("%s\n%s", insert, after)
	}
	ids := c.bulk * (c.bulk + 1) / 2
	high := ""
	for n := range c.bulk {
		high = max(high, fmt.Sprintf("note %d", n+1))
	}
	if got, want := strings.TrimSpace(after.cells()), fmt.Sprintf("%q | %q | %q | %q", fmt.Sprint(c.bulk), fmt.Sprint(ids), "note 1", high); got != want {
		t.Errorf("%s arrived, want %s", got, want)
	}
	sent := up.tap.ran("into " + c.bulkTable())
	if sent != held || sent == 0 {
		t.Errorf("%d statements were held and %d ran", held, sent)
	}
	if n := len(up.tap.matching(func(c call) bool {
		return strings.Contains(c.Body, "SYSTEM$BIND") || strings.Contains(strings.ToLower(c.SQL), "put ")
	})); n != 0 {
		t.Errorf("%d statements stage values", n)
	}
	if sent == 1 {
		return fmt.Sprintf("%d rows", c.bulk)
	}
	return fmt.Sprintf("%d rows in %d statements", c.bulk, sent)
}
