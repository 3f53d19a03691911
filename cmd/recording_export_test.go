package cmd

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jit-access/jit/session/recording"
)

func TestRecordingExport(t *testing.T) {
	r := newRecorder(t)
	r.trust()
	r.record("ses_1", true)

	out, errs, code := r.run("recording", "export", "ses_1", "--format", "csv")
	if code != ExitOK || errs != "" {
		t.Fatalf("exit %d: %s", code, errs)
	}
	if rows, err := csv.NewReader(strings.NewReader(out)).ReadAll(); err != nil || len(rows) != 4 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	out, _, _ = r.run("recording", "export", "--format", "jsonl")
	if want := r.eventLines("ses_1"); out != want {
		t.Errorf("the lines are not those recorded:\n%s\nwant:\n%s", out, want)
	}
	out, _, _ = r.run("recording", "export", "--format", "ocsf")
	contains(t, out, `"class_uid":6005`)

	file := filepath.Join(t.TempDir(), "report.html")
	if out, errs, code = r.run("recording", "export", "ses_1", "--format", "html", "-o", file); code != ExitOK || out != "" {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 || info.Size() < 1000 {
		t.Errorf("%v, %v", info, err)
	}
	if _, errs, code = r.run("recording", "export", "ses_1", "--format", "html", "-o", file); code != ExitUsage {
		t.Errorf("a file was overwritten: exit %d: %s", code, errs)
	}
	cast := filepath.Join(t.TempDir(), "x.cast")
	if _, errs, code = r.run("recording", "export", "ses_1", "--format", "asciicast", "-o", cast); code != ExitError {
		t.Errorf("exit %d", code)
	}
	contains(t, errs, "no terminal was recorded")
	if _, err := os.Stat(cast); err == nil {
		t.Error("an empty file stayed")
	}
	for _, args := range [][]string{{"--format", "pdf"}, {}} {
		if _, _, code := r.run(append([]string{"recording", "export", "ses_1"}, args...)...); code != ExitUsage {
			t.Errorf("%q: exit %d", args, code)
		}
	}

	r.change("ses_1", recording.FileEvents, "SELECT 'hold", "SELECT 'hole")
	if out, _, code := r.run("recording", "export", "ses_1", "--format", "csv"); code != ExitError || out != "" {
		t.Errorf("a changed recording was exported: exit %d: %s", code, out)
	}
}

func TestRecordingExportSaysWhenNobodyVouches(t *testing.T) {
	r := newRecorder(t)
	r.record("ses_1", false)
	_, errs, code := r.run("recording", "export", "--format", "csv")
	if code != ExitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	contains(t, errs, "may not be genuine")
}

func TestReplayFollowOfAnEndedSession(t *testing.T) {
	r := newRecorder(t)
	r.trust()
	r.record("ses_1", true)
	out, errs, code := r.run("replay", "--follow", "--json")
	if code != ExitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	if want := r.eventLines("ses_1"); out != want {
		t.Errorf("the lines are not those recorded:\n%s\nwant:\n%s", out, want)
	}
	for _, args := range [][]string{{}, {"--plain"}, {"--json", "--only", "held"}, {"--search", "x"}} {
		if _, _, code := r.run(append([]string{"replay", "--follow"}, args...)...); code != ExitUsage {
			t.Errorf("%q: exit %d", args, code)
		}
	}
}

// eventLines is every event of a recording, with its texts in place.
func (r *recorder) eventLines(id string) string {
	r.t.Helper()
	rec, err := recording.Open(filepath.Join(r.app.Paths.Recordings(), id))
	if err != nil {
		r.t.Fatal(err)
	}
	defer rec.Close()
	var b strings.Builder
	for e, err := range rec.Events() {
		line, jerr := recording.EventJSON(e)
		if err != nil || jerr != nil {
			r.t.Fatal(err, jerr)
		}
		b.WriteString(string(line) + "\n")
	}
	return b.String()
}
