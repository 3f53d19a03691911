//go:build e2e

package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// update is set to write docs/compatibility.md anew from what happens.
var update = os.Getenv("JIT_UPDATE") == "1"

// compatibility collects what happened, for docs/compatibility.md.
type compatibility struct {
	mu   sync.Mutex
	rows []*compatibilityRow
}

type compatibilityRow struct {
	client, versions, upstream string
	passed                     map[string]bool
}

func (c *compatibility) note(who client, versions, name string, passed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if versions == "" {
		versions = pinned(who.name)
	}
	at := slices.IndexFunc(c.rows, func(r *compatibilityRow) bool { return r.client == who.name && r.upstream == who.upstream.name })
	if at < 0 {
		at = len(c.rows)
		c.rows = append(c.rows, &compatibilityRow{client: who.name, versions: versions, upstream: who.upstream.name, passed: map[string]bool{}})
	}
	c.rows[at].passed[name] = passed
}

// write writes the table, in one order whoever ended first.
func (c *compatibility) write(t *testing.T, file string) {
	t.Helper()
	cases := []string{caseMasked, casePlain, caseRefused, caseGoesOn, caseHeld}
	slices.SortFunc(c.rows, func(a, b *compatibilityRow) int {
		return strings.Compare(strings.ToLower(a.client+a.upstream), strings.ToLower(b.client+b.upstream))
	})
	var b strings.Builder
	b.WriteString(`# Compatibility

Unmodified clients, run by ` + "`jit exec`" + ` in the end-to-end suite. This table is
written by the suite itself: ` + "`JIT_UPDATE=1 go test -tags e2e ./cmd/jit -run 'TestDrivers$'`" + `.
Do not edit it.

Each client first ran without jit. Through jit, the same reads gave the same
cells, except in the columns that are classified.

fakesnow and WireMock are independent upstreams. The sandbox is jit's own: it
shows that a client, jit and the sandbox agree, not that Snowflake does.
None of this is a run against Snowflake itself. A dash: the client logs in anew
for every statement, so there is nothing to go on with.

| client | versions | upstream | ` + strings.Join(cases, " | ") + " |\n|" + strings.Repeat(" --- |", 3+len(cases)) + "\n")
	for _, r := range c.rows {
		fmt.Fprintf(&b, "| %s | %s | %s |", r.client, r.versions, r.upstream)
		for _, name := range cases {
			switch passed, tried := r.passed[name]; {
			case !tried:
				b.WriteString(" – |")
			case passed:
				b.WriteString(" yes |")
			default:
				b.WriteString(" **no** |")
			}
		}
		b.WriteByte('\n')
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// about is what a client said of its versions; empty if it said nothing.
func about(r result) string {
	for lines := bufio.NewScanner(strings.NewReader(r.stdout)); lines.Scan(); {
		var line struct {
			About string `json:"about"`
		}
		if strings.HasPrefix(lines.Text(), `{"about"`) && json.Unmarshal(lines.Bytes(), &line) == nil {
			return line.About
		}
	}
	return ""
}

// pinned reads the version of a driver whose agent does not tell it.
func pinned(name string) string {
	where, ok := map[string]struct{ file, pattern string }{
		"go":      {"go.mod", `(gosnowflake)/v2 v([\d.]+)`},
		"python5": {".ci/requirements-driver.txt", `(snowflake-connector-python)==([\d.]+)`},
		"python4": {".ci/requirements-fakesnow.txt", `(snowflake-connector-python)==([\d.]+)`},
		"node":    {"cmd/jit/testdata/node/package.json", `"(snowflake-sdk)": "([\d.]+)"`},
	}[name]
	if !ok {
		return ""
	}
	text, err := os.ReadFile(filepath.Join(shared.root, where.file))
	if err != nil {
		return ""
	}
	found := regexp.MustCompile(where.pattern).FindSubmatch(text)
	if found == nil {
		return ""
	}
	return fmt.Sprintf("%s %s", found[1], found[2])
}
