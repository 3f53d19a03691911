package cmd

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// meanings says in one line what each exit code means, in their order.
var meanings = []struct {
	code    ExitCode
	meaning string
}{
	{ExitOK, "done"},
	{ExitError, "something failed; the message says what and how to fix it"},
	{ExitUsage, "the command line or the configuration is wrong; nothing was done"},
	{ExitSignIn, "nobody is signed in, or the sign-in has ended: run `jit login`"},
	{ExitDenied, "a policy or a reviewer said no, or you may not do this"},
	{ExitExpired, "the request or the session has expired or was revoked"},
	{ExitPending, "a reviewer has not decided yet; ask again later"},
	{ExitNotStarted, "exec: jit failed before the command started"},
	{ExitNotRunnable, "exec: the command was found but cannot be executed"},
	{ExitNotFound, "exec: there is no such command"},
}

// variable is one environment variable that jit reads or sets.
type variable struct{ name, meaning string }

// reads are the variables that change what jit does. Security settings are not
// among them on purpose: who controls an environment is often the agent.
var reads = []variable{
	{"JIT_SERVER", "URL of the approval server, if --server is not given"},
	{"JIT_CONNECTION", "connection of `jit exec`, if --connection is not given"},
	{"JIT_IDENTITY", "source of a machine's token, if --identity is not given (`jit login --help`)"},
	{"JIT_PROFILE", "profile of `jit exec`, if --profile is not given"},
	{"JIT_CONFIG", "config file, instead of $XDG_CONFIG_HOME/jit/config.yaml"},
	{"JIT_SECRETS", "where the sign-in is kept: auto, keyring, file or memory (`jit help keyring`)"},
	{"JIT_SERVER_CONFIG", "config file of `jit server`; each of its flags has a JIT_SERVER_… variable too"},
	{"JIT_NO_UPDATE_CHECK", "any value: never ask for newer releases"},
	{"XDG_CONFIG_HOME", "folder of the config file; default ~/.config"},
	{"XDG_STATE_HOME", "folder of recordings and locks; default ~/.local/state"},
	{"NO_COLOR", "any value: no colour"},
}

// sets are the variables `jit exec` gives to its child.
var sets = []variable{
	{"JIT_SESSION", "id of the session the command runs in"},
	{"JIT_CONTEXT_FILE", "a private file with a briefing for the agent, removed at the end"},
	{"SNOWFLAKE_*", "where the broker is, and the lease that opens it; no Snowflake credential"},
	{"SNOWFLAKE_HOME", "a private folder with connections.toml, removed at the end"},
	{"DBT_PROFILES_DIR", "dbt profiles that point at the broker, if the project has any"},
	{"NO_PROXY", "loopback is added: the broker is never reached through a proxy"},
	{"HTTPS_PROXY", "with --intercept: the session's own proxy; also SSL_CERT_FILE and its like"},
}

// newTopics returns the pages of `jit help` that are about no single command.
func newTopics() []*cobra.Command {
	topic := func(use, short, long string) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, Long: long}
	}
	return []*cobra.Command{
		topic("exit-codes", "What jit's exit codes mean", exitCodesTopic()),
		topic("environment", "Environment variables jit reads and sets", environmentTopic()),
		topic("agents", "What an agent should know about running under jit", agentsTopic),
		topic("keyring", "Where jit keeps your sign-in", keyringTopic),
	}
}

func exitCodesTopic() string {
	var b strings.Builder
	b.WriteString("Scripts may rely on these codes; they do not change.\n\n")
	for _, m := range meanings {
		fmt.Fprintf(&b, "  %3d  %s\n", m.code, m.meaning)
	}
	b.WriteString("\n`jit exec` exits with the code of its command, or 128+n if signal n ended it.")
	return b.String()
}

func environmentTopic() string {
	var b strings.Builder
	list := func(title string, vs []variable) {
		b.WriteString(title + "\n\n")
		for _, v := range vs {
			fmt.Fprintf(&b, "  %-18s %s\n", v.name, v.meaning)
		}
		b.WriteString("\n")
	}
	list("Variables that jit reads:", reads)
	list("Variables that `jit exec` sets for its command:", sets)
	b.WriteString(`Snowflake credentials in the environment of jit are not passed on to the command.
No secret is ever read from a variable of jit's own.`)
	return b.String()
}

const agentsTopic = `A program under ` + "`jit exec`" + ` talks to Snowflake as usual: connection "default" of
its driver points at a local broker. It holds no Snowflake credential.

  - Statements it may run, run. Columns it may not see arrive masked, such as
    ‹masked:pii.email›; a masked value is not the data and must not be guessed.
  - A statement that needs a person waits. If nobody decides in time it answers
    with error 003001 and a first line "JIT-3001 APPROVAL_PENDING request=…".
    It has NOT run. Send the same statement again later: it attaches to the same
    request and, once approved, runs exactly once.
  - A statement that is refused answers 003001 with the rule, the reason and one
    next step. Rewording it to get around the rule is recorded like everything else.
  - Everything is recorded; a reviewer can replay it.

` + "`jit request list`" + ` shows what waits; ` + "`jit request show ID`" + ` what was decided.`

const keyringTopic = `Your sign-in (a refresh token of your identity provider, never a Snowflake
credential) is kept in the keyring of the platform: Secret Service on Linux,
Keychain on macOS, Credential Manager on Windows. A keyring that does not answer
within 5 seconds is given up.

Without a keyring jit keeps it in $XDG_STATE_HOME/jit/secrets.age, encrypted with
a passphrase it asks for; without a terminal to ask at, in memory only, so that
the next command signs in again. It says so each time.

  JIT_SECRETS=keyring   insist on the keyring, fail without
  JIT_SECRETS=file      use the encrypted file
  JIT_SECRETS=memory    keep nothing

` + "`jit logout`" + ` removes it. On a machine without people use a machine identity.`
