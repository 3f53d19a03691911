package cmd

import (
	"context"

	"github.com/spf13/cobra"
)

func newConnectionRotateCommand(a *App) *cobra.Command {
	var o connectionOptions
	c := &cobra.Command{
		Use:   "rotate NAME",
		Short: "Give a connection a new credential",
		Long: `Give a connection a new credential. The server logs in with it first: if Snowflake
refuses, the old one stays. Sessions that run go on.`,
		Example: "  jit connection rotate prod --private-key-file new.p8",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.Name = args[0]
			if err := o.oneCredential(); err != nil {
				return err
			}
			return a.connectionRotate(c.Context(), o)
		},
	}
	o.credentialFlags(c)
	return c
}

func (a *App) connectionRotate(ctx context.Context, o connectionOptions) error {
	nc, err := a.readCredential(ctx, o)
	if err != nil {
		return err
	}
	client, _, err := a.client(ctx)
	if err != nil {
		return err
	}
	got, err := client.RotateConnection(ctx, o.Name, nc)
	if err != nil {
		return &Failure{What: "rotating the credential of " + o.Name, Err: err}
	}
	a.say("Connection %s has its new credential: Snowflake let it in as role %s.", o.Name, orDash(got.Role))
	return nil
}
