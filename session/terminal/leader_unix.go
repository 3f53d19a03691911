//go:build unix

package terminal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// controlFD is the leader's end of its socket to jit.
const controlFD = 3

// Lead is the leader: it runs in a process that leads a session whose terminal
// stands on a standard stream, starts the command in the foreground of that
// terminal, and reports to the process that started it. It returns when the
// command has ended.
func Lead(path string, args []string) error {
	tty := -1
	for fd := range 3 {
		if term.IsTerminal(fd) {
			tty = fd
		}
	}
	unix.CloseOnExec(controlFD)
	control := os.NewFile(controlFD, "control")
	if control == nil || tty < 0 {
		return errors.New("this is started by `jit exec --record-terminal` alone")
	}
	tell := json.NewEncoder(control)
	// A session leader that a key could stop or kill would take the command along.
	// (Handled, not ignored: what is ignored stays so in the command.)
	keys := make(chan os.Signal, 8)
	signal.Notify(keys, unix.SIGINT, unix.SIGQUIT, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGHUP, unix.SIGTERM)

	c := exec.Command(path, args[1:]...) //nolint:gosec,noctx // the command that the person named; it ends by signals
	c.Args[0] = args[0]
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Foreground: true, Ctty: tty}
	if err := c.Start(); err != nil {
		return tell.Encode(message{Error: err.Error(), Missing: errors.Is(err, fs.ErrNotExist)})
	}
	if err := tell.Encode(message{Started: c.Process.Pid}); err != nil {
		return fmt.Errorf("reporting the start: %w", err)
	}
	go func() { // ends with the process
		for s := range keys {
			if s == unix.SIGHUP { // jit is gone, and with it the terminal
				_ = unix.Kill(-c.Process.Pid, unix.SIGHUP)
			}
		}
	}()
	return follow(c.Process.Pid, tty, tell, json.NewDecoder(control))
}

// follow reports what becomes of the command, and continues it when told to.
func follow(pid, tty int, tell *json.Encoder, hear *json.Decoder) error {
	for {
		var ws unix.WaitStatus
		_, err := unix.Wait4(pid, &ws, unix.WUNTRACED, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("waiting for the command: %w", err)
		case ws.Stopped():
			if err := tell.Encode(message{Stopped: true}); err != nil {
				return fmt.Errorf("reporting a stop: %w", err)
			}
			var m message
			if err := hear.Decode(&m); err != nil || !m.Continue {
				return errors.Join(errors.New("nobody continues the command"), err, unix.Kill(-pid, unix.SIGHUP), unix.Kill(-pid, unix.SIGCONT))
			}
			_ = unix.IoctlSetPointerInt(tty, unix.TIOCSPGRP, pid) // the command may have left its group
			_ = unix.Kill(-pid, unix.SIGCONT)                     // or ended
		case ws.Signaled():
			return tell.Encode(message{Ended: &Ended{Signal: int(ws.Signal())}})
		case ws.Exited():
			return tell.Encode(message{Ended: &Ended{Code: ws.ExitStatus()}})
		}
	}
}
