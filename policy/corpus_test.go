package policy

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jit-access/jit/policy/sql"
)

// Over thousands of real statements: every one gets a ruling with a rule and a
// reason, no rule of the shipped bundle errs, and what runs without a person is
// a read or housekeeping that was understood.
func TestRealStatements(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(corpusDir, "corpus", "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Skip("the corpora are not here")
	}
	verdicts := make(map[Verdict]int)
	for _, file := range files {
		for _, text := range readCorpus(t, file) {
			x := Default().Explain(text, Input{Subject: ana(), Setting: prod()}, nil)
			r := x.Ruling
			verdicts[r.Verdict]++
			if r.Rule == "" || r.Reason == "" || r.Rule == ruleError || (r.Verdict == Hold) != (r.Approvals > 0) {
				t.Errorf("%s: %v by %q (%s), %d approvals", text, r.Verdict, r.Rule, r.Reason, r.Approvals)
			}
			if r.Verdict != Allow {
				continue
			}
			for _, s := range x.Analysis.Statements {
				switch s.Category {
				case sql.CategoryQuery, sql.CategoryMetadata, sql.CategorySession, sql.CategoryTransaction, sql.CategoryRole:
				default:
					t.Errorf("%s: a statement of category %v runs on its own", text, s.Category)
				}
				if s.Kind == sql.KindUnknown || len(s.Unknown) > 0 || len(s.Writes) > 0 && s.Category == sql.CategoryQuery {
					t.Errorf("%s: runs on its own, though %v, writing %v", text, s.Unknown, s.Writes)
				}
			}
		}
	}
	t.Logf("%d allow, %d hold, %d deny", verdicts[Allow], verdicts[Hold], verdicts[Deny])
}

func readCorpus(t testing.TB, file string) []string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		var row struct {
			SQL      string
			Fragment bool
		}
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		if !row.Fragment {
			out = append(out, row.SQL)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// BenchmarkExplain measures parsing, lineage and verdict together: TPC-DS with
// its catalog per operation, and median and 99th percentile over all corpora.
func BenchmarkExplain(b *testing.B) {
	data, err := os.ReadFile(filepath.Join(corpusDir, "cat_tpcds.json"))
	if err != nil {
		b.Skip("the corpora are not here")
	}
	var tables map[string][]string
	if err := json.Unmarshal(data, &tables); err != nil {
		b.Fatal(err)
	}
	catalog := make(Tables)
	for name, columns := range tables {
		n, ok := ParseObjectName(name)
		if !ok {
			b.Fatal(name)
		}
		catalog[n] = sql.Relation{Kind: sql.ObjectTable, Columns: columns}
	}
	bundle, in := Default(), Input{Subject: ana(), Setting: prod()}
	b.Run("tpcds", func(b *testing.B) {
		texts := readCorpus(b, filepath.Join(corpusDir, "corpus", "tpcds.jsonl"))
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			bundle.Explain(texts[i%len(texts)], in, catalog)
		}
	})
	b.Run("corpora", func(b *testing.B) {
		files, _ := filepath.Glob(filepath.Join(corpusDir, "corpus", "*.jsonl")) // the pattern is constant
		var texts []string
		for _, f := range files {
			texts = append(texts, readCorpus(b, f)...)
		}
		took := make([]time.Duration, len(texts)) // the fastest of the rounds
		for b.Loop() {
			for i, text := range texts {
				start := time.Now()
				bundle.Explain(text, in, catalog)
				if d := time.Since(start); took[i] == 0 || d < took[i] {
					took[i] = d
				}
			}
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "ns/median")
		b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "ns/p99")
	})
}
