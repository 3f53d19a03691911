package policy

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jit-access/jit/policy/sql"
)

// corpusDir holds the attack corpus; it is no part of the repository.
const corpusDir = "../../shared/sql"

// attack is one line of adversarial.jsonl.
type attack struct {
	ID     string
	SQL    string
	Expect struct {
		Verdict string
		Masked  []struct {
			Pos  int
			Name string
		}
		Pred []string
	}
	Why string
}

// No case of the attack corpus gets unmasked data out, or anything done,
// without a person.
func TestAdversarialCorpus(t *testing.T) {
	catalog, set, bundle := adversarialScene(t)
	for _, a := range readAttacks(t, filepath.Join(corpusDir, "adversarial.jsonl")) {
		t.Run(a.ID, func(t *testing.T) {
			x := bundle.Explain(a.SQL, Input{Subject: ana(), Setting: set}, catalog)
			if problem := judgeAttack(a, x); problem != "" {
				t.Errorf("%s\n%s\ngot %v by %s, masked %v\nbecause: %s", problem, a.SQL, x.Ruling.Verdict, x.Ruling.Rule, x.Ruling.Masks, a.Why)
			}
		})
	}
}

// judgeAttack says what is wrong with a ruling, or "". Stricter than expected
// is never wrong here; TestCorpusIsNotOverblocked counts that.
func judgeAttack(a attack, x Explanation) string {
	r := x.Ruling
	if x.Analysis != nil { // masks count after an approval too
		last := len(r.Masks) - 1
		for _, m := range a.Expect.Masked {
			if last < 0 || r.Masks[last] == nil {
				if last >= 0 && !r.Rest[last].Hides() && returnsData(x.Analysis.Statements[last].Category) {
					return "a result whose columns are not known would be shown"
				}
				continue
			}
			if m.Pos > len(r.Masks[last]) {
				continue // fewer columns than expected are checked against the result's metadata
			}
			if !r.Masks[last][m.Pos-1].Hides() && strings.Contains(a.Expect.Verdict, "mask") {
				return fmt.Sprintf("column %d (%s) is not masked", m.Pos, m.Name)
			}
		}
	}
	switch a.Expect.Verdict {
	case "allow", "allow-metadata", "mask", "mask-or-block", "mask-all-or-block", "block-or-mask", "block-or-mask-all", "allow-aggregate":
		return "" // the masks above are what matters
	case "block", "approve", "inference", "inference+error-redact":
		if r.Verdict == Allow {
			return "it would run without a person"
		}
		if strings.Contains(a.Expect.Verdict, "error-redact") && !r.ReadsClassed {
			return "error texts would not be scrubbed"
		}
		return ""
	}
	return "unknown expectation " + a.Expect.Verdict
}

// The share of the corpus' harmless statements that need a person, so that
// strictness is a choice and not an accident.
func TestCorpusIsNotOverblocked(t *testing.T) {
	catalog, set, bundle := adversarialScene(t)
	harmless, held := 0, []string{}
	for _, a := range readAttacks(t, filepath.Join(corpusDir, "adversarial.jsonl")) {
		switch a.Expect.Verdict {
		case "allow", "allow-metadata", "mask", "allow-aggregate":
			harmless++
			if x := bundle.Explain(a.SQL, Input{Subject: ana(), Setting: set}, catalog); x.Ruling.Verdict != Allow {
				held = append(held, fmt.Sprintf("%s (%v by %s)", a.ID, x.Ruling.Verdict, x.Ruling.Rule))
			}
		}
	}
	t.Logf("%d of %d harmless or maskable statements need a person: %s", len(held), harmless, strings.Join(held, ", "))
	if len(held)*5 > harmless {
		t.Errorf("%d of %d harmless or maskable statements need a person", len(held), harmless)
	}
}

// adversarialScene is the default bundle with the corpus' masked columns in a
// class, and the corpus' catalog.
func adversarialScene(t *testing.T) (Tables, Setting, *Bundle) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(corpusDir, "adversarial_catalog.json"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the attack corpus is not here")
	}
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Session struct{ Database, Schema string }
		Tables  map[string][]string
		Masked  []string
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	catalog := make(Tables)
	for name, columns := range doc.Tables {
		n, ok := ParseObjectName(name)
		if !ok {
			t.Fatalf("table %q", name)
		}
		catalog[n] = sql.Relation{Kind: sql.ObjectTable, Columns: columns}
	}
	files := fstest.MapFS{}
	for _, f := range Default().files {
		if filepath.Dir(f.name) != testsDir {
			files[f.name] = &fstest.MapFile{Data: f.data}
		}
	}
	var classes strings.Builder
	classes.WriteString("classes:\n  corpus.masked:\n    mask: redact\n    columns:\n")
	for _, c := range doc.Masked {
		fmt.Fprintf(&classes, "      - %q\n", c)
	}
	files[classesFile] = &fstest.MapFile{Data: []byte(classes.String())}
	b, err := Load(files)
	if err != nil {
		t.Fatal(err)
	}
	set := prod()
	set.Database, set.Schema = doc.Session.Database, doc.Session.Schema
	return catalog, set, b
}

func readAttacks(t *testing.T, file string) []attack {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []attack
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		var a attack
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		out = append(out, a)
	}
	if err := lines.Err(); err != nil || len(out) < 100 {
		t.Fatalf("%d cases, %v", len(out), err)
	}
	if slices.ContainsFunc(out, func(a attack) bool { return a.ID == "" }) {
		t.Fatal("a case has no id")
	}
	return out
}
