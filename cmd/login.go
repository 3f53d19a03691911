package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/identity"
	"github.com/jit-access/jit/session/secret"
)

// loginOptions is what the flags of `jit login` say.
type loginOptions struct {
	Issuer, ClientID string
	Browser          bool
}

func newLoginCommand(a *App) *cobra.Command {
	o := loginOptions{}
	c := &cobra.Command{
		Use:   "login",
		Short: "Sign in with your organisation's identity provider",
		Long: `Sign in with your organisation's identity provider.

jit shows a code; enter it on any device, so this works over SSH too. The
approval server says which identity provider to use; its address is remembered
for the other commands.

The sign-in is kept in the system's keyring; without one in an encrypted file
(jit asks for a passphrase), else in memory only, and jit says so. Set
JIT_SECRETS to keyring, file or memory to insist.

A CI job or a service has no person who could sign in. With --identity (or
$JIT_IDENTITY, also for single commands) jit uses the machine's own token, for
which the server's configuration must have a rule; a machine asks, and never
decides or administers. The token comes from one of

  github             the runner of a job with the permission id-token: write
  file:PATH          a file that the platform keeps fresh (Kubernetes)
  env:NAME           a variable that the platform sets (GitLab's id_tokens)
  client:ID,secret-file:PATH[,issuer:URL][,resource:R][,scope:S]
                     OAuth client credentials; secret-env:NAME instead of a file

github and client also take ,audience:A; without it the token is asked for the
server's URL. What is remembered is where the token comes from, never the token.`,
		Example: `  jit login --server https://jit.example.com
  jit login --browser                        # also open the page here
  jit login --issuer https://idp.example.com --client-id jit-cli
  jit login --server https://jit.example.com --identity github
  jit exec --server https://jit.example.com --identity file:/var/run/secrets/tokens/jit -- dbt build`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if (o.Issuer == "") != (o.ClientID == "") {
				return usagef("--issuer and --client-id belong together: give both, or neither and let the server say")
			}
			return a.login(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Issuer, "issuer", "", "identity provider, instead of the one the server names")
	f.StringVar(&o.ClientID, "client-id", "", "OAuth client at that identity provider")
	f.BoolVar(&o.Browser, "browser", false, "open the sign-in page in a browser on this machine")
	return c
}

func newLogoutCommand(a *App) *cobra.Command {
	return &cobra.Command{
		Use:   "logout",
		Short: "End the sign-in, here and at the identity provider",
		Long: `End the sign-in: delete it here, and revoke it at the identity provider if that
offers revocation. Sessions that are open go on until they end; ` + "`jit revoke`" + ` ends
them. With nobody signed in there is nothing to do.`,
		Example: "  jit logout",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return a.logout(c.Context()) },
	}
}

func newWhoamiCommand(a *App) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "whoami",
		Short: "Show who is signed in",
		Long: `Show who is signed in, as the identity provider says now, where the sign-in is
kept, and their groups as the server understands them (without a server, as the
token lists them). Exits 4 if nobody is.`,
		Example: "  jit whoami\n  jit whoami --json",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return a.whoami(c.Context(), asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *App) login(ctx context.Context, o loginOptions) error {
	cfg, err := a.loginConfig(ctx, o)
	if err != nil {
		return err
	}
	if a.identity != "" && a.identity != asPerson {
		spec, _, err := a.workload(cfg)
		if err != nil {
			return err
		}
		return a.machineIn(ctx, cfg, spec)
	}
	cfg.Identity = ""
	source, err := a.person(ctx, cfg)
	if err != nil {
		return err
	}
	signedIn, err := source.SignIn(ctx, func(ctx context.Context, p identity.Prompt) error {
		if err := a.showCode(ctx, p); err != nil {
			return err
		}
		if o.Browser {
			a.browse(ctx, p)
		}
		go a.countDown(ctx, p.Expires) // ends with ctx, so with the code
		return nil
	})
	if err != nil {
		return signInFailure("signing in at "+cfg.Issuer, err)
	}
	if err := a.saveConfig(cfg); err != nil {
		return err
	}
	person := signedIn.Person
	a.say("Signed in as %s%s.", replay.Visible(person.Display()), inGroups(person.Groups))
	if signedIn.Ends != "" {
		a.say("This sign-in ends with this command: %s.", replay.Visible(signedIn.Ends))
		a.say("`jit exec` asks for a new one when it needs it.")
		return nil
	}
	a.say("Kept in the %s until `jit logout`.", keptIn(source.Backend()))
	return nil
}

// loginConfig is the config file with what the server or the flags say about
// the identity provider.
func (a *App) loginConfig(ctx context.Context, o loginOptions) (Config, error) {
	cfg, err := a.loadConfig()
	if err != nil {
		return cfg, err
	}
	if o.Issuer != "" {
		if a.server != "" {
			if cfg.Server, err = a.serverURL(cfg); err != nil {
				return cfg, err
			}
		}
		cfg.Issuer, cfg.ClientID, cfg.Scopes = o.Issuer, o.ClientID, nil
		return cfg, nil
	}
	server, err := a.serverURL(cfg)
	if err != nil {
		return cfg, err
	}
	told, err := fetchSignInConfig(ctx, server)
	if err != nil {
		return cfg, &Failure{What: "asking " + server + " how to sign in", Err: err,
			Fix: "Check the address of the approval server, or name the identity provider with --issuer and --client-id."}
	}
	cfg.Server, cfg.Issuer, cfg.ClientID, cfg.Scopes = server, told.Issuer, told.ClientID, told.Scopes
	return cfg, nil
}

// signInConfig is the approval server's answer to GET /v1/config.
type signInConfig struct {
	Issuer   string   `json:"issuer"`
	ClientID string   `json:"client_id"`
	Scopes   []string `json:"scopes"`
}

const (
	configTimeout = 15 * time.Second
	maxConfig     = 64 << 10
)

func fetchSignInConfig(ctx context.Context, server string) (signInConfig, error) {
	var told signInConfig
	ctx, cancel := context.WithTimeout(ctx, configTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(server, "/")+"/v1/config", nil)
	if err != nil {
		return told, err
	}
	// A server that sends us elsewhere is not the one that was named.
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	if err != nil {
		return told, fmt.Errorf("%w: %w", session.ErrUnavailable, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read whole or not at all
	if resp.StatusCode != http.StatusOK {
		return told, fmt.Errorf("it answered with HTTP status %d; is it a jit approval server?", resp.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxConfig)).Decode(&told); err != nil || told.Issuer == "" || told.ClientID == "" {
		return told, errors.New("its answer names no identity provider; is it a jit approval server?")
	}
	return told, nil
}

// countDown shows how long the code is still good, until ctx ends.
func (a *App) countDown(ctx context.Context, expires time.Time) {
	p := newProgress(a, "waiting for you to sign in", a.Now())
	defer p.done()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			now := a.Now()
			p.note(max(expires.Sub(now), 0).Truncate(time.Second).String() + " left")
			p.show(now)
		}
	}
}

func (a *App) logout(ctx context.Context) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	if cfg.Identity != "" {
		cfg.Identity = ""
		if err := a.saveConfig(cfg); err != nil {
			return err
		}
		a.say("This machine's identity is no longer used here.")
	}
	if cfg.Issuer == "" && a.source == nil {
		a.say("Nobody is signed in.")
		return nil
	}
	source, err := a.person(ctx, cfg)
	if err != nil {
		return err
	}
	switch err := source.SignOut(ctx); {
	case errors.Is(err, identity.ErrSignIn):
		a.say("Nobody is signed in.")
		return nil
	case err != nil:
		return &Failure{What: "signing out", Err: err, Fix: "What could not be ended there runs out by itself; an administrator can end it sooner."}
	}
	a.say("Signed out.")
	return nil
}

// whoamiOutput is the JSON of `jit whoami --json`. Scripts rely on it.
type whoamiOutput struct {
	Email   string   `json:"email,omitempty"`
	Name    string   `json:"name,omitempty"`
	Subject string   `json:"subject"`
	Issuer  string   `json:"issuer"`
	Groups  []string `json:"groups"`
	// GroupsFrom is server, or token if no server could be asked: which claim
	// lists them is the server's setting.
	GroupsFrom string    `json:"groups_from"`
	Expires    time.Time `json:"expires,omitzero"` // of the present ID token; jit renews it
	Kept       string    `json:"kept"`             // keyring, file or memory; of a machine nowhere
}

func (a *App) whoami(ctx context.Context, asJSON bool) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	if spec, machine, err := a.workload(cfg); err != nil || machine {
		if err != nil {
			return err
		}
		return a.whoamiMachine(ctx, cfg, spec, asJSON)
	}
	source, err := a.person(ctx, cfg)
	if err != nil {
		return err
	}
	person, err := source.Person(ctx)
	if err != nil {
		return signInFailure("asking "+cfg.Issuer+" who is signed in", err)
	}
	from := "token"
	if _, unknown := a.serverURL(cfg); unknown == nil {
		if person.Groups, err = a.groupsAtServer(ctx, person.Groups); err != nil {
			a.say("The server cannot be asked (%s): the groups are those of the token, where the server may look elsewhere.", replay.Visible(err.Error()))
		} else {
			from = "server"
		}
	}
	if asJSON {
		return a.printJSON(whoamiOutput{
			Email: person.Email, Name: person.Name, Subject: person.Subject, Issuer: person.Issuer,
			Groups: append([]string{}, person.Groups...), GroupsFrom: from, Expires: person.Expires.UTC(), Kept: string(source.Backend()),
		})
	}
	groups := strings.Join(person.Groups, ", ")
	if groups == "" {
		groups = "none"
	}
	return a.printf("%s\n  groups   %s\n  issuer   %s\n  expires  %s (renewed as needed)\n  kept     in the %s\n",
		replay.Visible(person.Display()), replay.Visible(groups), replay.Visible(person.Issuer),
		person.Expires.Local().Format(time.RFC3339), keptIn(source.Backend()))
}

// groupsAtServer are a person's groups as the server understands them, or those
// given if it cannot be asked.
func (a *App) groupsAtServer(ctx context.Context, otherwise []string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	client, _, err := a.client(ctx)
	if err != nil {
		return otherwise, err
	}
	p, _, err := client.Whoami(ctx)
	if err != nil {
		return otherwise, err
	}
	return p.Groups, nil
}

func inGroups(groups []string) string {
	if len(groups) == 0 {
		return ""
	}
	return " (" + replay.Visible(strings.Join(groups, ", ")) + ")"
}

func keptIn(b secret.Backend) string {
	switch b {
	case secret.BackendKeyring:
		return "system's keyring"
	case secret.BackendFile:
		return "encrypted secrets file"
	default:
		return "memory of this command"
	}
}

// signInFailure gives what can go wrong while signing in its exit code and fix.
func signInFailure(what string, err error) error {
	f := &Failure{What: what, Err: err}
	switch {
	case errors.Is(err, identity.ErrSignIn):
		f.Code, f.Fix = ExitSignIn, "Run `jit login`."
	case errors.Is(err, identity.ErrRefused):
		f.Code = ExitDenied
	case errors.Is(err, identity.ErrExpired):
		f.Code, f.Fix = ExitExpired, "Run `jit login` again."
	case errors.Is(err, identity.ErrUnreachable):
		f.Fix = "Check the network, then try again."
	case errors.Is(err, identity.ErrIssuer):
		f.Fix = "Ask whoever runs the approval server which issuer and client to use."
	}
	return f
}
