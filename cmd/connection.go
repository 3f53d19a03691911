package cmd

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/broker/credential"
	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session/approval"
	"github.com/jit-access/jit/session/secret"
)

func newConnectionCommand(a *App) *cobra.Command {
	c := &cobra.Command{
		Use:   "connection",
		Short: "Manage the Snowflake connections of the approval server",
		Long: `Manage the Snowflake connections of the approval server.

A connection is an account, a user with its credential, and the roles that may
be asked for. The credential goes to the server, sealed, and never comes back.
Only administrators add, test and remove connections.`,
		Example: `  jit connection add prod --account myorg-prod --user JIT_SVC --role ANALYST --private-key-file key.p8
  jit connection list
  jit connection test prod`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newConnectionAddCommand(a), newConnectionListCommand(a), newConnectionTestCommand(a), newConnectionRotateCommand(a), newConnectionRemoveCommand(a))
	return c
}

// connectionOptions is what the flags of `jit connection add` say. Credentials
// come from files or a prompt: a flag's value shows in the process list.
type connectionOptions struct {
	approval.Connection
	KeyFile, PasswordFile, TokenFile, OAuthFile string
	PasswordStdin                               bool
	PassphraseFile                              string
	Exchange                                    exchangeOptions
	Replace                                     bool
}

func newConnectionAddCommand(a *App) *cobra.Command {
	var o connectionOptions
	c := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a connection",
		Long: `Add a connection.

The credential is read from a file, from standard input (the file name "-"), or
asked for at the terminal; never from a flag's value or the environment. A key
pair is best: PKCS#8 in PEM, encrypted or not.

With --oauth-token-url the server gets access tokens by itself, by client
credentials or a refresh token; one that is replaced with each use is kept up to
date. With --workload-identity the server logs in as the machine it runs on (AWS,
GCP, AZURE, or OIDC with a token file there), and there is no secret at all.`,
		Example: `  jit connection add prod --account myorg-prod --user JIT_SVC --role ANALYST --private-key-file key.p8
  jit connection add test --account myorg-test --user JIT_SVC --role ANALYST --password-file -  < secret
  jit connection add ext --account myorg-ext --user JIT_SVC --role ANALYST --oauth-token-url https://idp.example.com/token \
      --oauth-client-id jit --oauth-client-secret-file secret --oauth-scope session:role:ANALYST
  jit connection add aks --account myorg-aks --role ANALYST --workload-identity OIDC --workload-token-file /run/secrets/snowflake/token
  jit connection add dev --account myorg-dev --user JIT_SVC --role DEV --roles DEV,DEV_RO   # asks for the password`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.Name = args[0]
			if err := o.check(); err != nil {
				return err
			}
			return a.connectionAdd(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Account, "account", "", "account identifier, such as myorg-myaccount")
	f.StringVar(&o.User, "user", "", "Snowflake user")
	f.StringVar(&o.URL, "url", "", "base URL, if it is not that of the account")
	f.StringVar(&o.Connection.Role, "role", "", "default role")
	f.StringSliceVar(&o.Roles, "roles", nil, "roles that may be asked for besides the default one")
	f.StringVar(&o.Warehouse, "warehouse", "", "default warehouse")
	f.StringVar(&o.Database, "database", "", "default database")
	f.StringVar(&o.Schema, "schema", "", "default schema")
	o.credentialFlags(c)
	f.BoolVar(&o.Replace, "replace", false, "take the place of a connection of the same name")
	return c
}

// check finds what is missing or too much before anything is asked or sent.
func (o connectionOptions) check() error {
	if o.Account == "" || o.Connection.Role == "" {
		return usagef("--account and --role are needed")
	}
	return o.oneCredential()
}

// credentialFlags are the flags that say where the credential is.
func (o *connectionOptions) credentialFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.KeyFile, "private-key-file", "", "private key of the user, PKCS#8 in PEM")
	f.StringVar(&o.PassphraseFile, "passphrase-file", "", "passphrase of an encrypted private key")
	f.StringVar(&o.PasswordFile, "password-file", "", "file with the user's password")
	f.BoolVar(&o.PasswordStdin, "password-stdin", false, "read the user's password from standard input")
	f.StringVar(&o.TokenFile, "token-file", "", "file with a programmatic access token of the user")
	f.StringVar(&o.OAuthFile, "oauth-token-file", "", "file with an OAuth access token; it ends when that expires")
	o.Exchange.flags(f)
}

func (o connectionOptions) oneCredential() error {
	sources := 0
	for _, given := range []bool{o.KeyFile != "", o.PasswordFile != "", o.PasswordStdin, o.TokenFile != "", o.OAuthFile != "", o.Exchange.TokenURL != "", o.Exchange.Workload != ""} {
		if given {
			sources++
		}
	}
	if sources > 1 {
		return usagef("give one credential: --private-key-file, --password-file, --password-stdin, --token-file, --oauth-token-file, --oauth-token-url or --workload-identity")
	}
	return o.Exchange.check()
}

func (a *App) connectionAdd(ctx context.Context, o connectionOptions) error {
	nc, err := a.readCredential(ctx, o)
	if err != nil {
		return err
	}
	client, _, err := a.client(ctx)
	if err != nil {
		return err
	}
	conn, err := client.AddConnection(ctx, o.Connection, nc, o.Replace)
	if err != nil {
		return &Failure{What: "adding connection " + o.Name, Err: err}
	}
	a.say("Connection %s is added: %s at %s, with %s.", conn.Name, orNone(conn.User), conn.URL, conn.Authenticator)
	a.say("Run `jit connection test %s` to see whether Snowflake lets it in.", conn.Name)
	return nil
}

func orNone(s string) string {
	if s == "" {
		return "no user"
	}
	return replay.Visible(s)
}

// readCredential reads the credential from where o says, or asks for a
// password.
func (a *App) readCredential(ctx context.Context, o connectionOptions) (approval.NewCredential, error) {
	if o.PasswordStdin {
		o.PasswordFile = "-"
	}
	for _, from := range []struct{ kind, file string }{
		{credential.KindPassword, o.PasswordFile}, {credential.KindPAT, o.TokenFile}, {credential.KindOAuth, o.OAuthFile},
	} {
		if from.file != "" {
			text, err := a.readSecret(from.file)
			return approval.NewCredential{Kind: from.kind, Material: text}, err
		}
	}
	if nc, given, err := a.readExchange(o.Exchange); given {
		return nc, err
	}
	if o.KeyFile == "" {
		if !a.interactive() {
			return approval.NewCredential{}, usagef("there is no credential: give --private-key-file, --password-file, --token-file or --oauth-token-file")
		}
		text, err := a.askPassphrase(ctx, "Password of "+orNone(o.User), false)
		return approval.NewCredential{Kind: credential.KindPassword, Material: text}, err
	}
	nc := approval.NewCredential{Kind: credential.KindKeyPair}
	var err error
	if nc.Material, err = a.readSecret(o.KeyFile); err != nil {
		return nc, err
	}
	switch block, _ := pem.Decode([]byte(nc.Material.Reveal())); {
	case o.PassphraseFile != "":
		nc.Passphrase, err = a.readSecret(o.PassphraseFile)
	case block == nil || !strings.Contains(block.Type, "ENCRYPTED"):
	case !a.interactive():
		err = usagef("--private-key-file %s is encrypted: give --passphrase-file", o.KeyFile)
	default:
		nc.Passphrase, err = a.askPassphrase(ctx, "Passphrase of "+o.KeyFile, false)
	}
	return nc, err
}

// maxSecret bounds a credential file; a larger one is another file.
const maxSecret = 32 << 10

// readSecret reads a secret from a file, or from standard input for "-". The
// line break that editors and echo add at the end is not part of it.
func (a *App) readSecret(file string) (secret.Text, error) {
	in := a.In
	if file != "-" {
		f, err := os.Open(file) //nolint:gosec // the administrator's own file
		if err != nil {
			return secret.Text{}, &Failure{What: "reading the credential", Err: err}
		}
		defer f.Close() //nolint:errcheck // only read
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxSecret+1))
	if err != nil {
		return secret.Text{}, &Failure{What: "reading the credential", Err: err}
	}
	text := strings.TrimRight(string(b), "\r\n")
	if len(b) > maxSecret || text == "" {
		return secret.Text{}, usagef("the credential in %s must have 1 to %d bytes", file, maxSecret)
	}
	return secret.New(text), nil
}

func newConnectionListCommand(a *App) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the connections you can ask for",
		Long:    "List the connections you can ask for. Administrators see all of them, with account and user; nobody sees a credential.",
		Example: "  jit connection list\n  jit connection list --json",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return a.connectionList(c.Context(), asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *App) connectionList(ctx context.Context, asJSON bool) error {
	client, _, err := a.client(ctx)
	if err != nil {
		return err
	}
	conns, err := client.Connections(ctx)
	if err != nil {
		return &Failure{What: "listing connections", Err: err}
	}
	if asJSON {
		return printDocs(a, conns, approval.FormatConnection)
	}
	if len(conns) == 0 {
		a.say("There is no connection you could ask for.")
		return nil
	}
	return tableOf(a, []string{"NAME", "ROLE", "OTHER ROLES", "WAREHOUSE", "DATABASE", "ACCOUNT", "USER", "CREDENTIAL"}, conns, func(c approval.Connection) []string {
		return []string{c.Name, c.Role, strings.Join(c.Roles, ","), c.Warehouse, c.Database, c.Account, c.User, c.Authenticator}
	})
}

// printDocs prints a list as the API's own JSON documents.
func printDocs[T any](a *App, list []T, format func(T) ([]byte, error)) error {
	docs := make([]json.RawMessage, 0, len(list))
	for _, v := range list {
		b, err := format(v)
		if err != nil {
			return fmt.Errorf("printing JSON: %w", err)
		}
		docs = append(docs, b)
	}
	return a.printJSON(docs)
}

// tableOf prints rows in columns. Cells are made safe for the terminal and kept
// on one line.
func tableOf[T any](a *App, head []string, list []T, row func(T) []string) error {
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	line := func(cells []string) {
		for i, c := range cells {
			if cells[i] = oneLine(replay.Visible(c)); cells[i] == "" {
				cells[i] = "-"
			}
		}
		_, _ = fmt.Fprintln(w, strings.Join(cells, "\t")) // Flush reports it
	}
	line(head)
	for _, v := range list {
		line(row(v))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

func newConnectionTestCommand(a *App) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "test NAME",
		Short:   "Log in to Snowflake once, and out again",
		Long:    "Have the server log in to Snowflake with a connection's credential, and out again. A refusal is shown as Snowflake gave it.",
		Example: "  jit connection test prod",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.connectionTest(c.Context(), args[0], asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *App) connectionTest(ctx context.Context, name string, asJSON bool) error {
	client, _, err := a.client(ctx)
	if err != nil {
		return err
	}
	got, err := client.TestConnection(ctx, name)
	if err != nil {
		return &Failure{What: "testing connection " + name, Err: err}
	}
	if asJSON {
		return a.printJSON(got)
	}
	return a.printf("ok: logged in as role %s, warehouse %s; Snowflake %s\n",
		orDash(got.Role), orDash(got.Warehouse), orDash(got.ServerVersion))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return oneLine(replay.Visible(s))
}

func newConnectionRemoveCommand(a *App) *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME",
		Short:   "Remove a connection and its credential",
		Long:    "Remove a connection and its credential. Sessions that run on it go on until they end; revoke them to stop them.",
		Example: "  jit connection remove test",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			client, _, err := a.client(c.Context())
			if err != nil {
				return err
			}
			if err := client.RemoveConnection(c.Context(), args[0]); err != nil {
				return &Failure{What: "removing connection " + args[0], Err: err}
			}
			a.say("Connection %s is removed.", args[0])
			return nil
		},
	}
}
