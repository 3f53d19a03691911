//go:build oracle

package sql

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The oracle is sqlglot, in the Python environment that JIT_TEST_PYTHON names
// (the interpreter's path). Tables and columns found here must include all
// that it finds.
func TestLineageIncludesTheOracles(t *testing.T) {
	python := os.Getenv("JIT_TEST_PYTHON")
	if python == "" {
		t.Fatal("JIT_TEST_PYTHON is not set: it names a Python interpreter with sqlglot")
	}
	for _, corpus := range []string{"tpch", "tpcds"} {
		t.Run(corpus, func(t *testing.T) { compareWithOracle(t, python, corpus) })
	}
}

type oracleAnswer struct {
	ID      string
	Error   string
	Tables  []string
	Columns [][]string
}

func compareWithOracle(t *testing.T, python, corpus string) {
	var tables map[string][]string
	readJSON(t, "cat_"+corpus+".json", &tables)
	cat := tableCatalog(t, tables)
	lines := readLines[corpusLine](t, "corpus/"+corpus+".jsonl")
	var in bytes.Buffer
	texts := map[string]string{}
	for _, c := range lines {
		texts[c.ID] = c.SQL
		data, err := json.Marshal(map[string]any{"id": c.ID, "sql": c.SQL, "tables": tables})
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(data, '\n'))
	}
	cmd := exec.CommandContext(t.Context(), python, "testdata/oracle.py")
	cmd.Stdin, cmd.Stderr = &in, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("running the oracle: %v", err)
	}
	compared, equal, silent, answers := 0, 0, 0, 0
	sc := bufio.NewScanner(bytes.NewReader(out))
	sc.Buffer(nil, 4<<20)
	for sc.Scan() {
		var o oracleAnswer
		if err := json.Unmarshal(sc.Bytes(), &o); err != nil {
			t.Fatal(err)
		}
		answers++
		if o.Error != "" {
			silent++
			t.Logf("%s: the oracle has no answer: %s", o.ID, o.Error)
			continue
		}
		a, err := Analyze(texts[o.ID], testContext, cat)
		if err != nil {
			t.Errorf("%s: %v", o.ID, err)
			continue
		}
		s := a.Statements[0]
		for _, want := range o.Tables {
			if !slices.ContainsFunc(s.Reads, func(x Object) bool { return strings.EqualFold(x.Name.String(), want) }) {
				t.Errorf("%s: table %s is not among %v", o.ID, want, s.Reads)
			}
		}
		if len(s.Unknown) > 0 || !s.OutputsKnown {
			t.Errorf("%s: not fully understood: %v", o.ID, s.Unknown)
		}
		if len(o.Columns) != len(s.Outputs) {
			t.Errorf("%s: %d outputs, the oracle has %d", o.ID, len(s.Outputs), len(o.Columns))
			continue
		}
		for i, sources := range o.Columns {
			if sources == nil {
				silent++
				continue
			}
			compared++
			for _, want := range sources {
				if !slices.ContainsFunc(s.Outputs[i].Labels.Columns, func(c Column) bool { return c.String() == want }) {
					t.Errorf("%s: output %d does not carry %s: %v", o.ID, i+1, want, s.Outputs[i].Labels)
				}
			}
			if len(sources) == len(s.Outputs[i].Labels.Columns) {
				equal++
			}
		}
	}
	if answers != len(lines) {
		t.Errorf("the oracle answered %d of %d queries", answers, len(lines))
	}
	if compared == 0 {
		t.Error("nothing was compared")
	}
	t.Logf("%d outputs compared, %d of them equal; the oracle had no answer %d times", compared, equal, silent)
}
