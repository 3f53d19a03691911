//go:build e2e

package main_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// dora is no member of jit-unattended: every session of hers needs a reviewer.

// ask starts a session of dora's that touches mark once it runs.
func ask(t *testing.T, mark string, flags ...string) *running {
	t.Helper()
	args := append([]string{"exec", "--connection", "sandbox", "--reason", t.Name()}, flags...)
	return shared.dora.launch(t, append(args, "--", "touch", mark)...)
}

var waitingFor = regexp.MustCompile(`[Rr]equest (\S+) waits for`)

// waiting returns the request that r waits for.
func waiting(t *testing.T, r *running) string {
	t.Helper()
	eventually(t, "the request is shown", func() bool { return waitingFor.MatchString(r.stderr.String()) })
	return waitingFor.FindStringSubmatch(r.stderr.String())[1]
}

func assertRan(t *testing.T, mark string, want bool) {
	t.Helper()
	if _, err := os.Stat(mark); (err == nil) != want {
		t.Errorf("the command ran: %v, want %v", err == nil, want)
	}
}

// TestAskingForSession is the requester's side of a session that needs a
// person, in every way it can end.
func TestAskingForSession(t *testing.T) {
	t.Run("approved while waiting", func(t *testing.T) {
		mark := filepath.Join(t.TempDir(), "ran")
		r := ask(t, mark)
		id := waiting(t, r)
		assertRan(t, mark, false)
		if own := shared.dora.jit(t, "approve", id); own.code != 5 {
			t.Errorf("approving one's own request: want exit 5: %s", own)
		}
		shared.bob.must(t, "approve", id, "--reason", "go on")
		if end := r.wait(); end.code != 0 {
			t.Error(end)
		}
		assertRan(t, mark, true)
	})
	t.Run("denied", func(t *testing.T) {
		mark := filepath.Join(t.TempDir(), "ran")
		r := ask(t, mark)
		shared.bob.must(t, "deny", waiting(t, r), "--reason", "not today")
		if end := r.wait(); end.code != 5 || !strings.Contains(end.stderr, "not today") || !strings.Contains(end.stderr, "bob@example.test") {
			t.Errorf("want exit 5, who denied and why: %s", end)
		}
		assertRan(t, mark, false)
	})
	t.Run("interrupted", func(t *testing.T) {
		mark := filepath.Join(t.TempDir(), "ran")
		r := ask(t, mark)
		id := waiting(t, r)
		if err := r.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if end := r.wait(); end.code == 0 || !strings.Contains(end.stderr, "withdrawn") {
			t.Errorf("want an error that says withdrawn: %s", end)
		}
		if late := shared.bob.jit(t, "approve", id); late.code == 0 {
			t.Errorf("a withdrawn request was approved: %s", late)
		}
		assertRan(t, mark, false)
	})
	t.Run("waited too long", func(t *testing.T) {
		mark := filepath.Join(t.TempDir(), "ran")
		if end := ask(t, mark, "--wait", "1s").wait(); end.code != 8 {
			t.Errorf("want exit 8: %s", end)
		}
		assertRan(t, mark, false)
	})
	t.Run("not waiting, then taken up once", func(t *testing.T) {
		mark := filepath.Join(t.TempDir(), "ran")
		end := ask(t, mark, "--no-wait").wait()
		id := strings.TrimSpace(end.stdout)
		if end.code != 8 || id == "" {
			t.Fatalf("want exit 8 and the request on stdout: %s", end)
		}
		take := func() result { return shared.dora.jit(t, "exec", "--request", id, "--no-wait", "--", "touch", mark) }
		if early := take(); early.code != 8 {
			t.Errorf("before the decision: want exit 8: %s", early)
		}
		assertRan(t, mark, false)
		if other := shared.alice.jit(t, "exec", "--request", id, "--", "true"); other.code == 0 {
			t.Errorf("another person used the request: %s", other)
		}
		shared.bob.must(t, "approve", id)
		if ok := take(); ok.code != 0 {
			t.Errorf("after the approval: %s", ok)
		}
		assertRan(t, mark, true)
		if again := take(); again.code == 0 {
			t.Errorf("one approval, two sessions: %s", again)
		}
	})
}

// TestTwoApprovals: where policy asks for two people, two people it is.
func TestTwoApprovals(t *testing.T) {
	up := shared.wiremock
	before := up.tap.ran("drop database")
	e := shared.alice.exec(t, up, nil, shared.agent["python4"], statements("drop database app")...)
	id := e.held(t)
	shared.bob.must(t, "approve", id)
	if again := shared.bob.jit(t, "approve", id); again.code == 0 {
		t.Errorf("one person approved twice: %s", again)
	}
	if n := up.tap.ran("drop database") - before; n != 0 || len(outcomes(t, e.soFar())) != 0 {
		t.Errorf("one of two approvals was enough: it ran %d times", n)
	}
	shared.carol.must(t, "approve", id)
	r, seen := e.finish(t, 0)
	if seen[0].Error != nil {
		t.Errorf("%s\n%s", seen[0], r)
	}
	if n := up.tap.ran("drop database") - before; n != 1 {
		t.Errorf("the approved statement ran %d times", n)
	}
}
