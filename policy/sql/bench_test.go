package sql

import (
	"slices"
	"testing"
	"time"
)

// BenchmarkAnalyze measures parsing and lineage of every accepted statement of
// a corpus and reports percentiles over its statements, each taken as the
// fastest of three runs.
func BenchmarkAnalyze(b *testing.B) {
	for _, name := range corpora {
		b.Run(name, func(b *testing.B) { benchmarkCorpus(b, []string{name}) })
	}
	b.Run("all", func(b *testing.B) { benchmarkCorpus(b, corpora) })
}

func benchmarkCorpus(b *testing.B, names []string) {
	cat := benchmarkCatalog(b)
	var texts []string
	for _, name := range names {
		for _, c := range readLines[corpusLine](b, "corpus/"+name+".jsonl") {
			if _, err := Analyze(c.SQL, testContext, cat); err == nil {
				texts = append(texts, c.SQL)
			}
		}
	}
	best := make([]time.Duration, len(texts))
	for i, s := range texts {
		for run := range 3 {
			start := time.Now()
			_, _ = Analyze(s, testContext, cat)
			if d := time.Since(start); run == 0 || d < best[i] {
				best[i] = d
			}
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		_, _ = Analyze(texts[i%len(texts)], testContext, cat)
	}
	slices.Sort(best)
	b.ReportMetric(float64(best[len(best)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(best[len(best)*99/100].Nanoseconds()), "p99-ns")
	b.ReportMetric(float64(best[len(best)-1].Nanoseconds()), "max-ns")
}

func benchmarkCatalog(tb testing.TB) testCatalog {
	cat := testCatalog{}
	for _, name := range []string{"cat_tpch.json", "cat_tpcds.json"} {
		var tables map[string][]string
		readJSON(tb, name, &tables)
		for n, r := range tableCatalog(tb, tables) {
			cat[n] = r
		}
	}
	return cat
}
