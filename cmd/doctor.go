package cmd

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/replay"
)

// health is what a check found. The zero value is a failure.
type health uint8

const (
	healthBad health = iota
	healthWarn
	healthOK
	healthNone // there was nothing to check
)

func (h health) String() string { return [...]string{"bad", "warn", "ok", "none"}[h] }

// finding is the outcome of one check.
type finding struct {
	Check  string `json:"check"`
	State  string `json:"state"` // ok, warn, bad or none
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"` // one step; empty: nothing to do
	Fixed  bool   `json:"fixed,omitempty"`

	health health
	repair func(context.Context) error // what --fix does; nil: nothing it could
}

func found(h health, detail, fix string) finding {
	return finding{health: h, State: h.String(), Detail: detail, Fix: fix}
}

// check looks at one thing. It changes nothing and ends with its context.
type check struct {
	name string
	look func(ctx context.Context, d *doctor) finding
}

// checkTime is how long one check may take.
const checkTime = 10 * time.Second

// doctor carries what earlier checks learned to later ones.
type doctor struct {
	a       *App
	cfg     Config
	cfgErr  error
	server  string        // empty: none is known
	skew    time.Duration // this clock ahead of the server's
	skewed  bool          // skew was measured
	issuer  string
	refused bool // something said no before; do not ask it again
}

func newDoctorCommand(a *App) *cobra.Command {
	var fix, inside, asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check that everything jit needs works, and say how to fix what does not",
		Long: `Check that everything jit needs works, and say how to fix what does not:
configuration, approval server, identity provider, sign-in, keyring, clock, ports,
proxies, Snowflake drivers, and sessions that a crash left behind.

With --inside, run it as the command of a session (` + "`jit exec -- jit doctor --inside`" + `):
it looks at what an agent gets: the connection, the broker behind it, and
Snowflake credentials that lie about beside it.

It changes nothing, and asks nothing. With --fix it repairs what it safely can:
it seals and sends recordings of crashed sessions, and closes folders that others
can read. Exits 1 if anything is bad.`,
		Example: "  jit doctor\n  jit doctor --fix\n  jit doctor --json | jq '.[] | select(.state != \"ok\")'\n  jit exec --reason \"checking\" -- jit doctor --inside",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			checks := outsideChecks
			if inside {
				checks = insideChecks
			}
			return a.doctor(c.Context(), checks, fix, asJSON)
		},
	}
	f := c.Flags()
	f.BoolVar(&fix, "fix", false, "repair what can be repaired safely")
	f.BoolVar(&inside, "inside", false, "look at what an agent gets; run it with jit exec")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *App) doctor(ctx context.Context, checks []check, fix, asJSON bool) error {
	d := &doctor{a: a}
	d.cfg, d.cfgErr = a.loadConfig()
	var all []finding
	bad := 0
	for _, c := range checks {
		f := d.run(ctx, c)
		if fix && f.repair != nil && f.health != healthOK {
			f = d.mend(ctx, c, f)
		}
		if f.health == healthBad {
			bad++
		}
		all = append(all, f)
		if !asJSON {
			if err := a.printFinding(f); err != nil {
				return err
			}
		}
	}
	if asJSON {
		if err := a.printJSON(all); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if bad > 0 {
		return &Failure{What: plural(bad, "thing is", "things are") + " bad", Fix: "Each line above says how to fix it."}
	}
	return nil
}

// run makes one check. What it says may hold text of servers and files.
func (d *doctor) run(ctx context.Context, c check) finding {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	f := c.look(ctx, d)
	f.Check, f.Detail = c.name, replay.VisibleLine(f.Detail)
	return f
}

// mend repairs and looks again.
func (d *doctor) mend(ctx context.Context, c check, f finding) finding {
	if err := f.repair(ctx); err != nil {
		f.Detail += "; repairing it: " + replay.VisibleLine(err.Error())
		return f
	}
	again := d.run(ctx, c)
	again.Fixed = again.health == healthOK || again.health == healthNone
	return again
}

func (a *App) printFinding(f finding) error {
	mark := map[health]string{healthBad: "×", healthWarn: "!", healthOK: "✓", healthNone: "–"}[f.health]
	detail := f.Detail
	if f.Fixed {
		detail += " (repaired)"
	}
	if err := a.printf("%s %-10s %s\n", mark, f.Check, detail); err != nil {
		return err
	}
	if f.Fix != "" && f.health != healthOK {
		return a.printf("  %-10s fix: %s\n", "", strings.ReplaceAll(f.Fix, "\n", " "))
	}
	return nil
}

// badly turns an error into a finding, with the fix that the error names.
func badly(h health, what string, err error, otherwise string) finding {
	_, fix := exitOf(err)
	if fix == "" {
		fix = otherwise
	}
	var f *Failure
	if what != "" && !errors.As(err, &f) {
		return found(h, what+": "+err.Error(), fix)
	}
	return found(h, err.Error(), fix)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
