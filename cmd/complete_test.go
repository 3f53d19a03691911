package cmd

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// What the tables name exists: a renamed command or flag must not lose its
// completion silently.
func TestCompletionsNameRealCommands(t *testing.T) {
	root := newRoot(NewApp())
	find := func(path string) *cobra.Command {
		c, rest, err := root.Find(strings.Fields(path))
		if err != nil || len(rest) != 0 {
			t.Errorf("there is no command `jit %s`", path)
			return nil
		}
		return c
	}
	for path := range completedArgs {
		if c := find(path); c != nil && c.ValidArgsFunction == nil {
			t.Errorf("`jit %s` completes nothing", path)
		}
	}
	for path, flags := range completedFlags {
		for name := range flags {
			if c := find(path); c != nil && c.Flags().Lookup(name) == nil {
				t.Errorf("`jit %s` has no flag --%s", path, name)
			}
		}
	}
}

// Pressing Tab offers what the server knows, without what an agent wrote, and
// says nothing and asks nothing when nobody is signed in.
func TestCompletionOffersWhatThereIs(t *testing.T) {
	o := newOffice(t)
	alice, bob := o.signIn("alice"), o.signIn("bob")
	bob.In = strings.NewReader(plantedPassword + "\n")
	bob.run(ExitOK, "connection", "add", "prod", "--account", "SANDBOX", "--url", o.upstream, "--user", "JIT_SVC", "--role", "ANALYST", "--password-file", "-")
	req := alice.ask("tidy\tup\x1b[2J")

	for _, c := range []struct {
		who  *seat
		line []string
		want string
	}{
		{bob, []string{"approve", ""}, req.ID + "\tpending session by alice"},
		{bob, []string{"review", ""}, req.ID + "\tpending session by alice"},
		{alice, []string{"request", "withdraw", ""}, req.ID + "\tpending session by alice"},
		{bob, []string{"connection", "test", ""}, "prod\tSANDBOX"},
		{alice, []string{"exec", "--connection", ""}, "prod"},
	} {
		out := pressTab(t, c.who.App, c.line...)
		if !strings.Contains(out, c.want) {
			t.Errorf("jit %s<Tab> offers %q, want %q", strings.Join(c.line, " "), out, c.want)
		}
		if strings.Contains(out, "tidy") || strings.Contains(out, "\x1b") {
			t.Errorf("jit %s<Tab> shows what the agent wrote: %q", strings.Join(c.line, " "), out)
		}
	}
	if out := pressTab(t, bob.App, "approve", req.ID, ""); strings.Contains(out, req.ID) {
		t.Errorf("a second argument is offered: %q", out)
	}

	nobody, _, _ := signInApp(t, func(string) { t.Error("pressing Tab started a sign-in") })
	nobody.server = o.url
	if out := pressTab(t, nobody, "approve", ""); strings.Contains(out, req.ID) {
		t.Errorf("somebody who is not signed in is offered %q", out)
	}
}

// pressTab asks for completions as the shells' scripts do.
func pressTab(t *testing.T, a *App, line ...string) string {
	t.Helper()
	server := a.server
	root := newRoot(a)
	a.server = server // the flag's default took it away
	var out strings.Builder
	root.SetOut(&out)
	root.SetErr(io.Discard)
	root.SetArgs(append([]string{cobra.ShellCompRequestCmd}, line...))
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Errorf("jit %s<Tab>: %v", strings.Join(line, " "), err)
	}
	return out.String()
}
