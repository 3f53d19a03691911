//go:build e2e

package main_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/jit-access/jit/broker/snowflake/sandbox"
	"github.com/jit-access/jit/session/secret"
)

// The planted credential of every connection. It must never be seen outside the
// login at an upstream.
const (
	upstreamUser     = "JIT_BROKER"
	upstreamPassword = "canary-upstream-password-7f3a"
)

// What direct runs, without jit, log in with.
const (
	account        = "E2E"
	directUser     = "DIRECT"
	directPassword = "direct"
)

// approvalServer is a `jit server` with a folder of its own.
type approvalServer struct {
	*process
	url  string
	tap  *tap // in front of it
	data string
}

// newServer starts a server on data and waits until it says it is ready.
func (w *world) newServer(ctx context.Context, issuer, data string, more ...string) (*approvalServer, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	home := filepath.Join(data, "home")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, err
	}
	s := &approvalServer{url: fmt.Sprintf("http://127.0.0.1:%d", port), data: filepath.Join(data, "data")}
	if s.tap, err = newTap(s.url, false); err != nil {
		return nil, err
	}
	argv := append([]string{w.jit, "server", "--listen", fmt.Sprintf("127.0.0.1:%d", port),
		"--issuer", issuer, "--client-id", "jit-cli", "--data", s.data, "--public-url", s.tap.URL, "--verbose"}, more...)
	if s.process, err = start("jit server", plainEnv(home), nil, argv...); err != nil {
		return nil, err
	}
	return s, s.await(ctx, "readiness", func() bool {
		res, err := http.Get(s.url + "/readyz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// startServer starts the server of the suite, signs everybody in and adds a
// connection per upstream.
func (w *world) startServer(ctx context.Context) (err error) {
	if w.server, err = w.newServer(ctx, w.op.issuer, filepath.Join(w.dir, "server")); err != nil {
		return err
	}
	for _, p := range []*person{w.alice, w.dora, w.bob, w.carol} {
		if err := p.signIn(ctx, w.op, "--server", w.server.tap.URL); err != nil {
			return err
		}
	}
	for _, up := range []*upstream{w.fakesnow, w.wiremock, w.sandbox} {
		if err := w.bob.connect(ctx, up.name, up.tap.URL); err != nil {
			return err
		}
	}
	return nil
}

// connect adds a connection with the planted credential, which goes in on
// standard input: it has no place in arguments or the environment.
func (p *person) connect(ctx context.Context, name, url string) error {
	add, err := start("jit connection add "+name, p.env, strings.NewReader(upstreamPassword+"\n"),
		p.w.jit, "connection", "add", name, "--account", account, "--url", url, "--user", upstreamUser, "--password-stdin",
		"--role", "ANALYST", "--warehouse", "WH", "--database", "APP", "--schema", "PUBLIC")
	if err != nil {
		return err
	}
	select {
	case <-add.done:
	case <-ctx.Done():
		return fmt.Errorf("jit connection add %s hangs:\n%s", name, add.log)
	}
	if code := add.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("jit connection add %s: exit %d:\n%s", name, code, add.log)
	}
	return nil
}

// startSandbox serves jit's own Snowflake, in this process.
func (w *world) startSandbox(context.Context) error {
	s, err := sandbox.New(sandbox.Options{
		Account: account,
		Users: map[string]sandbox.User{
			upstreamUser: {Password: secret.New(upstreamPassword), Roles: []string{"ANALYST"}},
			directUser:   {Password: secret.New(directPassword), Roles: []string{"ANALYST"}},
		},
		Data: append([]string{"create database app", "create warehouse wh"}, seed...),
	})
	if err != nil {
		return err
	}
	w.sandbox, err = newUpstream("sandbox", httptest.NewServer(s.Handler()).URL)
	return err
}
