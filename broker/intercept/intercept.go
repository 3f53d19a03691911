// Package intercept is an HTTPS proxy for one child process. It catches the
// connections to Snowflake of clients that build their host name from an account
// and cannot be pointed at a broker, and hands their requests to the broker's own
// handler. Connections to other hosts pass through untouched.
//
// Invariants:
//
//  1. Nobody uses the proxy without its token, which is not the lease: programs
//     print the URLs of their proxies. What is caught still needs the lease.
//  2. A request to a caught host goes to the handler or nowhere; it is never
//     tunnelled, whatever its port, its TLS server name or its Host header says.
//  3. The authority's key exists in this process alone. Its certificate is good
//     for names below the caught domains and for nothing else (critical name
//     constraints), its leaves for one host and one hour.
//  4. A tunnel leads to the host that was named, by the proxy the parent of the
//     child would have used, and never to this machine or to a cloud's metadata
//     service: a child that may reach those does so without a proxy, and one that
//     may not shall not be helped.
//  5. Tunnels outlive the session, not the child: an agent whose access has ended
//     still reaches its model.
package intercept

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/jit-access/jit/session/secret"
)

// Config is what a Proxy needs. Token, Authority, Handler and Host are required.
type Config struct {
	Token     secret.Text // the password of the proxy's URL
	Authority *Authority
	Handler   http.Handler // answers what is caught
	Host      string       // the Host that Handler answers to
	// Parent names the proxy of a URL for connections that pass through, as
	// httpproxy.Config.ProxyFunc does. nil: none.
	Parent func(*url.URL) (*url.URL, error)
	// Refused is told of connections that were caught and refused before they
	// reached Handler. nil: nobody.
	Refused func(ctx context.Context, what string)
	Logger  *slog.Logger // nil discards
}

// Proxy serves one child. Make it with New.
type Proxy struct {
	cfg     Config
	log     *slog.Logger
	token   [32]byte // SHA-256
	tunnels chan struct{}
	caught  *queue

	mu    sync.Mutex // guards what follows
	open  map[net.Conn]struct{}
	ended bool
}

// Limits of the listener. Those of caught connections are the broker's.
const (
	maxTunnels     = 512
	headerTimeout  = 10 * time.Second
	bodyTimeout    = 60 * time.Second
	answerTimeout  = 2 * time.Minute
	idleTimeout    = 2 * time.Minute
	dialTimeout    = 20 * time.Second
	maxHeaderBytes = 64 << 10
	closing        = 5 * time.Second
)

var errConfig = errors.New("intercept: the configuration is incomplete")

// New checks cfg and makes a Proxy.
func New(cfg Config) (*Proxy, error) {
	if cfg.Token.IsZero() || cfg.Authority == nil || cfg.Handler == nil || cfg.Host == "" {
		return nil, errConfig
	}
	if cfg.Parent == nil {
		cfg.Parent = func(*url.URL) (*url.URL, error) { return nil, nil }
	}
	if cfg.Refused == nil {
		cfg.Refused = func(context.Context, string) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Proxy{
		cfg: cfg, log: cfg.Logger, token: digest(credential(cfg.Token)), tunnels: make(chan struct{}, maxTunnels),
		caught: newQueue(), open: map[net.Conn]struct{}{},
	}, nil
}

// URL is what HTTPS_PROXY holds: the proxy at addr, with the token.
func (p *Proxy) URL(addr net.Addr) string {
	return (&url.URL{Scheme: "http", User: url.UserPassword(user, p.cfg.Token.Reveal()), Host: addr.String()}).String()
}

// Serve answers on ln, which must be a loopback listener, until ctx ends. Then
// every connection is closed and all goroutines have stopped when it returns.
func (p *Proxy) Serve(ctx context.Context, ln net.Listener) error {
	if a, ok := ln.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
		return errors.Join(fmt.Errorf("intercept: %v is not a loopback address", ln.Addr()), ln.Close())
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	front := &http.Server{
		Handler: http.HandlerFunc(p.serveProxy), Protocols: protocols, MaxHeaderBytes: maxHeaderBytes, DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout: headerTimeout, ReadTimeout: headerTimeout, IdleTimeout: idleTimeout,
		BaseContext: func(net.Listener) context.Context { return ctx }, ErrorLog: silent(),
	}
	inner := &http.Server{
		Handler: http.HandlerFunc(p.serveCaught), Protocols: protocols, MaxHeaderBytes: maxHeaderBytes, DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout: headerTimeout, ReadTimeout: bodyTimeout, WriteTimeout: answerTimeout, IdleTimeout: idleTimeout,
		BaseContext: func(net.Listener) context.Context { return ctx }, ConnContext: withHost, ErrorLog: silent(),
	}
	var work sync.WaitGroup
	work.Go(func() { _ = inner.Serve(p.caught) }) // ends with the queue
	stop := context.AfterFunc(ctx, func() { _ = front.Close() })
	err := front.Serve(ln)
	stop()
	_ = front.Close()
	c, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
	_ = inner.Shutdown(c) // lets an answer under way leave; what is left is cut below
	cancel()
	_ = inner.Close()
	_ = p.caught.Close()
	p.closeTunnels()
	work.Wait()
	if ctx.Err() != nil && errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serving the HTTPS proxy: %w", err)
}

// tlsConfig is the server side of a caught connection: the client must ask for
// the host it told the proxy.
func (p *Proxy) tlsConfig(host string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if name := canonicalHost(hello.ServerName); name != host {
				p.cfg.Refused(hello.Context(), fmt.Sprintf("TLS server name %s in a connection to %s", clip(hello.ServerName), host))
				return nil, errServerName
			}
			return p.cfg.Authority.leaf(host, time.Now())
		},
	}
}

var errServerName = errors.New("intercept: the TLS server name is not the host of the connection")
