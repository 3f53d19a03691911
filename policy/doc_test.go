package policy

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// expected is a ```yaml block behind a ```sql block of docs/policy.md.
type expected struct {
	Verdict   string   `yaml:"verdict"`
	Rule      string   `yaml:"rule"`
	Approvals int      `yaml:"approvals"`
	Reviewers []string `yaml:"reviewers"`
	Masked    []string `yaml:"masked"` // NAME class mask
}

var fence = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")

// Every example of docs/policy.md says what the shipped bundle does.
func TestDocumentedExamples(t *testing.T) {
	data, err := os.ReadFile("../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, examples, ok := strings.Cut(string(data), "## Ten worked examples")
	if !ok {
		t.Fatal("the examples are gone")
	}
	intro, examples, _ := strings.Cut(examples, "\n### ")
	scene, err := ParseScene("policy.md", []byte(fence.FindStringSubmatch(intro)[2]))
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.Split(examples, "\n### ")
	if len(sections) != 10 {
		t.Errorf("%d examples, want 10", len(sections))
	}
	for _, section := range sections {
		title, body, _ := strings.Cut(section, "\n")
		body, _, _ = strings.Cut(body, "\n## ")
		t.Run(title, func(t *testing.T) { checkExample(t, scene, body) })
	}
}

func checkExample(t *testing.T, scene Case, body string) {
	bundle := Default()
	var x *Explanation
	checked := 0
	for _, block := range fence.FindAllStringSubmatch(body, -1) {
		switch language, text := block[1], block[2]; language {
		case "cedar":
			bundle = mustLoadOver(t, map[string]string{"example.cedar": text})
		case "sql":
			e := bundle.Explain(text, Input{Subject: scene.Subject, Setting: scene.Setting}, scene.Catalog)
			x = &e
		case "yaml":
			var want expected
			if err := yaml.UnmarshalWithOptions([]byte(text), &want, yaml.Strict()); err != nil {
				t.Fatal(err)
			}
			if x == nil {
				t.Fatal("an expectation without a statement")
			}
			checkExpected(t, want, *x)
			x, checked = nil, checked+1
		default:
			t.Errorf("a block of %q", language)
		}
	}
	if checked == 0 {
		t.Error("the example checks nothing")
	}
}

func checkExpected(t *testing.T, want expected, x Explanation) {
	t.Helper()
	r := x.Ruling
	if r.Verdict.String() != want.Verdict || r.Rule != want.Rule || r.Approvals != want.Approvals || !slices.Equal(r.Reviewers, want.Reviewers) {
		t.Errorf("got %v by %s, %d approvals of %v, want %+v (%v)", r.Verdict, r.Rule, r.Approvals, r.Reviewers, want, r.Reason)
	}
	var masked []string
	for i, masks := range r.Masks {
		for n, cm := range masks {
			if cm.Hides() {
				masked = append(masked, fmt.Sprintf("%s %s %s", outputName(&x.Analysis.Statements[i], n), cm.Class, cm.Mask))
			}
		}
	}
	if want.Verdict == "allow" && !slices.Equal(masked, want.Masked) {
		t.Errorf("masked %q, want %q", masked, want.Masked)
	}
}

// The masks table of docs/policy.md says what the masks do.
func TestDocumentedMasks(t *testing.T) {
	data, err := os.ReadFile("../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\| (.*?) \\| (.*?) \\|$").FindAllStringSubmatch(string(data), -1)
	seen := 0
	for _, row := range rows {
		mask, ok := ParseMask(row[1])
		if !ok {
			continue
		}
		seen++
		for i, cell := range []struct{ class, value string }{{"pii.email", "ana@example.com"}, {"pii.ssn", "123-45-6789"}} {
			said, _, _ := strings.Cut(strings.TrimPrefix(row[2+i], "`"), "`")
			cm := ColumnMask{cell.class, mask}
			got := string(NewMasker([]byte("k")).AppendText(nil, cm, []byte(cell.value)))
			switch {
			case mask == MaskNull:
				if said != "NULL" || !cm.Nulls() {
					t.Errorf("%v: the table says %q", mask, said)
				}
			case mask == MaskHash:
				if !strings.HasPrefix(got, strings.TrimSuffix(said, "…›")) {
					t.Errorf("%v of %q is %q, the table says %q", mask, cell.value, got, said)
				}
			case got != said:
				t.Errorf("%v of %q is %q, the table says %q", mask, cell.value, got, said)
			}
		}
	}
	if seen != len(maskNames)-1 {
		t.Errorf("the table shows %d masks", seen)
	}
}

func TestEveryRulingOfJitItselfIsDocumented(t *testing.T) {
	data, err := os.ReadFile("../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range reservedIDs {
		if !strings.Contains(string(data), "| `"+id+"` | ") {
			t.Errorf("%s is not explained", id)
		}
	}
	for _, fact := range statementFactNames {
		if !strings.Contains(string(schemaText), fact) {
			t.Errorf("%s is not in the schema", fact)
		}
	}
}
