package cmd

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/approval"
)

// completionLimit bounds what pressing Tab may wait for the approval server.
const completionLimit = 2 * time.Second

// candidates lists what an argument or a flag may be: an id or a name, a tab,
// and what it is, in a few words.
type candidates func(context.Context, *App) ([]string, error)

// completedArgs says, by command, what its first argument may be. A command
// with two kinds lists both.
var completedArgs = map[string][]candidates{
	"approve":           {pendingRequests},
	"deny":              {pendingRequests},
	"review":            {pendingRequests},
	"request show":      {allRequests},
	"request wait":      {myRequests},
	"request withdraw":  {myRequests},
	"session show":      {allSessions},
	"session revoke":    {openSessions},
	"replay":            {localRecordings},
	"recording show":    {localRecordings},
	"recording verify":  {localRecordings},
	"recording export":  {localRecordings},
	"recording seal":    {localRecordings},
	"recording fetch":   {allSessions},
	"connection rotate": {connectionNames},
	"connection test":   {connectionNames},
	"connection remove": {connectionNames},
}

// completedFlags is the same for flags.
var completedFlags = map[string]map[string]candidates{
	"exec":         {"connection": connectionNames},
	"audit export": {"session": localRecordings},
	"request list": {"session": allSessions},
}

// addCompletions gives the commands below root their dynamic completions.
func (a *App) addCompletions(root *cobra.Command) {
	for path, lists := range completedArgs {
		if c, rest, err := root.Find(strings.Fields(path)); err == nil && len(rest) == 0 {
			c.ValidArgsFunction = a.complete(lists...)
		}
	}
	for path, flags := range completedFlags {
		c, rest, err := root.Find(strings.Fields(path))
		if err != nil || len(rest) != 0 {
			continue
		}
		for name, list := range flags {
			_ = c.RegisterFlagCompletionFunc(name, a.completeFlag(list)) // a test sees a flag that is gone
		}
	}
}

// complete completes the first argument of a command.
func (a *App) complete(lists ...candidates) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.candidates(c.Context(), lists...)
	}
}

func (a *App) completeFlag(list candidates) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return a.candidates(c.Context(), list)
	}
}

// candidates asks quietly: pressing Tab never signs in, asks nor prints.
func (a *App) candidates(ctx context.Context, lists ...candidates) ([]cobra.Completion, cobra.ShellCompDirective) {
	quiet := quietApp(a)
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completionLimit)
	defer cancel()
	var all []cobra.Completion
	for _, list := range lists {
		found, err := list(ctx, quiet)
		if err != nil {
			cobra.CompDebugln(replay.VisibleLine(err.Error()), false)
			continue
		}
		all = append(all, found...)
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}

// quietApp is a without its terminal: it signs nobody in, asks nothing and
// prints nothing.
func quietApp(a *App) *App {
	return &App{
		In: strings.NewReader(""), Out: io.Discard, Err: io.Discard, Getenv: a.Getenv, Now: a.Now, Logger: a.Logger, Paths: a.Paths,
		server: a.server, identity: a.identity, source: a.source,
	}
}

// described is one candidate. What people and agents wrote stays out of a
// shell's line editor: the words here are jit's own, and names made visible.
func described(value string, words ...string) string {
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return "" // not a name that jit gave
	}
	return value + "\t" + replay.VisibleLine(strings.Join(words, " "))
}

func localRecordings(_ context.Context, a *App) ([]string, error) {
	return a.recordingIDs()
}

func pendingRequests(ctx context.Context, a *App) ([]string, error) {
	return a.requestsFor(ctx, session.Filter{})
}

func myRequests(ctx context.Context, a *App) ([]string, error) {
	return a.requestsFor(ctx, session.Filter{Mine: true})
}

func allRequests(ctx context.Context, a *App) ([]string, error) {
	return a.requestsFor(ctx, session.Filter{All: true})
}

func (a *App) requestsFor(ctx context.Context, f session.Filter) ([]string, error) {
	pending := func(c *approval.Client, ctx context.Context) ([]session.Request, error) { return c.Pending(ctx, f) }
	return listed(ctx, a, pending, func(r session.Request) string {
		return described(r.ID, r.State.String(), r.Kind.String(), "by", r.Principal.Display())
	})
}

func allSessions(ctx context.Context, a *App) ([]string, error) { return a.sessionsFor(ctx, false) }

func openSessions(ctx context.Context, a *App) ([]string, error) { return a.sessionsFor(ctx, true) }

func (a *App) sessionsFor(ctx context.Context, onlyOpen bool) ([]string, error) {
	return listed(ctx, a, (*approval.Client).Sessions, func(s session.Session) string {
		if onlyOpen && s.Phase != session.PhaseOpen {
			return ""
		}
		return described(s.ID, s.Phase.String(), "of", s.Principal.Display())
	})
}

func connectionNames(ctx context.Context, a *App) ([]string, error) {
	return listed(ctx, a, (*approval.Client).Connections, func(c approval.Connection) string { return described(c.Name, c.Account) })
}

// listed reads a list from the approval server and describes what is in it.
func listed[T any](ctx context.Context, a *App, read func(*approval.Client, context.Context) ([]T, error), describe func(T) string) ([]string, error) {
	client, _, err := a.client(ctx)
	if err != nil {
		return nil, err
	}
	list, err := read(client, ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, v := range list {
		if d := describe(v); d != "" {
			out = append(out, d)
		}
	}
	return out, nil
}
