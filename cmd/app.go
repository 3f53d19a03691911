package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/term"

	"github.com/jit-access/jit/session/identity"
)

// App is what commands share: streams, clock, paths and settings. Tests make
// their own.
type App struct {
	In  io.Reader
	Out io.Writer // data
	Err io.Writer // human text
	// Getenv reads the environment jit was started with.
	Getenv func(string) string
	Now    func() time.Time
	Logger *slog.Logger
	Paths  Paths

	verbose  bool
	server   string           // --server
	identity string           // --identity
	kill     <-chan struct{}  // when closed, exec ends its child; nil: never
	source   *identity.Source // who is signed in; made when first needed
}

// Paths are the folders jit uses; all are created 0700 when first written.
type Paths struct {
	Config string // $XDG_CONFIG_HOME/jit
	State  string // $XDG_STATE_HOME/jit: recordings, locks
}

// Recordings is the folder that holds one folder per session.
func (p Paths) Recordings() string { return filepath.Join(p.State, "recordings") }

// NewApp returns the App of the running process.
func NewApp() *App {
	a := &App{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Now: time.Now}
	a.Paths = findPaths(os.Getenv)
	a.Logger = slog.New(slog.DiscardHandler)
	return a
}

// findPaths follows the XDG base directory rules on every system, so that one
// page of documentation fits all.
func findPaths(getenv func(string) string) Paths {
	home, err := os.UserHomeDir()
	if err != nil {
		home = string(filepath.Separator) // unusable, and named in the error of whoever writes there
	}
	dir := func(env, fallback string) string {
		if v := getenv(env); filepath.IsAbs(v) {
			return filepath.Join(v, "jit")
		}
		return filepath.Join(home, fallback, "jit")
	}
	return Paths{
		Config: dir("XDG_CONFIG_HOME", ".config"),
		State:  dir("XDG_STATE_HOME", filepath.Join(".local", "state")),
	}
}

// say prints one line for people, on stderr.
func (a *App) say(format string, args ...any) {
	_, _ = fmt.Fprintf(a.Err, format+"\n", args...) // nothing useful to do when stderr is gone
}

// printJSON prints one value as indented JSON, on stdout.
func (a *App) printJSON(v any) error {
	enc := json.NewEncoder(a.Out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("printing JSON: %w", err)
	}
	return nil
}

// printf prints data for people or pipes, on stdout.
func (a *App) printf(format string, args ...any) error {
	if _, err := fmt.Fprintf(a.Out, format, args...); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

// interactive reports whether a person sits at both ends.
func (a *App) interactive() bool { return isTerminal(a.In) && isTerminal(a.Err) }

// outIsTerminal reports whether stdout is a terminal.
func (a *App) outIsTerminal() bool { return isTerminal(a.Out) }

func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
