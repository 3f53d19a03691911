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
	remarks                    map[string]string
}

func (c *compatibility) note(who client, versions, name string, passed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	row := c.row(who.name, who.upstream.name)
	if versions == "" {
		versions = pinned(who.name)
	}
	if versions != "" {
		row.versions = versions
	}
	row.passed[name] = passed
}

// expect counts cases as failed until they pass.
func (c *compatibility) expect(who client, cases ...string) {
	for _, name := range cases {
		c.note(who, "", name, false)
	}
}

// remark adds to what the table says of a case that passed.
func (c *compatibility) remark(who client, name, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.row(who.name, who.upstream.name).remarks[name] = text
}

// row finds or makes the row of a client; c.mu is held.
func (c *compatibility) row(client, upstream string) *compatibilityRow {
	at := slices.IndexFunc(c.rows, func(r *compatibilityRow) bool { return r.client == client && r.upstream == upstream })
	if at < 0 {
		at = len(c.rows)
		c.rows = append(c.rows, &compatibilityRow{client: client, upstream: upstream, passed: map[string]bool{}, remarks: map[string]string{}})
	}
	return c.rows[at]
}

// table is one table of the page: a row per client that met one of its cases.
func (c *compatibility) table(cases []string, upstreams bool) string {
	head := []string{"client", "versions"}
	if upstreams {
		head = append(head, "upstream")
	}
	head = append(head, cases...)
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat(" --- |", len(head)))
	for _, r := range c.rows {
		if !slices.ContainsFunc(cases, func(name string) bool { _, tried := r.passed[name]; return tried }) {
			continue
		}
		fmt.Fprintf(&b, "| %s | %s |", r.client, r.versions)
		if upstreams {
			fmt.Fprintf(&b, " %s |", r.upstream)
		}
		for _, name := range cases {
			switch passed, tried := r.passed[name]; {
			case !tried:
				b.WriteString(" – |")
			case !passed:
				b.WriteString(" **no** |")
			case r.remarks[name] != "":
				fmt.Fprintf(&b, " yes (%s) |", r.remarks[name])
			default:
				b.WriteString(" yes |")
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// write writes the page, in one order whoever ended first.
func (c *compatibility) write(t *testing.T, file string) {
	t.Helper()
	slices.SortFunc(c.rows, func(a, b *compatibilityRow) int {
		return strings.Compare(strings.ToLower(a.client+a.upstream), strings.ToLower(b.client+b.upstream))
	})
	around, err := os.ReadFile(shared.testdata("compatibility.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := strings.NewReplacer(
		"{sessions}", c.table([]string{caseMasked, casePlain, caseRefused, caseGoesOn, caseHeld}, true),
		"{results}", c.table([]string{caseTypesJSON, caseTypesArrow, caseHiddenJSON, caseHiddenArrow, caseLargeJSON, caseLargeArrow}, false),
		"{statements}", c.table([]string{caseErrors, caseBulk, caseMulti, caseAsync, caseLongHold, caseCancelHeld, caseCancelRun}, false),
		"{hold}", holdFor().String(),
	).Replace(string(around))
	if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
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
