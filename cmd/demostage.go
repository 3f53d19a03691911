package cmd

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/jit-access/jit/broker/credential"
	"github.com/jit-access/jit/broker/snowflake/sandbox"
	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session/approval"
	"github.com/jit-access/jit/session/identity"
	"github.com/jit-access/jit/session/identity/op"
	"github.com/jit-access/jit/session/secret"
)

// demoStage is everything `jit demo` runs on: three servers on loopback and two
// people, each with an App of their own.
type demoStage struct {
	dir        string
	provider   *op.Provider
	alice, bob *App
	stops      []func() error // in the order of starting
}

const (
	demoConnection = "demo"
	demoAccount    = "SANDBOX"
	demoUser       = "JIT_BROKER"
)

// raise starts the servers, signs both people in, and connects the sandbox.
func (a *App) raise(ctx context.Context, dir string) (_ *demoStage, err error) {
	s := &demoStage{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("making the Snowflake user's key pair: %w", err)
	}
	var issuer, snowflake, server string
	steps := []struct {
		what string
		do   func() error
	}{
		{"identity provider (OpenID Connect)", func() (err error) { issuer, err = s.startProvider(ctx); return }},
		{"sandbox Snowflake with made-up customers", func() (err error) { snowflake, err = s.startSandbox(ctx, &key.PublicKey); return }},
		{"approval server (SQLite)", func() (err error) { server, err = s.startServer(ctx, issuer, a); return }},
		{"signing in alice, who runs the agent (device code)", func() (err error) { s.alice, err = s.signIn(ctx, a, issuer, server, "alice"); return }},
		{"signing in bob, who reviews (device code)", func() (err error) { s.bob, err = s.signIn(ctx, a, issuer, server, "bob"); return }},
		{"connecting the server to Snowflake (key pair)", func() error { return s.connect(ctx, snowflake, key) }},
	}
	for _, step := range steps {
		start := a.Now()
		if err := step.do(); err != nil {
			return nil, fmt.Errorf("%s: %w", step.what, err)
		}
		a.say("  %-52s %4d ms", step.what, a.Now().Sub(start).Milliseconds())
	}
	return s, nil
}

// close stops the servers, last first, and removes all but the recordings.
func (s *demoStage) close() error {
	var errs []error
	for i := len(s.stops) - 1; i >= 0; i-- {
		errs = append(errs, s.stops[i]())
	}
	s.stops = nil
	return errors.Join(append(errs, os.RemoveAll(filepath.Join(s.dir, "server")))...)
}

func listenLoopback(ctx context.Context) (net.Listener, string, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, "", fmt.Errorf("listening on loopback: %w", err)
	}
	return ln, "http://" + ln.Addr().String(), nil
}

// serve answers on ln until the stage closes.
func (s *demoStage) serve(ln net.Listener, h http.Handler) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, MaxHeaderBytes: 64 << 10}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	s.stops = append(s.stops, func() error {
		err := srv.Close()
		if served := <-done; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	})
}

func (s *demoStage) startProvider(ctx context.Context) (string, error) {
	ln, url, err := listenLoopback(ctx)
	if err != nil {
		return "", err
	}
	s.provider, err = op.New(op.Options{Issuer: url})
	if err != nil {
		return "", errors.Join(err, ln.Close())
	}
	s.serve(ln, s.provider.Handler())
	return url, nil
}

func (s *demoStage) startSandbox(ctx context.Context, key *rsa.PublicKey) (string, error) {
	box, err := sandbox.New(sandbox.Options{Account: demoAccount, Users: map[string]sandbox.User{demoUser: {PublicKey: key}}})
	if err != nil {
		return "", err
	}
	s.stops = append(s.stops, box.Close)
	ln, url, err := listenLoopback(ctx)
	if err != nil {
		return "", err
	}
	s.serve(ln, box.Handler())
	return url, nil
}

func (s *demoStage) startServer(ctx context.Context, issuer string, a *App) (string, error) {
	store, err := approval.NewStore(approval.StoreConfig{Dir: filepath.Join(s.dir, "server"), Policy: policy.Demo(), Logger: a.Logger})
	if err != nil {
		return "", err
	}
	s.stops = append(s.stops, store.Close)
	ln, url, err := listenLoopback(ctx)
	if err != nil {
		return "", err
	}
	srv, err := approval.NewServer(approval.Config{Store: store, Issuer: issuer, ClientID: op.DefaultClientID, PublicURL: url, Version: Version, Logger: a.Logger})
	if err != nil {
		return "", errors.Join(err, ln.Close())
	}
	serveCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- srv.Serve(serveCtx, ln) }()
	s.stops = append(s.stops, func() error {
		cancel()
		return <-done
	})
	return url, nil
}

// signIn runs the real device flow for one person; only the person's half, the
// browser, is played.
func (s *demoStage) signIn(ctx context.Context, a *App, issuer, server, name string) (*App, error) {
	source, err := identity.New(identity.Config{Issuer: issuer, ClientID: op.DefaultClientID, Store: secret.NewMemory(), Logger: a.Logger})
	if err != nil {
		return nil, err
	}
	_, err = source.SignIn(ctx, func(ctx context.Context, p identity.Prompt) error { return s.provider.Approve(ctx, p.UserCode, name) })
	if err != nil {
		return nil, err
	}
	home := filepath.Join(s.dir, name)
	return &App{
		In: nil, Out: a.Out, Err: a.Err, Getenv: func(string) string { return "" }, Now: a.Now, Logger: a.Logger,
		Paths: Paths{Config: filepath.Join(home, "config"), State: filepath.Join(home, "state")}, server: server, source: source,
	}, nil
}

// connect has bob, who is an administrator, add the sandbox.
func (s *demoStage) connect(ctx context.Context, url string, key *rsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encoding the key pair: %w", err)
	}
	client, _, err := s.bob.client(ctx)
	if err != nil {
		return err
	}
	_, err = client.AddConnection(ctx, approval.Connection{
		Name: demoConnection, URL: url, Account: demoAccount, User: demoUser, Role: "ANALYST", Warehouse: "DEMO_WH", Database: "DEMO", Schema: "PUBLIC",
	}, approval.NewCredential{Kind: credential.KindKeyPair, Material: secret.New(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))}, false)
	return err
}
