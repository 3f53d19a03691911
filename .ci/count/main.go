// Count reads the output of one or more `go test -json` runs from standard
// input, prints each package as it ends, then what failed and what was skipped,
// and ends with the plain line
//
//	N passed, N failed
//
// It exits 1 if anything failed or nothing ran. Every test and sub-test counts
// once; a package that does not build, or dies outside a test, counts as one
// failure. A skipped test is neither: it is listed, so that nobody mistakes it
// for a pass.
//
// Beside the events of go test it knows {"Action":"exit"}, which .ci/test
// writes after each run with the run's exit status: a run that failed without
// naming a failure is one failure.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

func main() {
	t := tally{seen: map[testID]string{}, output: map[testID][]string{}}
	if err := t.read(os.Stdin, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "count:", err)
		os.Exit(1)
	}
	if !t.report(os.Stdout) {
		os.Exit(1)
	}
}

// testID names a test; Name is empty for the package itself.
type testID struct{ Package, Name string }

// event is a line of go test -json, as far as it matters here.
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
	ImportPath                    string // of build-output
	FailedBuild                   string // of fail: the ImportPath whose build failed
}

type tally struct {
	seen   map[testID]string // the last of pass, fail, skip
	output map[testID][]string
	failed int // in the run being read
}

func (t *tally) read(r io.Reader, progress io.Writer) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(progress, lines.Text()) // go's own words: downloads, a bad pattern
			continue
		}
		t.take(e, progress)
	}
	return lines.Err()
}

func (t *tally) take(e event, progress io.Writer) {
	at := testID{cmp.Or(e.Package, e.ImportPath), e.Test}
	switch e.Action {
	case "output", "build-output":
		t.output[at] = append(t.output[at], e.Output)
	case "pass":
		t.seen[at] = e.Action
		delete(t.output, at)
	case "skip":
		t.seen[at] = e.Action // its output says why
	case "fail":
		t.seen[at] = e.Action
		t.failed++
		t.output[at] = append(t.output[at], t.output[testID{Package: e.FailedBuild}]...)
	case "exit":
		if t.failed == 0 && e.Output != "exit status 0\n" {
			t.seen[at] = "fail"
			t.output[at] = []string{e.Output}
		}
		t.failed = 0
		return
	}
	if e.Test == "" && (e.Action == "pass" || e.Action == "fail") {
		fmt.Fprintf(progress, "%-4s %s %.1fs\n", e.Action, e.Package, e.Elapsed)
	}
}

func (t *tally) report(w io.Writer) bool {
	order := slices.SortedFunc(maps.Keys(t.seen), func(a, b testID) int {
		return cmp.Or(cmp.Compare(a.Package, b.Package), cmp.Compare(a.Name, b.Name))
	})
	blamed := map[string]bool{} // packages with a failed test of their own
	for _, at := range order {
		if at.Name != "" && t.seen[at] == "fail" {
			blamed[at.Package] = true
		}
	}
	var passed, failed, skipped int
	for _, at := range order {
		switch verdict := t.seen[at]; {
		case at.Name == "" && (verdict != "fail" || blamed[at.Package]):
			// The package's line only repeats its tests.
		case verdict == "pass":
			passed++
		case verdict == "skip":
			skipped++
			fmt.Fprintf(w, "SKIPPED %s %s\n%s", at.Package, at.Name, strings.Join(t.output[at], ""))
		default:
			failed++
			fmt.Fprintf(w, "FAILED %s %s\n%s\n", at.Package, at.Name, strings.Join(t.output[at], ""))
		}
	}
	if skipped > 0 {
		fmt.Fprintf(w, "%d skipped: see SKIPPED above\n", skipped)
	}
	fmt.Fprintf(w, "%d passed, %d failed\n", passed, failed)
	return failed == 0 && passed > 0
}
