package cmd

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/snowflakedb/gosnowflake/v2"

	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session/recording"
)

// crashProcess is what this binary does when the crash test starts it.
func crashProcess(args []string) int {
	switch args[0] {
	case "crash-jit": // jit login, then jit exec: a developer's terminal
		a := NewApp()
		if code := a.Run(context.Background(), []string{"login", "--server", args[1]}); code != ExitOK {
			return int(code)
		}
		self, err := os.Executable()
		if err != nil {
			return 1
		}
		return int(a.Run(context.Background(), []string{"exec", "--server", args[1], "--connection", demoConnection, "--reason", "crash", "--", self, "crash-agent"}))
	case "crash-agent": // reads some rows, says so, and stays until its input ends
		_ = gosnowflake.GetLogger().SetLogLevel("off") // it would speak of nothing else
		db, err := sql.Open("snowflake", "autoConfig")
		if err != nil {
			return 1
		}
		for i := range 3 {
			var name string
			if err := db.QueryRow(fmt.Sprintf("SELECT CITY FROM CUSTOMERS WHERE ID = %d", i+1)).Scan(&name); err != nil {
				fmt.Println("failed:", err)
				return 1
			}
			fmt.Println("ran", i+1)
		}
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is what counts
		return 0
	}
	return 2
}

// TestSealAfterKill: jit is killed while its session runs. Whatever the agent
// was shown is in the recording that `jit recording seal`, `jit gc` or the next run
// then seals and sends, here and at the server, and an auditor's check of either
// says how it ended.
func TestSealAfterKill(t *testing.T) {
	quiet := &App{Out: io.Discard, Err: io.Discard, Getenv: func(string) string { return "" }, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
	stage, err := quiet.raise(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stage.close(); err != nil {
			t.Error(err)
		}
	})
	for way, finish := range map[string]func(run func(want ExitCode, args ...string) string, id string){
		"recording seal": func(run func(want ExitCode, args ...string) string, id string) {
			// To the server the session is open: its process might only be out of reach.
			run(ExitOK, "session", "revoke", id, "--reason", "its process died")
			run(ExitOK, "recording", "seal")
			contains(t, run(ExitOK, "recording", "seal"), "Nothing to seal")
		},
		"gc": func(run func(want ExitCode, args ...string) string, id string) {
			contains(t, run(ExitOK, "gc", "--dry-run"), id, "seal and send")
			contains(t, run(ExitOK, "recording", "list"), stateUnsealed) // the dry run did nothing
			contains(t, run(ExitOK, "gc"), "is sealed")
			contains(t, run(ExitOK, "gc"), "Nothing is left to do")
		},
		"the next run": func(run func(want ExitCode, args ...string) string, _ string) {
			contains(t, run(ExitOK, "exec", "--connection", demoConnection, "--reason", "another", "--", "true"), "is sealed")
			contains(t, run(ExitOK, "gc", "--dry-run"), "Nothing is left to do")
		},
	} {
		t.Run(way, func(t *testing.T) { afterKill(t, stage, finish) })
	}
}

func afterKill(t *testing.T, stage *demoStage, finish func(run func(want ExitCode, args ...string) string, id string)) {
	alice := crash(t, stage)

	// Same person, same machine, a later run.
	var out, errs lockedBuffer
	a := &App{In: strings.NewReader(""), Out: &out, Err: &errs, Getenv: func(string) string { return "" }, Now: time.Now,
		Logger: slog.New(slog.DiscardHandler), Paths: alice, source: stage.alice.source}
	run := func(want ExitCode, args ...string) string {
		t.Helper()
		before, said := len(out.String()), len(errs.String())
		if code := a.Run(t.Context(), append([]string{"--server", stage.alice.server}, args...)); code != want {
			t.Fatalf("jit %s: exit %d, want %d\n%s%s", strings.Join(args, " "), code, want, out.String()[before:], errs.String()[said:])
		}
		return out.String()[before:] + errs.String()[said:]
	}
	ids, err := a.recordingIDs()
	if err != nil || len(ids) != 1 {
		t.Fatalf("recordings: %q, %v", ids, err)
	}
	id := ids[0]
	contains(t, run(ExitOK, "recording", "list"), id, stateUnsealed)
	finish(run, id)
	contains(t, run(ExitOK, "recording", "list"), stateRecovered)

	run(ExitOK, "recording", "verify", id, "--ask-server")
	copied := filepath.Join(t.TempDir(), "copy")
	run(ExitOK, "recording", "fetch", id, "--to", copied)
	keys, err := a.witnessKeys()
	if err != nil || len(keys) != 1 {
		t.Fatalf("witness keys: %q, %v", keys, err)
	}
	for _, dir := range []string{filepath.Join(alice.Recordings(), id), copied} {
		rep, err := recording.Verify(dir, recording.VerifyOptions{WitnessKeys: keys})
		if err != nil {
			t.Fatal(err)
		}
		if !rep.Sealed || !rep.Recovered || !rep.Trusted || rep.Unwitnessed != 0 || rep.Torn != 0 {
			t.Errorf("%s: %+v", dir, rep)
		}
		rec, err := replay.OpenTrusted(dir, recording.VerifyOptions{WitnessKeys: keys})
		if err != nil {
			t.Fatal(err)
		}
		x, err := rec.Index()
		if err != nil {
			t.Fatal(err)
		}
		ran := 0
		for _, e := range x.Entries {
			if e.Statement() && e.Outcome == replay.OutcomeRan && strings.Contains(e.Title, "SELECT CITY") {
				ran++
			}
		}
		if ran != 3 {
			t.Errorf("%s holds %d of the 3 statements whose rows the agent saw: %s", dir, ran, x.Summary())
		}
		if err := rec.Close(); err != nil {
			t.Error(err)
		}
	}
}

// crash starts jit in a process of its own, kills it once its agent has seen
// rows, and returns where it kept its files.
func crash(t *testing.T, stage *demoStage) Paths {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	errs := &typist{decide: func(code string) {
		if err := stage.provider.Approve(context.Background(), code, "alice"); err != nil {
			t.Errorf("signing in: %v", err)
		}
	}}
	c := exec.Command(self, "crash-jit", stage.alice.server)
	c.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+filepath.Join(home, "config"), "XDG_STATE_HOME="+filepath.Join(home, "state"), "JIT_SECRETS=memory", "JIT_SERVER=", "JIT_CONFIG=", "JIT_SESSION=")
	c.Stderr = errs
	in, err := c.StdinPipe() // the agent inherits it; closing it ends the agent
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(time.Minute, func() { _ = c.Process.Kill() }) // it may have ended
	defer late.Stop()
	seen, killed := bufio.NewScanner(out), false
	for seen.Scan() { // until the agent, too, has ended
		if seen.Text() != "ran 3" || killed {
			continue
		}
		killed = true
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := in.Close(); err != nil {
			t.Fatal(err)
		}
	}
	err = c.Wait()
	if !killed || err == nil {
		t.Fatalf("jit was not killed in its session: %v\n%s", err, errs)
	}
	return Paths{Config: filepath.Join(home, "config", "jit"), State: filepath.Join(home, "state", "jit")}
}
