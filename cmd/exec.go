package cmd

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/session/confine"
)

// execOptions is what the flags of `jit exec` say.
type execOptions struct {
	Connection, Role, Warehouse, Database, Schema string
	TTL                                           time.Duration
	Reason, Ticket                                string
	Emergency                                     bool          // open without a reviewer
	Wait                                          time.Duration // 0: until the request expires
	NoWait                                        bool
	Request                                       string        // go on with a request submitted earlier
	Hold                                          time.Duration // how long a held statement keeps its driver waiting
	Profile                                       string
	Intercept                                     bool
	Confine                                       string // auto, require or off
	RecordTerminal                                bool
	EnvOnly                                       bool
	NoTitle                                       bool
	StatusFD                                      int // 0: none
	Command                                       []string

	confined confinement            // once it is known
	given    func(flag string) bool // whether a flag was given; nil: none was
}

const (
	defaultTTL = time.Hour
	// emergencyTTL is short: somebody else has to read all that happens in it.
	emergencyTTL = 30 * time.Minute
	maxTTL       = 24 * time.Hour
	defaultHold  = 75 * time.Second // agents' shells time out soon after
)

func newExecCommand(a *App) *cobra.Command {
	o := execOptions{}
	c := &cobra.Command{
		Use:   "exec [flags] -- COMMAND [ARG...]",
		Short: "Run a command with a time-boxed Snowflake session",
		Long: `Run a command (an agent, a script, dbt, snow) with a time-boxed Snowflake
session behind a local broker.

jit asks the approval server for the session and waits for it if a person must
agree. The command then finds the broker through SNOWFLAKE_HOME and the usual
SNOWFLAKE_* variables; it never sees a Snowflake credential. When it ends, the
session is closed and its recording sealed.

With --emergency it opens at once, without a reviewer, if the policy names such
access for you. Everybody is told, every statement is marked, and somebody else
looks at it afterwards.

While the command runs, jit prints nothing: ` + "`jit status`" + ` shows the session from
another terminal, and --status-fd writes it as JSON lines. The command keeps the
terminal, its signals and job control. Inside a session there is no other: jit exec
refuses, because its flags would have no effect.

With --env-only no command is run: the session's environment is printed for a
shell to evaluate, and the session stays open until jit is interrupted.

Clients that build their host name from the account ignore that environment;
--intercept catches their HTTPS connections to Snowflake, by the usual proxy and
certificate variables, and leaves all others alone. They still log in with the
lease, $SNOWFLAKE_PASSWORD.

The command is confined as far as this machine can: it cannot read jit's state,
the keyring, other Snowflake credentials, private keys or browsers' sign-ins.
--confine require refuses where that would leave a gap; docs/THREAT-MODEL.md lists
what is hidden, and what also stops working (sudo, docker, X11).

Exit codes: the command's own; 128+n if signal n killed it; 125 if jit failed
before it started; 126 if it cannot be executed; 127 if it does not exist.
While asking: 2 usage, 4 sign-in needed, 5 denied, 6 expired, 8 still pending.`,
		Example: `  jit exec --reason "monthly churn report" -- python churn.py
  jit exec --connection prod --role ANALYST --ttl 30m -- claude
  jit exec --profile night --intercept -- ./legacy-job
  jit exec --no-wait --reason "night run" -- dbt build   # prints the request id, exits 8
  jit exec --request REQUEST -- dbt build                # later, once it is approved
  jit exec --emergency --reason "orders stuck" --ticket INC-7 -- python unstick.py`,
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case o.EnvOnly && len(args) > 0:
				return usagef("--env-only runs no command: remove it, or the command")
			case !o.EnvOnly && len(args) == 0:
				return usagef("requires at least 1 arg(s), the command\nSee `%s --help`.", c.CommandPath())
			}
			o.Command, o.given = args, c.Flags().Changed
			if o.EnvOnly {
				o.Command = []string{envOnly}
			}
			return a.exec(c.Context(), o)
		},
	}
	c.Flags().SetInterspersed(false)
	f := c.Flags()
	f.StringVar(&o.Connection, "connection", "", "connection at the approval server (default: $JIT_CONNECTION, the profile, the config file, or the only one there is)")
	f.StringVar(&o.Role, "role", "", "Snowflake role (default: the connection's)")
	f.StringVar(&o.Warehouse, "warehouse", "", "warehouse (default: the connection's)")
	f.StringVar(&o.Database, "database", "", "database to start in (default: the connection's)")
	f.StringVar(&o.Schema, "schema", "", "schema to start in (default: the connection's)")
	f.DurationVar(&o.TTL, "ttl", defaultTTL, "how long access lasts, from first use")
	f.StringVar(&o.Reason, "reason", "", "why; reviewers read it and the recording keeps it")
	f.StringVar(&o.Ticket, "ticket", "", "a ticket that says more; reviewers read it and the recording keeps it")
	f.BoolVar(&o.Emergency, "emergency", false, "open without a reviewer where the policy allows that; needs --reason and --ticket (then --ttl is 30m by default)")
	f.DurationVar(&o.Wait, "wait", 0, "give up waiting for approval after this long (default: when the request expires)")
	f.BoolVar(&o.NoWait, "no-wait", false, "do not wait for approval: print the request id and exit 8")
	f.StringVar(&o.Request, "request", "", "use a request submitted earlier")
	f.DurationVar(&o.Hold, "hold", defaultHold, "how long a held statement keeps its driver waiting before it is told to come back")
	f.StringVar(&o.Profile, "profile", "", "named defaults from the config file (default: $JIT_PROFILE, the config file's profile)")
	f.BoolVar(&o.Intercept, "intercept", false, "also catch HTTPS connections to Snowflake that ignore the environment")
	f.StringVar(&o.Confine, "confine", string(confine.Auto), "keep the command from jit's state, the keyring and other credentials: auto (as far as this machine can), require or off")
	f.BoolVar(&o.RecordTerminal, "record-terminal", false, "record what the terminal shows, if the policy says so; never what is typed")
	f.BoolVar(&o.EnvOnly, "env-only", false, "run no command: print the session's environment and keep it open")
	f.BoolVar(&o.NoTitle, "no-title", false, "leave the terminal's title alone")
	f.IntVar(&o.StatusFD, "status-fd", 0, "write JSON lines about the session to this file `descriptor`")
	c.MarkFlagsMutuallyExclusive("wait", "no-wait")
	c.MarkFlagsMutuallyExclusive("env-only", "record-terminal")
	for _, other := range []string{"connection", "role", "warehouse", "database", "schema", "ttl", "reason", "profile", "ticket", "emergency"} {
		c.MarkFlagsMutuallyExclusive("request", other)
	}
	return c
}

// envOnly is what reviewers and policies know a session by whose command is
// started elsewhere.
const envOnly = "env-only"

// check refuses what no server could make sense of.
func (o *execOptions) check() error {
	switch {
	case o.TTL < time.Second || o.TTL > maxTTL:
		return usagef("--ttl %s: must lie between 1s and %s", o.TTL, maxTTL)
	case o.Wait < 0:
		return usagef("--wait %s: must not be negative", o.Wait)
	case o.Hold < time.Second || o.Hold > maxHold:
		return usagef("--hold %s: must lie between 1s and %s", o.Hold, maxHold)
	case len(o.Reason) > maxReason:
		return usagef("--reason: %d bytes, at most %d", len(o.Reason), maxReason)
	case len(o.Ticket) > maxTicket:
		return usagef("--ticket: %d bytes, at most %d", len(o.Ticket), maxTicket)
	case o.Emergency && (strings.TrimSpace(o.Reason) == "" || strings.TrimSpace(o.Ticket) == ""):
		return usagef("--emergency needs --reason and --ticket: people read them afterwards")
	}
	return nil
}

const (
	maxHold   = 30 * time.Minute
	maxReason = 2000
	maxTicket = 255
)
