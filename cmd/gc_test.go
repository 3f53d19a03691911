package cmd

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/jit-access/jit/session/recording"
)

// TestLeftovers: what is running, whole or changed is not touched; the rest is
// listed with what there is to do.
func TestLeftovers(t *testing.T) {
	r := newRecorder(t)
	r.trust()
	own := r.app.Paths.Recordings()
	r.record("ses_whole", true)
	r.record("ses_alone", false) // no witness: nothing to send
	r.record("ses_unsent", true)
	if err := os.Remove(filepath.Join(own, "ses_unsent", recording.FileCosig)); err != nil {
		t.Fatal(err)
	}
	end := running(t, filepath.Join(own, "ses_running"))
	defer end()
	if err := os.CopyFS(filepath.Join(own, "ses_crashed"), os.DirFS(filepath.Join(own, "ses_running"))); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(own, "ses_empty"), os.DirFS(filepath.Join(own, "ses_running"))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{recording.FileCheckpoint, recording.FileEvents} {
		if err := os.Truncate(filepath.Join(own, "ses_empty", name), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(own, "ses_empty", recording.FileCheckpoint)); err != nil {
		t.Fatal(err)
	}

	out, errs, code := r.run("gc", "--dry-run", "--json")
	var list []leftover
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != ExitOK {
		t.Fatalf("exit %d, %v: %s", code, err, errs)
	}
	got := map[string]string{}
	for _, l := range list {
		got[l.ID] = l.State + ", " + l.ToDo
	}
	want := map[string]string{"ses_unsent": "unwitnessed, send", "ses_crashed": "unsealed, seal and send", "ses_empty": "empty, remove"}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
	for id, w := range want {
		if got[id] != w {
			t.Errorf("%s: %q, want %q", id, got[id], w)
		}
	}
	if err := r.app.removeEmpty(filepath.Join(own, "ses_crashed")); err != nil {
		t.Error(err)
	}
	if err := r.app.removeEmpty(filepath.Join(own, "ses_empty")); err != nil {
		t.Error(err)
	}
	if !isDir(filepath.Join(own, "ses_crashed")) || isDir(filepath.Join(own, "ses_empty")) {
		t.Error("removed another folder than the empty one")
	}
}
