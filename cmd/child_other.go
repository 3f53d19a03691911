//go:build !unix

package cmd

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// forwarded are the signals passed on to the child. A console delivers
// Ctrl-C to every process attached to it, so none is passed on here.
var forwarded = []os.Signal{os.Interrupt}

func reachesChildAnyway(os.Signal) bool { return true }

// waitChild waits until the child has ended.
func waitChild(c *exec.Cmd) (ended, error) {
	var exit *exec.ExitError
	if err := c.Wait(); err != nil && !errors.As(err, &exit) {
		return ended{}, err
	}
	return ended{code: ExitCode(c.ProcessState.ExitCode())}, nil
}

func signalName(s syscall.Signal) string { return s.String() }
