package cmd

import "context"

// runProgram runs the child, on a terminal of its own if that is recorded.
func (r *run) runProgram(_ context.Context, p program, _ *wiring) (ended, error) {
	return runChild(p)
}
