package policy

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/fstest"
)

func TestFormatParse(t *testing.T) {
	for _, b := range []*Bundle{Default(), Demo()} {
		data := b.Format()
		again, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.Format(), data) || again.Digest() != b.Digest() || len(b.Digest()) != 64 {
			t.Error("a bundle changes when formatted and parsed")
		}
	}
	if Default().Digest() == Demo().Digest() {
		t.Error("two bundles have one digest")
	}
}

func TestParseRefusesWhatFormatDidNotWrite(t *testing.T) {
	good := string(Default().Format())
	for name, text := range map[string]string{
		"comment":        "hello\n" + good,
		"no line end":    strings.TrimSuffix(good, "\n"),
		"blanks in name": strings.Replace(good, "-- classes.yaml --", "--  classes.yaml --", 1),
		"unsorted":       "-- z.cedar --\n-- a.cedar --\n",
		"nothing":        "",
		"half a marker":  "-- --",
		"an empty name":  "--  --\n" + good,
		"twice":          "-- a.cedar --\n-- a.cedar --\n",
	} {
		if _, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := Parse([]byte("x\n")); !errors.Is(err, ErrFormat) {
		t.Errorf("got %v, want ErrFormat", err)
	}
}

func TestDigestIgnoresLineEnds(t *testing.T) {
	load := func(text string) string {
		b, err := Load(fstest.MapFS{"a.cedar": {Data: []byte(text)}})
		if err != nil {
			t.Fatal(err)
		}
		return b.Digest()
	}
	unix := load(permitAll)
	if load(strings.ReplaceAll(permitAll, "\n", "\r\n")) != unix || load(strings.TrimSuffix(permitAll, "\n")) != unix {
		t.Error("the digest depends on line ends")
	}
}

// Everything wrong with a bundle is reported at once, with file and line.
func TestProblems(t *testing.T) {
	const head = `@id("%") @reason("r")` + "\n"
	rule := func(id, body string) string { return strings.ReplaceAll(head, "%", id) + body + "\n" }
	for _, tt := range []struct{ name, file, data, want string }{
		{"no rules", "limits.yaml", "statement: {rows: 1}", "*.cedar: the bundle has no rules"},
		{"unknown file", "notes.txt", "x", "notes.txt: not a file of a bundle"},
		{"folder", "more/a.cedar", "", "more/a.cedar: not a file of a bundle"},
		{"syntax", "a.cedar", "permit (principal,\n action,\n resource) when { 1 + };", "a.cedar:3: not valid Cedar"},
		{"unknown action", "a.cedar", rule("a", `permit (principal, action == Action::"rum", resource);`), "a.cedar:1: rule \"a\": unrecognized action"},
		{"unknown entity", "a.cedar", rule("a", `permit (principal in Team::"x", action, resource);`), "a.cedar:1: rule \"a\": unrecognized entity type"},
		{"unknown fact", "a.cedar", rule("a", `permit (principal, action == Action::"run", resource) when { context.knd == "X" };`), "knd"},
		{"wrong type", "a.cedar", rule("a", `permit (principal, action == Action::"run", resource) when { context.unknown == 1 };`), "a.cedar:1: rule \"a\":"},
		{"no id", "a.cedar", `@reason("r") permit (principal, action, resource);`, "give it an @id"},
		{"id twice", "a.cedar", rule("a", `permit (principal, action, resource);`) + rule("a", `permit (principal, action, resource);`), "a.cedar:3: rule \"a\": the @id is taken by a.cedar:1"},
		{"reserved id", "a.cedar", rule("policy-error", `permit (principal, action, resource);`), "taken by jit itself"},
		{"no reason", "a.cedar", `@id("a") permit (principal, action, resource);`, "give it a @reason"},
		{"unknown annotation", "a.cedar", `@owner("x") ` + rule("a", `permit (principal, action, resource);`), "unknown annotation @owner"},
		{"approvals", "a.cedar", `@approvals("0") ` + rule("a", `forbid (principal, action == Action::"runUnattended", resource);`), "@approvals must be 1 to 9"},
		{"idle annotation", "a.cedar", `@approvals("2") ` + rule("a", `forbid (principal, action == Action::"run", resource);`), "@approvals has no effect here"},
		{"empty reviewers", "a.cedar", `@reviewers(" ,") ` + rule("a", `forbid (principal, action == Action::"runUnattended", resource);`), "names no group"},
		{"constant", "a.cedar", rule("a", `permit (principal, action, resource) when { false };`), "can never fire: a condition is constant"},
		{"constant unless", "a.cedar", rule("a", `permit (principal, action, resource) unless { true };`), "can never fire: a condition is constant"},
		{"contradiction", "a.cedar", rule("a", `forbid (principal, action == Action::"run", resource) when { context.category == "query" && context.unknown } when { "write" == context.category };`), `context.category cannot be both query and write`},
		{"tests: catalog", "tests/a.yaml", "catalog:\n  A.B.C: {colums: [X]}\ntests:\n  - {name: n, sql: SELECT 1, verdict: allow}", "tests/a.yaml:2: unknown key \"colums\""},
		{"unknown category", "a.cedar", rule("a", `forbid (principal, action == Action::"run", resource) when { context.category == "ddl" };`), `context.category is one of unknown, query`},
		{"unknown category in a set", "a.cedar", rule("a", `forbid (principal, action == Action::"run", resource) when { ["query", "dll"].contains(context.category) };`), `not "dll"`},
		{"unknown risk", "a.cedar", rule("a", `forbid (principal, action == Action::"run", resource) when { context.risks.contains("bad") };`), `context.risks is one of`},
		{"unknown class in a fact", "a.cedar", rule("a", `forbid (principal, action == Action::"run", resource) when { context.outputClasses.contains("pii.emial") };`), `no class "pii.emial"`},
		{"unknown class in scope", "a.cedar", rule("a", `permit (principal, action == Action::"readClear", resource == Class::"pii.emial");`), `no class "pii.emial"`},
		{"impossible scope", "a.cedar", rule("a", `permit (principal, action == Action::"readClear", resource is Table);`), "unable to find an applicable action"},
		{"classes: not yaml", "classes.yaml", "classes: {a: [", "classes.yaml:1: not valid YAML"},
		{"classes: unknown key", "classes.yaml", "colours: {}", "classes.yaml:1: unknown key \"colours\""},
		{"classes: unknown field", "classes.yaml", "classes:\n  a.b:\n    mask: redact\n    detect: email\n    colour: red", "classes.yaml:5: unknown key \"colour\""},
		{"classes: unknown mask", "classes.yaml", "classes:\n  a.b:\n    mask: blur\n    detect: email", "classes.yaml:3: unknown mask \"blur\""},
		{"classes: counts", "classes.yaml", "classes:\n  a.b:\n    mask: redact\n    counts: yes\n    detect: email", "classes.yaml:4: "},
		{"classes: mask none", "classes.yaml", "classes:\n  a.b:\n    mask: none\n    detect: email", "classes.yaml:3: unknown mask \"none\""},
		{"classes: no mask", "classes.yaml", "classes:\n  a.b:\n    detect: email", "classes.yaml:2: class a.b has no mask"},
		{"classes: covers nothing", "classes.yaml", "classes:\n  a.b:\n    mask: redact", "classes.yaml:2: class a.b covers nothing"},
		{"classes: unknown detector", "classes.yaml", "classes:\n  a.b:\n    mask: redact\n    detect: face", "classes.yaml:4: unknown detector \"face\""},
		{"classes: bad glob", "classes.yaml", "classes:\n  a.b:\n    mask: redact\n    columns:\n      - \"*.EMAIL\"", "classes.yaml:5: pattern \"*.EMAIL\""},
		{"classes: bad name", "classes.yaml", "classes:\n  A..b:\n    mask: redact\n    detect: email", "class name \"A..b\""},
		{"classes: reserved name", "classes.yaml", "classes:\n  unknown:\n    mask: redact\n    detect: email", "class name \"unknown\""},
		{"classes: twice", "classes.yaml", "classes:\n  a.b: {mask: redact, detect: email}\n  a.b: {mask: redact, detect: email}", "classes.yaml:3"},
		{"limits: unknown key", "limits.yaml", "statement: {cells: 1}", "unknown key \"cells\""},
		{"limits: zero", "limits.yaml", "statement: {rows: 0}", "not a whole number above 0"},
		{"limits: size", "limits.yaml", "session:\n  bytes: 1 GB", "limits.yaml:2: bytes: \"1 GB\" is not a size"},
		{"limits: time", "limits.yaml", "session: {wall: 5}", "not a time"},
		{"tests: verdict", "tests/a.yaml", "tests:\n  - name: n\n    sql: SELECT 1\n    verdict: maybe", "tests/a.yaml:4: unknown verdict"},
		{"tests: incomplete", "tests/a.yaml", "tests:\n  - name: n\n    verdict: hold", "a test needs a name, sql and a verdict"},
		{"tests: unknown rule", "tests/a.yaml", "tests:\n  - name: n\n    sql: SELECT 1\n    verdict: hold\n    rule: gone", "expects rule \"gone\""},
		{"marker line", "limits.yaml", "statement: {rows: 1}\n-- a.cedar --\n", "limits.yaml:2: a line of the form"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := fstest.MapFS{tt.file: {Data: []byte(tt.data)}}
			if tt.name != "no rules" && !strings.HasSuffix(tt.file, ".cedar") {
				files["good.cedar"] = &fstest.MapFile{Data: []byte(permitAll)}
			}
			_, err := Load(files)
			var be *BundleError
			if !errors.As(err, &be) {
				t.Fatalf("got %v, want a BundleError", err)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v\nwant %q", err, tt.want)
			}
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := Load(fstest.MapFS{
		"a.cedar":      {Data: []byte(`permit (principal, action == Action::"rum", resource);`)},
		"b.cedar":      {Data: []byte(`permit (`)},
		"classes.yaml": {Data: []byte("classes:\n  a.b:\n    mask: blur\n    columns: [x]\n")},
		"limits.yaml":  {Data: []byte("statement: {rows: no}\nsession: {rows: no}\n")},
	})
	var be *BundleError
	if !errors.As(err, &be) {
		t.Fatal(err)
	}
	if len(be.Problems) != 9 {
		t.Errorf("%d problems:\n%v", len(be.Problems), err)
	}
}

func TestGlobs(t *testing.T) {
	for _, tt := range []struct {
		pattern string
		column  [4]string
		want    bool
	}{
		{"*.*.*.EMAIL", [4]string{"APP", "PUBLIC", "CUSTOMERS", "EMAIL"}, true},
		{"*.*.*.email", [4]string{"APP", "PUBLIC", "CUSTOMERS", "EMAIL"}, true},
		{"*.*.*.EMAIL", [4]string{"APP", "PUBLIC", "CUSTOMERS", "email"}, true}, // a quoted, lower-case column
		{`*.*.*."email"`, [4]string{"APP", "PUBLIC", "CUSTOMERS", "email"}, true},
		{`*.*.*."email"`, [4]string{"APP", "PUBLIC", "CUSTOMERS", "EMAIL"}, false},
		{`*.*.*."a.b""c"`, [4]string{"APP", "PUBLIC", "CUSTOMERS", `a.b"c`}, true},
		{"*.*.*.EMAIL", [4]string{"APP", "PUBLIC", "CUSTOMERS", "EMAILS"}, false},
		{"*.*.*.*_EMAIL", [4]string{"APP", "PUBLIC", "CUSTOMERS", "WORK_EMAIL"}, true},
		{"*.*.*.E?AIL", [4]string{"APP", "PUBLIC", "CUSTOMERS", "EMAIL"}, true},
		{"APP.*.*.*", [4]string{"APP", "S", "T", "ANY"}, true},
		{"APP.*.*.*", [4]string{"APPS", "S", "T", "ANY"}, false},
		{"APP.PUBLIC.C*S.*MAIL*", [4]string{"APP", "PUBLIC", "CUSTOMERS", "XMAILY"}, true},
	} {
		parts, err := parseGlob(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		got := true
		for i := range parts {
			got = got && parts[i].match(tt.column[i])
		}
		if got != tt.want {
			t.Errorf("%s on %q: %v", tt.pattern, tt.column, got)
		}
	}
	for _, bad := range []string{"", "EMAIL", "*.*.EMAIL", "*.*.*.*.EMAIL", `*.*.*."EMAIL`, `*.*.*.""`, "*.*.*.", "..*.*", "*.*.*.e-mail", `*.*.*."a"b`} {
		if _, err := parseGlob(bad); err == nil {
			t.Errorf("%q: accepted", bad)
		}
	}
}
