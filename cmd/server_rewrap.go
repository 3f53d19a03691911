package cmd

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/session/approval"
)

func newServerRewrapCommand(a *App) *cobra.Command {
	var (
		p      placeOptions
		to     approval.NewKey
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "rewrap",
		Short: "Seal the server's credentials with another key",
		Long: `Seal everything that the server keeps sealed with another key: credentials,
tokens of Snowflake sessions, signing keys, webhooks. --secrets-url is the key in
use (default the key file in the data folder), --to or --to-key the new one.

Stop the servers first, and start them with the new key afterwards: one that
still has the old key can neither open nor seal anything. All of it is one
change, which is in the audit; if it breaks off, the old key stays in use. The
database's files are rewritten then, so that nothing in them opens with the old
key. What is in backups still does.

With --to as --secrets-url everything is sealed anew with the same key: for a key
service that has a newer version of it.

--to-key names a file with a local key, and makes it if there is none. Put it in
the place of sealing.key before the server starts.

Exit codes: 0 done, 1 failed, 2 wrong settings.`,
		Example: "  jit server rewrap --config /etc/jit/server.yaml --to 'awskms://alias/jit?region=eu-central-1'\n  jit server rewrap --to-key /etc/jit/new.key",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if (to.URL == "") == (to.File == "") {
				return usagef("either --to or --to-key is needed: the new key")
			}
			if err := checkKeeperURL("--to", to.URL); err != nil {
				return err
			}
			return a.withStore(p, c, func(ctx context.Context, store *approval.Store, _ serverOptions) error {
				return a.rewrap(ctx, store, to, asJSON)
			})
		},
	}
	p.register(c)
	p.registerSealing(c)
	f := c.Flags()
	f.StringVar(&to.URL, "to", "", "keeper that seals from now on: "+strings.Join(approval.KeeperSchemes(), "://…, ")+"://…")
	f.StringVar(&to.File, "to-key", "", "file with the local key that seals from now on")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *App) rewrap(ctx context.Context, store *approval.Store, to approval.NewKey, asJSON bool) error {
	done, err := store.Rewrap(ctx, to)
	if done.Values == nil {
		return &Failure{What: "sealing with another key", Err: err, Fix: "Nothing was changed: the old key stays in use."}
	}
	if asJSON {
		if perr := a.printJSON(done); perr != nil {
			return perr
		}
	} else {
		total := 0
		for _, n := range done.Values {
			total += n
		}
		a.say("%d values are sealed with the new key.", total)
	}
	if to.File != "" {
		a.say("Put %s in the place of sealing.key in the data folder before the server starts.", to.File)
	} else {
		a.say("Start the server with --secrets-url %s.", to.URL)
	}
	if err != nil {
		return &Failure{What: "clearing old copies out of the database", Err: err, Fix: "The new key is in use. Run this again with it as the one in use and as the new one, while no server runs."}
	}
	return nil
}

// checkKeeperURL refuses a keeper whose URL is the key.
func checkKeeperURL(flag, keeperURL string) error {
	if strings.HasPrefix(strings.ToLower(keeperURL), "base64key:") {
		return usagef("%s: a base64key URL shows the key to everyone who can list processes; use a key file, or a key service", flag)
	}
	return nil
}
