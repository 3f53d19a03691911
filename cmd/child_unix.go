//go:build unix

package cmd

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// forwarded are the signals passed on to the child.
var forwarded = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGWINCH, syscall.SIGUSR1, syscall.SIGUSR2}

// reachesChildAnyway reports whether the terminal itself delivers s to the
// child: it sends INT, QUIT, HUP and WINCH to the whole foreground group, which
// the child shares. TERM and USR never come from a terminal.
func reachesChildAnyway(s os.Signal) bool {
	switch s {
	case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGWINCH:
		return inForeground()
	default:
		return false
	}
}

// inForeground reports whether this process group is the foreground group of
// its controlling terminal.
func inForeground() bool {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer tty.Close() //nolint:errcheck // opened to ask one question
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// endedBy maps a wait status as a shell does: the code, or 128+n.
func endedBy(p *os.ProcessState) ended {
	if ws, ok := p.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return ended{code: ExitCode(128 + int(ws.Signal())), signal: unix.SignalName(ws.Signal())}
	}
	return ended{code: ExitCode(p.ExitCode())}
}
