//go:build e2e

package main_test

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRevokeWithoutTheBroker: the server ends a session by itself, whatever has
// become of the machine that runs the agent.
func TestRevokeWithoutTheBroker(t *testing.T) {
	up := shared.sandbox
	for name, signal := range map[string]syscall.Signal{"frozen": syscall.SIGSTOP, "killed": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			first := orders()
			gate := t.TempDir() + "/never"
			e := shared.alice.exec(t, up, nil, shared.agent["go"], step{SQL: first}, step{SQL: customers(), WaitFile: gate})
			e.await(t, "the first answer", func() bool { return len(outcomes(t, e.soFar())) > 0 })
			id := e.session(t)
			if err := syscall.Kill(e.cmd.Process.Pid, signal); err != nil {
				t.Fatal(err)
			}
			if signal == syscall.SIGSTOP {
				defer func() {
					_ = syscall.Kill(e.cmd.Process.Pid, syscall.SIGCONT)
					touch(t, gate)
					e.wait()
				}()
			} else {
				defer touch(t, gate) // the agent outlives its broker, and ends by itself
			}
			decided := time.Now()
			shared.bob.must(t, "session", "revoke", id, "--reason", "enough")
			for !up.tap.closed(first) {
				if time.Since(decided) > 30*time.Second {
					t.Fatal("the upstream session is still open")
				}
				time.Sleep(10 * time.Millisecond)
			}
			t.Logf("closed %s after the command to revoke began", time.Since(decided).Round(time.Millisecond))
			if got := phase(t, id); !strings.Contains(got, "revoked") {
				t.Errorf("the session is %s", got)
			}
		})
	}
}
