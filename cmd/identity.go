package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/term"

	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/identity"
	"github.com/jit-access/jit/session/secret"
)

// person returns the sign-in of the user of this process. What it knows of
// issuer and client comes from the config file, which `jit login` writes.
func (a *App) person(ctx context.Context, cfg Config) (*identity.Source, error) {
	if a.source != nil {
		return a.source, nil
	}
	if cfg.Issuer == "" || cfg.ClientID == "" {
		return nil, &Failure{Code: ExitSignIn, What: "nobody has signed in on this machine", Fix: "Run `jit login --server URL`."}
	}
	backend, err := secret.ParseBackend(a.Getenv("JIT_SECRETS"))
	if err != nil {
		return nil, usagef("$JIT_SECRETS: %w", err)
	}
	opt := secret.Options{Backend: backend, File: filepath.Join(a.Paths.State, "secrets.age"), Logger: a.Logger}
	if a.interactive() {
		opt.Passphrase = a.askPassphrase
	}
	store, notice, err := secret.Open(ctx, opt)
	if err != nil {
		return nil, &Failure{What: "opening the place for the sign-in", Err: err}
	}
	if notice != "" {
		a.say("jit: %s", notice)
	}
	source, err := identity.New(identity.Config{
		Issuer: cfg.Issuer, ClientID: cfg.ClientID, Scopes: cfg.Scopes, Store: store, LockDir: a.Paths.State, Logger: a.Logger,
		OnTrouble: a.identityTrouble,
	})
	if err != nil {
		return nil, &Failure{Code: ExitUsage, What: "using the sign-in of " + a.configFile(), Err: err, Fix: "Run `jit login --server URL`."}
	}
	a.source = source
	return source, nil
}

// identityTrouble tells that a sign-in waits out a network error.
func (a *App) identityTrouble(err error) {
	if err != nil {
		a.say("jit: %s; trying again", replay.Visible(err.Error()))
	}
}

// askPassphrase asks at the terminal, without echo.
func (a *App) askPassphrase(_ context.Context, prompt string, confirm bool) (secret.Text, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return secret.Text{}, fmt.Errorf("asking for a passphrase: %w", err)
	}
	defer tty.Close() //nolint:errcheck // nothing was written that could be lost
	ask := func(p string) (secret.Text, error) {
		if _, err := fmt.Fprintf(tty, "%s: ", p); err != nil {
			return secret.Text{}, fmt.Errorf("asking for a passphrase: %w", err)
		}
		typed, err := term.ReadPassword(int(tty.Fd()))
		_, _ = fmt.Fprintln(tty) // cosmetic
		if err != nil {
			return secret.Text{}, fmt.Errorf("reading the passphrase: %w", err)
		}
		return secret.New(string(typed)), nil
	}
	first, err := ask(prompt)
	if err != nil || !confirm {
		return first, err
	}
	second, err := ask("Again")
	if err != nil {
		return secret.Text{}, err
	}
	if !first.Equal(second) {
		return secret.Text{}, errors.New("the two passphrases differ")
	}
	return first, nil
}

// showCode is the prompt of the device flow. It goes to stderr, so that it
// works over SSH and in pipes.
func (a *App) showCode(_ context.Context, p identity.Prompt) error {
	a.feed.send(feedEvent{Event: feedLoginNeeded, URL: p.URL, Code: p.UserCode, Expires: &p.Expires})
	a.say("")
	a.say("  Open   %s", replay.Visible(p.URL))
	a.say("  Enter  %s", replay.Visible(p.UserCode))
	if p.CompleteURL != "" {
		a.say("  or     %s", replay.Visible(p.CompleteURL))
	}
	a.say("")
	a.say("Any device will do. The code is good until %s. Ctrl-C cancels.", p.Expires.Local().Format("15:04:05"))
	return nil
}

// bearer gives the approval client the person's ID token, in session's words.
type bearer struct{ source *identity.Source }

// Token implements approval.TokenSource.
func (b bearer) Token(ctx context.Context) (secret.Text, error) {
	t, err := b.source.Token(ctx)
	switch {
	case errors.Is(err, identity.ErrSignIn):
		return t, fmt.Errorf("%w: %w", session.ErrSignIn, err)
	case errors.Is(err, identity.ErrUnreachable):
		return t, fmt.Errorf("%w: %w", session.ErrUnavailable, err)
	default:
		return t, err
	}
}
