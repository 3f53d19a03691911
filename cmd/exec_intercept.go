package cmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"

	"golang.org/x/net/http/httpproxy"

	"github.com/jit-access/jit/broker"
	"github.com/jit-access/jit/broker/intercept"
)

// interception serves the child's HTTPS proxy and returns how to stop it. The
// wiring then leads every client that honours HTTPS_PROXY through it.
func (r *run) interception(ctx context.Context, b *broker.Broker, w *wiring) (stop func() error, err error) {
	authority, err := intercept.NewAuthority(r.opened.Session.ID, r.a.Now())
	if err != nil {
		return nil, err
	}
	token, err := broker.NewLease() // as hard to guess, and opens nothing but the proxy
	if err != nil {
		return nil, err
	}
	parent, err := w.parentProxy()
	if err != nil {
		return nil, err
	}
	p, err := intercept.New(intercept.Config{
		Token: token, Authority: authority, Handler: b, Host: b.Host(), Parent: parent, Refused: b.NoteRefused, Logger: r.a.Logger,
	})
	if err != nil {
		return nil, err
	}
	if err := w.trust(authority); err != nil {
		return nil, err
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening on loopback: %w", err)
	}
	w.vars["HTTPS_PROXY"] = p.URL(ln.Addr())
	w.vars["https_proxy"] = w.vars["HTTPS_PROXY"]
	w.noProxy(intercept.NoProxy)
	serveCtx, cancel := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- p.Serve(serveCtx, ln) }()
	return func() error {
		cancel()
		return <-served
	}, nil
}

// parentProxy is how the child would have reached other hosts.
func (w *wiring) parentProxy() (func(*url.URL) (*url.URL, error), error) {
	cfg := &httpproxy.Config{
		HTTPSProxy: w.getenv("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"), NoProxy: w.getenv("NO_PROXY", "no_proxy"),
	}
	find := cfg.ProxyFunc()
	if cfg.HTTPSProxy == "" {
		return find, nil
	}
	// One question in advance finds what cannot be used before anybody connects. An
	// error of url.Parse would quote the URL, and with it a password.
	via, err := (&httpproxy.Config{HTTPSProxy: cfg.HTTPSProxy}).ProxyFunc()(&url.URL{Scheme: "https", Host: "example.com"})
	if err != nil || via == nil {
		err = errors.New("it is not a URL")
	} else {
		err = intercept.CheckParent(via)
	}
	if err != nil {
		return nil, fmt.Errorf("passing other hosts on to $HTTPS_PROXY: %w", err)
	}
	return find, nil
}

// trusting are the variables that tell clients which authorities to trust. What
// one names is kept and extended, each by itself: a root that the user gave to one
// program is none for the others.
var trusting = []struct {
	name string
	adds bool // to the client's own roots, instead of replacing them
}{
	{"SSL_CERT_FILE", false},      // Go, OpenSSL and what uses its defaults, rustls
	{"REQUESTS_CA_BUNDLE", false}, // Python's requests, and Snowflake's driver in it
	{"CURL_CA_BUNDLE", false},
	{"NODE_EXTRA_CA_CERTS", true},
}

// trust writes the authority's certificate, and bundles with it, to the child's
// private folder.
func (w *wiring) trust(a *intercept.Authority) error {
	written := map[string]string{} // base → bundle
	for _, t := range trusting {
		base := w.getenv(t.name)
		if base == "" && !t.adds {
			system, err := intercept.SystemRoots()
			if err != nil {
				return fmt.Errorf("%w; name one in $SSL_CERT_FILE", err)
			}
			base = system
		}
		if written[base] == "" {
			data, err := a.Bundle(base)
			if err != nil {
				return fmt.Errorf("extending $%s: %w", t.name, err)
			}
			file := filepath.Join(w.dir, fmt.Sprintf("ca-%d.pem", len(written)))
			if err := os.WriteFile(file, data, 0o600); err != nil {
				return fmt.Errorf("writing certificates: %w", err)
			}
			written[base] = file
		}
		w.vars[t.name] = written[base]
	}
	// The session's certificates name no OCSP responder, so there is nothing to ask
	// Snowflake's cache of responses for.
	w.vars["SF_OCSP_RESPONSE_CACHE_SERVER_ENABLED"] = "false"
	return nil
}
