package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session"
)

// ExitCode is what jit exits with. Scripts rely on these; they do not change.
type ExitCode int

// The exit codes. `jit exec` passes on its child's code, 128+n for a child
// killed by signal n.
const (
	ExitOK          ExitCode = 0
	ExitError       ExitCode = 1
	ExitUsage       ExitCode = 2
	ExitSignIn      ExitCode = 4 // run `jit login`
	ExitDenied      ExitCode = 5
	ExitExpired     ExitCode = 6
	ExitPending     ExitCode = 8   // waiting for a reviewer
	ExitNotStarted  ExitCode = 125 // exec: jit failed before the command started
	ExitNotRunnable ExitCode = 126 // exec: found, but not executable
	ExitNotFound    ExitCode = 127 // exec: no such command
)

// Failure is an error made for people: what happened, why, how to fix it.
type Failure struct {
	Code ExitCode // zero: derived from Err
	What string   // "signing in to https://idp.example"
	Err  error    // why; may be nil
	Fix  string   // one imperative sentence; may be empty
}

func (f *Failure) Error() string {
	if f.Err == nil {
		return f.What
	}
	return f.What + ": " + f.Err.Error()
}

func (f *Failure) Unwrap() error { return f.Err }

// usageError marks what cobra and flag parsing complain about.
type usageError struct{ err error }

func (u usageError) Error() string { return u.err.Error() }
func (u usageError) Unwrap() error { return u.err }

// usagef makes a usage error.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// childExit carries a child's exit code through cobra; it prints nothing.
type childExit struct{ code ExitCode }

func (c childExit) Error() string { return fmt.Sprintf("the command exited with %d", c.code) }

// exitTable maps a sentinel to its code and to the step that usually fixes it.
var exitTable = []struct {
	is   error
	code ExitCode
	fix  string
}{
	{session.ErrSignIn, ExitSignIn, "Run `jit login`."},
	{session.ErrOwnRequest, ExitDenied, "Ask another reviewer to decide."},
	{session.ErrDenied, ExitDenied, ""},
	{session.ErrForbidden, ExitDenied, "Ask an administrator which group may do this."},
	{session.ErrExpired, ExitExpired, "Ask again with `jit exec`."},
	{session.ErrRevoked, ExitExpired, "Ask the reviewer named above, or start a new session with `jit exec`."},
	{session.ErrUnavailable, ExitError, "Check that the approval server runs and is reachable, then try again."},
	{context.Canceled, ExitError, ""},
}

// exitOf says what to exit with and how to fix it.
func exitOf(err error) (ExitCode, string) {
	if err == nil {
		return ExitOK, ""
	}
	var child childExit
	if errors.As(err, &child) {
		return child.code, ""
	}
	var usage usageError
	if errors.As(err, &usage) {
		return ExitUsage, ""
	}
	code, fix := ExitError, ""
	for _, row := range exitTable {
		if errors.Is(err, row.is) {
			code, fix = row.code, row.fix
			break
		}
	}
	var f *Failure
	if errors.As(err, &f) {
		if f.Code != ExitOK {
			code = f.Code
		}
		if f.Fix != "" {
			fix = f.Fix
		}
	}
	return code, fix
}

// report prints err for a person on stderr and returns the exit code.
func (a *App) report(err error) ExitCode {
	code, fix := exitOf(err)
	var child childExit
	if err == nil || errors.As(err, &child) {
		return code
	}
	a.say("jit: %s", strings.TrimRight(replay.Visible(err.Error()), "\n"))
	if fix != "" {
		a.say("     %s", fix)
	}
	return code
}
