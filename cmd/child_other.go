//go:build !unix

package cmd

import "os"

// forwarded are the signals passed on to the child. A console delivers
// Ctrl-C to every process attached to it, so none is passed on here.
var forwarded = []os.Signal{os.Interrupt}

func reachesChildAnyway(os.Signal) bool { return true }

func endedBy(p *os.ProcessState) ended { return ended{code: ExitCode(p.ExitCode())} }
