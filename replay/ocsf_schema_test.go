package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// ocsfPython is a Python with the published OCSF schemas, of .ci/parts.sh.
func ocsfPython(t *testing.T) string {
	t.Helper()
	python, err := filepath.Abs("../.cache/ocsf/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(python); errors.Is(err, fs.ErrNotExist) {
		if os.Getenv("JIT_TEST_PARTS") == "required" {
			t.Fatal("the OCSF schemas are not there, and JIT_TEST_PARTS=required: run .ci/parts.sh")
		}
		t.Skip("the OCSF schemas are not there; run .ci/parts.sh")
	}
	return python
}

// againstSchema lists what the published schema says of events.
func againstSchema(t *testing.T, events []byte) string {
	t.Helper()
	c := exec.Command(ocsfPython(t), "testdata/ocsf.py")
	c.Stdin = bytes.NewReader(events)
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &errs)
	}
	return string(out)
}

// TestExportOCSFAgainstThePublishedSchema: every event of class 6005 is valid, and
// the validator finds it if one is not.
func TestExportOCSFAgainstThePublishedSchema(t *testing.T) {
	events := export(t, hostileRecording(t), FormatOCSF)
	if n := bytes.Count(events, []byte("\n")); n < 5 {
		t.Fatalf("%d events", n)
	}
	if wrong := againstSchema(t, events); wrong != "" {
		t.Errorf("the schema says:\n%s", wrong)
	}
	line, _, _ := bytes.Cut(events, []byte("\n"))
	for name, spoil := range map[string]func(e map[string]any){
		"a required attribute is missing": func(e map[string]any) { delete(e, "actor") },
		"an attribute nobody knows":       func(e map[string]any) { e["invented"] = 1 },
		"a value outside its list":        func(e map[string]any) { e["activity_id"] = 77 },
		"a text for a number":             func(e map[string]any) { e["time"] = "now" },
	} {
		var e map[string]any
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		spoil(e)
		bad, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if wrong := againstSchema(t, bad); strings.TrimSpace(wrong) == "" {
			t.Errorf("%s: the validator finds nothing", name)
		}
	}
}
