package cmd

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jit-access/jit/session/recording"
)

func TestRecordingRedact(t *testing.T) {
	r := newRecorder(t)
	r.trust()
	r.record("ses_1", true)
	dir := filepath.Join(r.app.Paths.Recordings(), "ses_1")
	getenv := r.app.Getenv
	r.app.Getenv = func(name string) string {
		if name == "JIT_SECRETS" {
			return "memory"
		}
		return getenv(name)
	}
	held := func() bool {
		text, err := os.ReadFile(filepath.Join(dir, recording.FileEvents))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(text), "SELECT 'hold")
	}
	if !held() {
		t.Fatal("the recording does not hold what is to be taken out")
	}

	_, errs, code := r.run("recording", "redact", "ses_1", "--containing", "select 'HOLD", "--why", "a name", "--dry-run")
	contains(t, errs, "Would be taken out", "event 2: sql.text")
	if code != ExitOK || !held() {
		t.Fatalf("the dry run: exit %d, still there %v", code, held())
	}
	_, errs, code = r.run("recording", "redact", "ses_1", "--statement", "3", "--containing", "select 'HOLD", "--why", "a name\x1b[2J", "--by", "dora")
	if code != ExitOK || held() {
		t.Fatalf("exit %d, still there %v: %s", code, held(), errs)
	}
	contains(t, errs, "Taken out of", "Signed by jit-redaction+")

	out, errs, code := r.run("recording", "verify", "ses_1")
	if code != ExitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	contains(t, out, "redacted", "by dora: a name", "jit-redaction+")
	if strings.Contains(out, "\x1b") {
		t.Errorf("the reason moves the cursor: %q", out)
	}
	out, _, _ = r.run("recording", "verify", "ses_1", "--json")
	var doc verifyDoc
	if err := json.Unmarshal([]byte(out), &doc); err != nil || !doc.OK || !doc.Trusted || len(doc.Redactions) != 1 || doc.Redactions[0].By != "dora" || doc.Left != 0 {
		t.Errorf("%v: %+v", err, doc)
	}
	out, _, _ = r.run("replay", "ses_1", "--plain")
	contains(t, out, recording.Redacted, "a name")
	out, _, code = r.run("recording", "export", "ses_1", "--format", "html")
	if code != ExitOK || strings.Contains(out, "SELECT 'hold") {
		t.Errorf("the report: exit %d", code)
	}

	bundle := filepath.Join(t.TempDir(), "evidence.tar.gz")
	if _, errs, code := r.run("audit", "export", "--session", "ses_1", "--evidence", "-o", bundle); code != ExitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	pythonVerifies(t, unpack(t, bundle), "SELECT 'allow", `"redacted": 2`, `"left": 0`)

	_, errs, code = r.run("recording", "redact", "ses_1", "--containing", "select 'HOLD", "--why", "again")
	contains(t, errs, "there is nothing to redact")
	if code != ExitError {
		t.Errorf("exit %d", code)
	}
}

func TestRecordingRedactUsage(t *testing.T) {
	r := newRecorder(t)
	r.trust()
	r.record("ses_1", true)
	for _, args := range [][]string{
		{"ses_1", "--why", "x"}, {"ses_1", "--reason"}, {"ses_1", "--why", " ", "--reason"}, {"--why", "x", "--reason"},
		{"ses_1", "--why", "x", "--statement", "99"}, {"ses_1", "--why", "x", "--containing", ""},
	} {
		if _, errs, code := r.run(append([]string{"recording", "redact"}, args...)...); code != ExitUsage {
			t.Errorf("%q: exit %d: %s", args, code, errs)
		}
	}
	r.record("ses_2", true)
	if err := os.Remove(filepath.Join(r.app.Paths.Recordings(), "ses_2", recording.FileCosig)); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := r.run("recording", "redact", "ses_2", "--why", "x", "--statement", "1"); code != ExitError || !strings.Contains(errs, "recording seal") {
		t.Errorf("one that the witness has not seen: exit %d: %s", code, errs)
	}
}
