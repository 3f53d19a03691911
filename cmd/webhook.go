package cmd

import (
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session/approval"
)

func newWebhookCommand(a *App) *cobra.Command {
	c := &cobra.Command{
		Use:   "webhook",
		Short: "Tell other systems what happens",
		Long: `Manage outgoing webhooks (administrators).

Messages are signed as Standard Webhooks (https://www.standardwebhooks.com). They
say who asks for what and where, never a statement's text, and they decide
nothing: a decision needs a person who signed in. A message that fails is tried
again for more than a day; then it waits on the list of dead ones.`,
		Example: `  jit webhook add siem --url-file siem.url
  jit webhook add chat --format slack --event request.submitted --url-file -
  jit webhook dead-letters
  jit webhook redeliver msg_…`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newWebhookAddCommand(a), newWebhookListCommand(a), newWebhookRemoveCommand(a), newWebhookDeadCommand(a), newWebhookRetryCommand(a))
	return c
}

func newWebhookAddCommand(a *App) *cobra.Command {
	var (
		h    approval.Webhook
		file string
	)
	c := &cobra.Command{
		Use:   "add NAME --url-file FILE",
		Short: "Add a webhook and print its signing secret",
		Long: `Add a webhook and print the secret that signs its messages, this once.

The URL is read from a file, or from stdin (-), because with some receivers it is
what lets one post. Private networks are refused unless the server allows them.`,
		Example: "  jit webhook add siem --url-file siem.url\n  jit webhook add chat --format slack --event request.submitted --url-file -",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			h.Name = args[0]
			client, _, err := a.client(c.Context())
			if err != nil {
				return err
			}
			url, err := a.readSecret(file)
			if err != nil {
				return err
			}
			added, key, err := client.AddWebhook(c.Context(), h, url)
			if err != nil {
				return &Failure{What: "adding webhook " + h.Name, Err: err}
			}
			a.say("Added webhook %s to %s. Its signing secret, which is not shown again:", added.Name, replay.Visible(added.Host))
			return a.printf("%s\n", key.Reveal())
		},
	}
	f := c.Flags()
	f.StringVar(&file, "url-file", "", "file with the URL; - reads stdin")
	f.StringVar(&h.Format, "format", "", `"standard" or "slack" (default "standard")`)
	f.StringSliceVar(&h.Events, "event", nil, "kinds of events: request.submitted, request.decided, request.ended, request.commented, request.emergency (always sent), session.opened, session.extended, session.ended (default all)")
	_ = c.MarkFlagRequired("url-file") // the flag is there
	return c
}

func newWebhookListCommand(a *App) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "list", Short: "List webhooks", Long: "List the webhooks. Their URLs and secrets are not read back.", Example: "  jit webhook list", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			client, _, err := a.client(c.Context())
			if err != nil {
				return err
			}
			list, err := client.Webhooks(c.Context())
			if err != nil {
				return &Failure{What: "listing webhooks", Err: err}
			}
			if asJSON {
				return a.printJSON(list)
			}
			if len(list) == 0 {
				a.say("There is no webhook.")
				return nil
			}
			return tableOf(a, []string{"NAME", "HOST", "FORMAT", "EVENTS"}, list, func(h approval.Webhook) []string {
				events := strings.Join(h.Events, ", ")
				if events == "" {
					events = "all"
				}
				return []string{h.Name, h.Host, h.Format, events}
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func newWebhookRemoveCommand(a *App) *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "Remove a webhook", Long: "Remove a webhook, and what was still to be delivered to it.", Example: "  jit webhook remove siem", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			client, _, err := a.client(c.Context())
			if err != nil {
				return err
			}
			if err := client.RemoveWebhook(c.Context(), args[0]); err != nil {
				return &Failure{What: "removing webhook " + args[0], Err: err}
			}
			a.say("Removed webhook %s.", args[0])
			return nil
		},
	}
}

func newWebhookDeadCommand(a *App) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "dead-letters", Aliases: []string{"dead"}, Short: "List messages that could not be delivered", Long: "List messages that could not be delivered, newest first: those to webhooks, and mail.", Example: "  jit webhook dead-letters --json", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			client, _, err := a.client(c.Context())
			if err != nil {
				return err
			}
			list, err := client.DeadDeliveries(c.Context())
			if err != nil {
				return &Failure{What: "listing dead messages", Err: err}
			}
			if asJSON {
				return a.printJSON(list)
			}
			if len(list) == 0 {
				a.say("Everything was delivered, or is still being tried.")
				return nil
			}
			return tableOf(a, []string{"ID", "WEBHOOK", "EVENT", "ATTEMPTS", "MADE", "LAST ERROR"}, list, func(d approval.Delivery) []string {
				return []string{d.ID, d.Webhook, strconv.FormatInt(d.EventID, 10), strconv.Itoa(d.Attempts), d.CreatedAt.Local().Format(time.DateTime), d.LastError}
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func newWebhookRetryCommand(a *App) *cobra.Command {
	return &cobra.Command{
		Use: "redeliver ID", Aliases: []string{"retry"}, Short: "Try a dead message again", Long: "Take a message off the list of dead ones and try it again: the same message, under the same id.", Example: "  jit webhook redeliver msg_…", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			client, _, err := a.client(c.Context())
			if err != nil {
				return err
			}
			if err := client.RetryDelivery(c.Context(), args[0]); err != nil {
				return &Failure{What: "retrying " + args[0], Err: err}
			}
			a.say("It is tried again.")
			return nil
		},
	}
}
