package policy

import (
	"errors"
	"path"
	"strings"
	"testing"
	"testing/fstest"
)

// A pushed bundle cannot exhaust the server: what nests deeply is refused
// before a recursive parser sees it.
func TestDeeplyNestedBundleIsRefused(t *testing.T) {
	const head = "@id(\"a\") @reason(\"r\")\npermit (principal, action, resource) when { "
	for name, f := range map[string][2]string{
		"parentheses":       {"a.cedar", head + strings.Repeat("(", 100_000)},
		"split by lines":    {"a.cedar", head + strings.Repeat("(\n", 100_000)},
		"not not not":       {"a.cedar", head + strings.Repeat("!", 100_000) + "true };"},
		"not, line by line": {"a.cedar", head + strings.Repeat("!\n", 100_000) + "true };"},
		"minus minus":       {"a.cedar", head + strings.Repeat("- ", 100_000) + "1 == 1 };"},
		"flow lists":        {"limits.yaml", "statement: " + strings.Repeat("[", 100_000)},
		"flow maps":         {"limits.yaml", "statement: " + strings.Repeat("{a: ", 50_000)},
		"block lists":       {"limits.yaml", strings.Repeat("- ", 50_000)},
		"complex keys":      {"limits.yaml", strings.Repeat("? ", 50_000)},
		"large":             {"a.cedar", strings.Repeat("// x\n", 100_000)},
	} {
		_, err := Load(fstest.MapFS{f[0]: {Data: []byte(f[1])}, "z.cedar": {Data: []byte(permitAll)}})
		var be *BundleError
		if !errors.As(err, &be) || len(be.Problems) != 1 || !strings.Contains(err.Error(), "deep") && !strings.Contains(err.Error(), "larger") {
			t.Errorf("%s: %.300v", name, err)
		}
	}
	ruler := "// " + strings.Repeat("-", 200) + "\n" + permitAll
	if _, err := Load(fstest.MapFS{"a.cedar": {Data: []byte(ruler)}}); err != nil {
		t.Errorf("a ruler in a comment: %v", err)
	}
}

// Whatever bytes are pushed, Parse neither panics nor accepts what Format
// would write differently.
func FuzzParse(f *testing.F) {
	f.Add([]byte("-- a.cedar --\n" + permitAll))
	f.Add([]byte("-- a.cedar --\n" + permitAll + "-- classes.yaml --\nclasses:\n  a.b: {mask: null, columns: ['*.*.*.X']}\n"))
	f.Add([]byte("-- a.cedar --\n" + permitAll + "-- tests/a.yaml --\ntests:\n- {name: a, sql: SELECT 1, verdict: allow}\n"))
	f.Add([]byte("-- --"))
	f.Add([]byte("-- limits.yaml --\nstatement: &a {rows: 1}\nsession: *a\n"))
	f.Add([]byte("-- limits.yaml --\n<<: {a: 1}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := Parse(data)
		if err != nil {
			return
		}
		if string(b.Format()) != string(data) {
			t.Fatal("accepted what Format would write differently")
		}
		if got := rule1(b); got.Verdict != Deny {
			t.Fatalf("an empty batch: %v", got.Verdict)
		}
	})
}

// The files of a bundle, each on its own: problems, never a panic.
func FuzzFiles(f *testing.F) {
	for _, name := range Default().Files() {
		data, _ := Default().File(name)
		for chunk := range strings.SplitSeq(string(data), "\n\n") {
			f.Add(name, []byte(chunk))
		}
	}
	f.Add("classes.yaml", []byte("classes:\n  a.b: {mask: null, columns: ['*.*.*.X'], detect: email}\n"))
	f.Add("tests/a.yaml", []byte("tests:\n- {name: a, sql: SELECT 1, verdict: allow}\n"))
	f.Add("limits.yaml", []byte("statement: &a {rows: 1}\nsession: *a\n"))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		_, err := Load(fstest.MapFS{"z.cedar": {Data: []byte(permitAll)}, path.Base(name) + ".cedar": {Data: data},
			"classes.yaml": {Data: data}, "limits.yaml": {Data: data}, "tests/a.yaml": {Data: data}})
		var be *BundleError
		if err != nil && !errors.As(err, &be) {
			t.Skip() // a name that no folder can hold
		}
	})
}
