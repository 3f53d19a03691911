//go:build unix

package cmd

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestChildEndsAsAShellWouldSay(t *testing.T) {
	for _, c := range []struct {
		script string
		code   ExitCode
		signal string
	}{
		{"exit 0", 0, ""},
		{"exit 3", 3, ""},
		{"kill -KILL $$", 137, "SIGKILL"},
		{"kill -TERM $$", 143, "SIGTERM"},
	} {
		how, err := runChild(program{path: "/bin/sh", args: []string{"sh", "-c", c.script}, env: os.Environ(), out: &bytes.Buffer{}, errOut: &bytes.Buffer{}})
		if err != nil || how.code != c.code || how.signal != c.signal {
			t.Errorf("%q: %+v, %v; want code %d, signal %q", c.script, how, err, c.code, c.signal)
		}
	}
}

func TestChildIsKilledWhenAskedTo(t *testing.T) {
	kill := make(chan struct{})
	close(kill)
	start := time.Now()
	how, err := runChild(program{path: "/bin/sleep", args: []string{"sleep", "60"}, out: &bytes.Buffer{}, errOut: &bytes.Buffer{}, kill: kill})
	if err != nil || how.signal != "SIGKILL" || time.Since(start) > 30*time.Second {
		t.Errorf("%+v, %v after %s", how, err, time.Since(start))
	}
}

func TestCommandsThatCannotStart(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]ExitCode{plain: ExitNotRunnable, dir: ExitNotRunnable, filepath.Join(dir, "none"): ExitNotFound} {
		_, err := findCommand(name)
		if code, _ := exitOf(err); code != want {
			t.Errorf("%s: exit %d, want %d (%v)", name, code, want, err)
		}
	}
	// Found and executable, but no format any kernel knows.
	if err := os.Chmod(plain, 0o700); err != nil { //nolint:gosec // it must be executable
		t.Fatal(err)
	}
	_, err := runChild(program{path: plain, args: []string{plain}})
	if code, _ := exitOf(err); code != ExitNotRunnable {
		t.Errorf("exit %d, want %d (%v)", code, ExitNotRunnable, err)
	}
}
