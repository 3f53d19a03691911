package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/spf13/cobra"

	"github.com/jit-access/jit/replay"
)

func newStatusCommand(a *App) *cobra.Command {
	var watch, asJSON bool
	c := &cobra.Command{
		Use:   "status [SESSION]",
		Short: "Show the sessions that run on this machine",
		Long: `Show the sessions that run on this machine: how long they last, how many
statements ran, were held or were denied, and which requests wait for a reviewer.
It reads what each running ` + "`jit exec`" + ` says of itself and asks no server. (For
everybody's sessions see ` + "`jit session list`" + `.) Inside a session it is that one.
It also says how each command is confined; docs/THREAT-MODEL.md says what that means.

--watch goes on until interrupted, or until the named session ends; with --json
it prints one line per change.`,
		Example: `  jit status
  jit status --watch
  jit status SESSION --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id := first(args)
			if id == "" {
				id = a.Getenv("JIT_SESSION")
			}
			if watch {
				return a.watchStatus(c.Context(), id, asJSON)
			}
			list, err := a.statusOf(id)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(list)
			}
			if len(list) == 0 {
				a.say("No session runs on this machine.")
				return nil
			}
			return a.printf("%s", statusText(list, a.Now()))
		},
	}
	c.Flags().BoolVar(&watch, "watch", false, "go on, and show every change")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// statusOf lists running sessions: all, or the one named, which must run.
func (a *App) statusOf(id string) ([]runningSession, error) {
	if id != "" {
		s, err := a.oneRunning(id)
		return []runningSession{s}, err
	}
	list, err := a.Paths.runningSessions()
	if err != nil {
		return nil, &Failure{What: "listing running sessions", Err: err}
	}
	return list, nil
}

// watchEvery is how often the boards are read. They are files: no event of theirs
// is the same on every system.
const watchEvery = 250 * time.Millisecond

func (a *App) watchStatus(ctx context.Context, id string, asJSON bool) error {
	list, err := a.statusOf(id) // a wrong id is told at once
	if err != nil {
		return err
	}
	screen := newRedraw(a, !asJSON && a.outIsTerminal())
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	last := ""
	for {
		text, compare := statusText(list, a.Now()), ""
		if asJSON {
			data, err := json.Marshal(list)
			if err != nil {
				return fmt.Errorf("printing JSON: %w", err)
			}
			text = string(data) + "\n"
		}
		if compare = text; !asJSON && !screen.live {
			compare = statusText(list, time.Time{}) // without the clock
		}
		if compare != last {
			if err := screen.show(text); err != nil {
				return err
			}
		}
		last = compare
		select {
		case <-ctx.Done():
			return nil // interrupting is how this ends
		case <-tick.C:
		}
		fresh, err := a.Paths.runningSessions()
		if err != nil {
			return &Failure{What: "listing running sessions", Err: err}
		}
		if id != "" {
			fresh = slices.DeleteFunc(fresh, func(s runningSession) bool { return s.Session != id })
			if len(fresh) == 0 {
				a.say("Session %s has ended.", id)
				return nil
			}
		}
		list = fresh
	}
}

// redraw prints texts one over the other on a terminal, one after the other
// elsewhere.
type redraw struct {
	a     *App
	live  bool
	lines int // of the last text
}

func newRedraw(a *App, live bool) *redraw { return &redraw{a: a, live: live} }

func (r *redraw) show(text string) error {
	if !r.live {
		return r.a.printf("%s", text)
	}
	up := ""
	if r.lines > 0 {
		up = ansi.CursorUp(r.lines) + "\r"
	}
	if text == "" {
		text = "No session runs on this machine.\n"
	}
	r.lines = strings.Count(text, "\n")
	return r.a.printf("%s%s%s", up, ansi.EraseScreenBelow, text)
}

// statusText is a table of sessions and, below it, what waits in them. A zero now
// leaves out what changes by itself.
func statusText(list []runningSession, now time.Time) string {
	if len(list) == 0 {
		return ""
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, strings.Join([]string{"SESSION", "COMMAND", "CONNECTION", "TIME LEFT", "RAN", "HELD", "DENIED", "WAITING"}, "\t")) // a Builder takes everything
	for _, s := range list {
		left := ""
		if !now.IsZero() {
			left = s.left(now)
		}
		_, _ = fmt.Fprintln(w, strings.Join([]string{s.Session, ansi.Truncate(replay.VisibleLine(strings.Join(s.Command, " ")), 40, "…"), flat(s.Connection), left,
			strconv.Itoa(s.Statements.Allowed), strconv.Itoa(s.Statements.Held), strconv.Itoa(s.Statements.Denied), strconv.Itoa(len(s.Pending))}, "\t"))
	}
	_ = w.Flush()
	for _, s := range list {
		if s.Confinement != "" {
			fmt.Fprintf(&b, "session %s is %s\n", s.Session, flat(s.Confinement))
		}
		for _, p := range s.Pending {
			fmt.Fprintf(&b, "request %s waits for %s: jit review %s\n", flat(p.Request), waitsFor(p.Reviewers), flat(p.Request))
		}
		if s.State == stateEnded {
			fmt.Fprintf(&b, "session %s has ended (%s); its command still runs\n", s.Session, flat(s.Why))
		}
	}
	return b.String()
}

func waitsFor(groups []string) string {
	if len(groups) == 0 {
		return "a reviewer"
	}
	return "a reviewer of " + replay.VisibleLine(strings.Join(groups, " or "))
}
