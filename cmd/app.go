package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
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
	feed     *feed            // of --status-fd; nil: none
	source   *identity.Source // who is signed in; made when first needed

	mu     sync.Mutex // guards what follows
	hushed bool       // a child has the terminal
	unsaid []string   // what is said once it has ended
}

// Paths are the folders jit uses; all are created 0700 when first written.
type Paths struct {
	Config string // $XDG_CONFIG_HOME/jit
	State  string // $XDG_STATE_HOME/jit: recordings, locks
	Inside string // within a session the copy of its board; else empty
}

// Wiring is the folder that holds one folder per running session, with the lease.
// It lies in the state so that a confined agent sees its own only.
func (p Paths) Wiring() string { return filepath.Join(p.State, "wiring") }

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
	inside := ""
	if wiring := getenv("SNOWFLAKE_HOME"); getenv("JIT_SESSION") != "" && filepath.IsAbs(wiring) {
		inside = filepath.Join(wiring, fileBoard)
	}
	return Paths{
		Inside: inside,
		Config: dir("XDG_CONFIG_HOME", ".config"),
		State:  dir("XDG_STATE_HOME", filepath.Join(".local", "state")),
	}
}

// say prints one line for people, on stderr. While a child has the terminal, the
// line waits for its end.
func (a *App) say(format string, args ...any) {
	line := fmt.Sprintf(format+"\n", args...)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.hushed {
		if len(a.unsaid) == 0 || a.unsaid[len(a.unsaid)-1] != line {
			a.unsaid = append(a.unsaid, line)
		}
		return
	}
	_, _ = io.WriteString(a.Err, line) // nothing useful to do when stderr is gone
}

// maxUnsaid is how many lines are worth reading after a long session: the last.
const maxUnsaid = 20

// hush keeps say from printing until the returned function is called.
func (a *App) hush() (speak func()) {
	a.mu.Lock()
	a.hushed = true
	a.mu.Unlock()
	return func() {
		a.mu.Lock()
		lines := a.unsaid[max(0, len(a.unsaid)-maxUnsaid):]
		a.hushed, a.unsaid = false, nil
		a.mu.Unlock()
		for _, line := range lines {
			_, _ = io.WriteString(a.Err, line) // as in say
		}
	}
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

// hasTerminal reports whether any of the standard streams is a terminal.
func (a *App) hasTerminal() bool { return isTerminal(a.In) || isTerminal(a.Out) || isTerminal(a.Err) }

// outIsTerminal reports whether stdout is a terminal.
func (a *App) outIsTerminal() bool { return isTerminal(a.Out) }

func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
