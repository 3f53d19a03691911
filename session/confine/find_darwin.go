package confine

import (
	"context"
	"fmt"
	"os/exec"
)

// sandboxExec starts programs under a Seatbelt profile.
const sandboxExec = "/usr/bin/sandbox-exec"

// Find reports whether Seatbelt starts a program with plan.
func Find(ctx context.Context, _ string, plan Plan) Report {
	plan.Means = Seatbelt
	c := exec.CommandContext(ctx, sandboxExec, "-p", seatbelt(plan), "/usr/bin/true")
	if out, err := c.CombinedOutput(); err != nil {
		return Report{Why: []string{fmt.Sprintf("Seatbelt does not work here: %v: %s", err, out)}}
	}
	return Report{Means: Seatbelt, Gaps: []string{"whatever the profile misses: it has not been tried against attacks on a Mac"}}
}

// Wrap returns the program and the command line that start path under the profile.
func Wrap(_ string, plan Plan, path string, args []string) (string, []string, func(*exec.Cmd), error) {
	argv := append([]string{sandboxExec, "-p", seatbelt(plan), path}, args[1:]...)
	return sandboxExec, argv, func(*exec.Cmd) {}, nil
}
