package cmd

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session/recording"
)

// unpack unpacks a bundle with tar, as an auditor does, and returns its folder.
func unpack(t *testing.T, file string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-xzf", file, "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	folders, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(folders) != 1 {
		t.Fatalf("the bundle holds %q", folders)
	}
	return folders[0]
}

// TestEvidenceVerifiesElsewhere: whoever has nothing but the file verifies it,
// with jit and with the other verifier in it, as its README says.
func TestEvidenceVerifiesElsewhere(t *testing.T) {
	r := newRecorder(t)
	r.trust()
	r.record("ses_1", true)
	file := filepath.Join(t.TempDir(), "evidence.tar.gz")
	_, errs, code := r.run("audit", "export", "--session", "ses_1", "--evidence", "-o", file)
	if code != ExitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	contains(t, errs, "5 events", "verified from the file")

	auditor := newRecorder(t) // another machine, which knows no server
	folder := unpack(t, file)
	rec := filepath.Join(folder, replay.EvidenceRecording)
	keys := filepath.Join(folder, replay.EvidenceWitnessKey)
	out, errs, code := auditor.run("recording", "verify", rec, "--witness-key", keys)
	if code != ExitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	contains(t, out, "5 events, sealed", "witness.test, 5 of 5 events")

	readme, err := os.ReadFile(filepath.Join(folder, replay.EvidenceReadme))
	if err != nil {
		t.Fatal(err)
	}
	contains(t, string(readme), "ses_1", "5 events, sealed", "verify.py recording", "jit recording verify recording --witness-key witness.keys")
	for _, name := range []string{replay.EvidenceFormat, replay.EvidenceSessionKey, replay.EvidenceReport} {
		if info, err := os.Stat(filepath.Join(folder, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{recording.FileSession, recording.FileEvents, recording.FileCheckpoint, recording.FileCosig} {
		was, err := os.ReadFile(filepath.Join(r.app.Paths.Recordings(), "ses_1", name))
		if err != nil {
			t.Fatal(err)
		}
		if is, err := os.ReadFile(filepath.Join(rec, name)); err != nil || !bytes.Equal(is, was) {
			t.Errorf("%s is not what was recorded: %v", name, err)
		}
	}
	pythonVerifies(t, folder, "SELECT 'hold")
}

// pythonVerifies runs the command that the README gives, before and after a
// byte of the log, in a text that it holds, was changed.
func pythonVerifies(t *testing.T, folder, text string, wants ...string) {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		if os.Getenv("JIT_TEST_PARTS") == "required" {
			t.Fatal("python3 is not on PATH, and JIT_TEST_PARTS=required")
		}
		t.Skip("python3 is not on PATH; the second verifier was not run")
	}
	python := func() (string, error) {
		c := exec.Command("sh", "-c", `python3 verify.py recording "$(cat witness.keys)"`)
		c.Dir = folder
		out, err := c.CombinedOutput()
		return string(out), err
	}
	out, err := python()
	if err != nil {
		t.Fatalf("verify.py: %v: %s", err, out)
	}
	contains(t, out, append(wants, `"events": 5`, `"cosigned": 5`, `"sealed": true`)...)
	log := filepath.Join(folder, replay.EvidenceRecording, recording.FileEvents)
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte(text)) {
		t.Fatalf("the log does not hold %s", text)
	}
	if err := os.WriteFile(log, bytes.Replace(data, []byte(text), []byte(text[:len(text)-1]+"_"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := python(); err == nil {
		t.Errorf("verify.py accepts a changed log: %s", out)
	}
}

func TestEvidenceOfSomethingElse(t *testing.T) {
	r := newRecorder(t)
	r.trust()
	r.record("ses_1", true)
	r.record("ses_2", false) // no server ever saw it
	r.record("ses_3", true)
	r.change("ses_3", recording.FileEvents, "SELECT 'hold", "SELECT 'hole")
	for _, args := range [][]string{
		{"--session", "ses_2", "--evidence"}, {"--session", "ses_3", "--evidence"}, {"--session", "none", "--evidence"}, {"--session", "ses_1"},
	} {
		file := filepath.Join(t.TempDir(), "e.tar.gz")
		if _, _, code := r.run(append([]string{"audit", "export", "-o", file}, args...)...); code == ExitOK {
			t.Errorf("%q was exported", args)
		}
		if _, err := os.Stat(file); err == nil {
			t.Errorf("%q left a file", args)
		}
	}
	if _, errs, code := r.run("audit", "export", "--session", "ses_1", "--evidence", "-o", "-"); code != ExitUsage || !strings.Contains(errs, "give a file") {
		t.Errorf("exit %d: %s", code, errs)
	}
}
