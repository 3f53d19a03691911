package cmd

import (
	"context"

	"github.com/jit-access/jit/session/approval"
)

// client returns the approval server's client for the signed-in person or this machine, and the
// config with the server in use. With a
// terminal it signs in on the way; without one, nobody signed in is an error.
func (a *App) client(ctx context.Context) (*approval.Client, Config, error) {
	cfg, err := a.loadConfig()
	if err != nil {
		return nil, cfg, err
	}
	if cfg.Server, err = a.serverURL(cfg); err != nil {
		return nil, cfg, err
	}
	spec, machine, err := a.workload(cfg)
	if err != nil {
		return nil, cfg, err
	}
	if machine {
		tokens, err := a.machine(ctx, cfg, spec)
		return approval.NewClient(cfg.Server, tokens, nil), cfg, err
	}
	source, err := a.person(ctx, cfg)
	if err != nil {
		return nil, cfg, err
	}
	if a.interactive() {
		if _, err := source.EnsureSignedIn(ctx, a.showCode); err != nil {
			return nil, cfg, &Failure{What: "signing in", Err: err}
		}
	}
	return approval.NewClient(cfg.Server, bearer{source}, nil), cfg, nil
}
