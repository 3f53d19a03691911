//go:build unix

package cmd

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

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

// waitChild waits until the child has ended. A child that stops itself, as
// full-screen programs do on Ctrl-Z, takes jit along: the shell waits for jit, and
// would otherwise never get its terminal back.
func waitChild(c *exec.Cmd) (ended, error) {
	for {
		ws, err := wait(c.Process.Pid, unix.WUNTRACED)
		switch {
		case err != nil:
			return ended{}, err
		case ws.Stopped():
			if over := stayedStopped(c.Process.Pid); over != nil {
				ws = *over
			} else {
				stopToo(c.Process.Pid)
				continue
			}
		}
		if ws.Continued() {
			continue
		}
		// The child is reaped. What Wait still does is to wait for the copying of
		// streams that are no files.
		if err := c.Wait(); err != nil && !errors.Is(err, unix.ECHILD) {
			return ended{}, err
		}
		return endedBy(ws), nil
	}
}

func wait(pid, options int) (unix.WaitStatus, error) {
	var ws unix.WaitStatus
	for {
		got, err := unix.Wait4(pid, &ws, options, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return ws, err
		case got == 0:
			return ws, errNothingNew
		default:
			return ws, nil
		}
	}
}

var errNothingNew = errors.New("the child has not changed")

// A stop that is seen only after the shell has continued the whole group is over
// in a moment, and must not stop jit again.
const (
	stopSettles = 100 * time.Millisecond
	stopLook    = 5 * time.Millisecond
)

// stayedStopped returns nil if the child is still stopped after a moment, or what
// became of it.
func stayedStopped(pid int) *unix.WaitStatus {
	for deadline := time.Now().Add(stopSettles); time.Now().Before(deadline); time.Sleep(stopLook) {
		if ws, err := wait(pid, unix.WUNTRACED|unix.WCONTINUED|unix.WNOHANG); err == nil && !ws.Stopped() {
			return &ws
		}
	}
	return nil
}

// stopToo stops this process as the terminal would have, until the shell continues
// it, and then continues the child. Where no shell would (no terminal, or jit is
// the one who leads the session) the child alone stays stopped.
func stopToo(child int) {
	if leader, err := unix.Getsid(0); err != nil || leader == unix.Getpid() || !inForeground() {
		return
	}
	resumed := make(chan os.Signal, 1)
	signal.Notify(resumed, unix.SIGCONT)
	defer signal.Stop(resumed)
	if unix.Kill(unix.Getpid(), unix.SIGSTOP) == nil {
		<-resumed
	}
	_ = unix.Kill(child, unix.SIGCONT) // the shell may have done so already
}

// endedBy maps a wait status as a shell does: the code, or 128+n.
func endedBy(ws unix.WaitStatus) ended {
	if ws.Signaled() {
		return ended{code: ExitCode(128 + int(ws.Signal())), signal: unix.SignalName(ws.Signal())}
	}
	return ended{code: ExitCode(ws.ExitStatus())}
}

func signalName(s syscall.Signal) string { return unix.SignalName(s) }
