package cmd

import (
	"context"

	"github.com/spf13/cobra"
)

func newRequestCommentCommand(a *App) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "comment ID TEXT",
		Short: "Say something about a request",
		Long: `Say something about a request that you can see: a question to the requester, or
the answer. It decides nothing. Everybody who can see the request reads it.`,
		Example: `  jit request comment req_… "Which report is this for?"`,
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.requestComment(c.Context(), args[0], args[1], asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the request as JSON")
	return c
}

func (a *App) requestComment(ctx context.Context, id, text string, asJSON bool) error {
	client, _, err := a.client(ctx)
	if err != nil {
		return err
	}
	req, err := client.Comment(ctx, id, text)
	if err != nil {
		return &Failure{What: "commenting on request " + id, Err: err}
	}
	a.say("Said.")
	if asJSON {
		return a.printRequest(req)
	}
	return nil
}
