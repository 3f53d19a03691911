//go:build !linux && !darwin

package confine

import (
	"context"
	"os/exec"
	"runtime"
)

// Find reports that nothing confines here.
func Find(context.Context, string, Plan) Report {
	return Report{Why: []string{"jit knows no means on " + runtime.GOOS}}
}

// Wrap fails.
func Wrap(string, Plan, string, []string) (string, []string, func(*exec.Cmd), error) {
	return "", nil, nil, errNoMeans
}
