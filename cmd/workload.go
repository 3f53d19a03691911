package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/approval"
	"github.com/jit-access/jit/session/identity"
	"github.com/jit-access/jit/session/secret"
)

// asPerson is the --identity of a person's own sign-in, where the environment
// or the config file names a machine's.
const asPerson = "person"

// workload says whether jit acts as a machine, and where its token comes from:
// --identity, $JIT_IDENTITY, the config file.
func (a *App) workload(cfg Config) (spec identity.WorkloadSpec, machine bool, err error) {
	for _, s := range []struct{ from, text string }{
		{"--identity", a.identity}, {"$JIT_IDENTITY", a.Getenv("JIT_IDENTITY")}, {"identity in " + a.configFile(), cfg.Identity},
	} {
		switch s.text {
		case "":
			continue
		case asPerson:
			return spec, false, nil
		}
		if spec, err = identity.ParseWorkload(s.text); err != nil {
			return spec, false, usagef("%s: %w", s.from, err)
		}
		return spec, true, nil
	}
	return spec, false, nil
}

// machineBearer gives the approval client a machine's token, in session's words.
type machineBearer struct{ workload *identity.Workload }

// Token implements approval.TokenSource.
func (b machineBearer) Token(ctx context.Context) (secret.Text, error) {
	t, err := b.workload.Token(ctx)
	switch {
	case errors.Is(err, identity.ErrUnreachable):
		return t, fmt.Errorf("%w: %w", session.ErrUnavailable, err)
	case errors.Is(err, identity.ErrWorkload):
		return t, fmt.Errorf("%w: %w", session.ErrSignIn, err)
	default:
		return t, err
	}
}

// machine returns the token source of a workload. Tokens are asked for the
// server's own URL: that is the audience its rules name unless told otherwise.
func (a *App) machine(ctx context.Context, cfg Config, spec identity.WorkloadSpec) (machineBearer, error) {
	issuer := cfg.Issuer
	if spec.Kind == identity.WorkloadClient && spec.Issuer == "" && issuer == "" {
		told, err := fetchSignInConfig(ctx, cfg.Server)
		if err != nil {
			return machineBearer{}, &Failure{What: "asking " + cfg.Server + " for its identity provider", Err: err,
				Fix: "Check the address of the approval server, or name the issuer: --identity client:ID,issuer:URL,…"}
		}
		issuer = told.Issuer
	}
	w, err := identity.NewWorkload(identity.WorkloadConfig{Spec: spec, Audience: strings.TrimRight(cfg.Server, "/"), Issuer: issuer, Getenv: a.Getenv})
	if err != nil {
		return machineBearer{}, &Failure{Code: ExitUsage, What: "using this machine's identity", Err: err}
	}
	return machineBearer{w}, nil
}

// machineIn is jit login of a machine: it asks the server who it is, and has
// the config file remember where its token comes from. No token is kept.
func (a *App) machineIn(ctx context.Context, cfg Config, spec identity.WorkloadSpec) error {
	var err error
	if cfg.Server, err = a.serverURL(cfg); err != nil {
		return err
	}
	p, err := a.askWho(ctx, cfg, spec)
	if err != nil {
		return err
	}
	cfg.Identity = identity.FormatWorkload(spec)
	if err := a.saveConfig(cfg); err != nil {
		return err
	}
	a.say("This is the machine %s%s.", replay.Visible(p.Display()), inGroups(p.Groups))
	a.say("jit asks %s for its token each time; nothing is kept here.", specShown(spec))
	return nil
}

func specShown(spec identity.WorkloadSpec) string {
	return replay.Visible(identity.FormatWorkload(spec))
}

func (a *App) askWho(ctx context.Context, cfg Config, spec identity.WorkloadSpec) (session.Principal, error) {
	tokens, err := a.machine(ctx, cfg, spec)
	if err != nil {
		return session.Principal{}, err
	}
	p, _, err := approval.NewClient(cfg.Server, tokens, nil).Whoami(ctx)
	if err != nil {
		f := &Failure{What: "asking " + cfg.Server + " who this machine is", Err: err}
		if errors.Is(err, session.ErrSignIn) {
			f.Code = ExitSignIn
			f.Fix = "Check --identity, and that the server's identities have a rule for this workload and its audience."
		}
		return session.Principal{}, f
	}
	return p, nil
}

// whoamiMachine is jit whoami of a machine.
func (a *App) whoamiMachine(ctx context.Context, cfg Config, spec identity.WorkloadSpec, asJSON bool) error {
	var err error
	if cfg.Server, err = a.serverURL(cfg); err != nil {
		return err
	}
	p, err := a.askWho(ctx, cfg, spec)
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(whoamiOutput{Subject: p.Subject, Issuer: p.Issuer, Groups: append([]string{}, p.Groups...), GroupsFrom: "server", Kept: "nowhere"})
	}
	groups := strings.Join(p.Groups, ", ")
	if groups == "" {
		groups = "none"
	}
	return a.printf("%s (a machine)\n  groups   %s\n  token    %s\n", replay.Visible(p.Display()), replay.Visible(groups), specShown(spec))
}

// childEnv is the environment for a child, without what would let it act as
// this machine.
func (a *App) childEnv(cfg Config) []string {
	drop := identity.RunnerVariables()
	if spec, machine, err := a.workload(cfg); err == nil && machine {
		drop = append(drop, spec.SecretVariables()...)
	}
	return slices.DeleteFunc(os.Environ(), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.Contains(drop, name)
	})
}
